"""From the float graph to plans: what is computed together, its precision, shared grids."""
