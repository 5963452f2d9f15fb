"""Legal random programs at the level of instructions, for comparing devices."""
