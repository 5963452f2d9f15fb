"""Support for testbenches: bus models, doubles of blocks, planted faults, random networks."""
