"""Registers, run state, instruction decoding and the sequencer."""
