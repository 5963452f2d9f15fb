"""The Icepi Zero, a board with a Lattice ECP5 (LFE5U-25F), connected by its serial line."""
