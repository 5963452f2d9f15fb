"""From the float graph to plans: what is computed together, with which precision and shared grids."""
