"""Photographs as files and as pictures: read, described, encoded, laid out side by side."""
