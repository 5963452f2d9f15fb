"""What boards with a Lattice ECP5 have in common: clock generator, pins, top, place and route."""
