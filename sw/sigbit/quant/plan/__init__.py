"""From the float graph to plans: combined computations, their precision, shared grids."""
