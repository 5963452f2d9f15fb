"""Simulators of the sigbit accelerator: instruction-level, RTL in Verilator, and test benches."""
