"""Data of reports beyond the tables: activity of engines, contents of memories, use of grids, and
sources of errors."""
