"""Memories behind the accelerator's bus, with a port for the host."""
