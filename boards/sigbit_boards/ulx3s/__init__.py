"""The ULX3S, a board with a Lattice ECP5 (LFE5U-85F), connected by its serial line."""
