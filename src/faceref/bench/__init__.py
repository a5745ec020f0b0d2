"""Time and memory of a restoration on this machine, stage by stage, and beside an earlier measurement."""
