"""Level grids and how their scales are chosen."""
