"""Level grids and the choice of their scales."""
