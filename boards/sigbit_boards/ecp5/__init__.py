"""Common parts of boards with a Lattice ECP5: clock generator, pins, top module, place and
route."""
