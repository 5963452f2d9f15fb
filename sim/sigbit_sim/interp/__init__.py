"""The interpreter: the executable definition of the instruction set."""
