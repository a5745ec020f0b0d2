"""Measuring restorations: metrics and reports."""
