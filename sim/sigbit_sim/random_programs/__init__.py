"""Random legal programs at instruction level, for comparing devices."""
