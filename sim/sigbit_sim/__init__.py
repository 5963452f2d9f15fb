"""Simulators of the sigbit accelerator.

``interp`` defines the instruction set, ``rtl`` is the gateware in Verilator, ``cycles`` predicts
its cycles; ``random_program`` makes the programs on which they are compared, ``bench`` models the
hardware's environment, ``formal`` proves properties of blocks.
"""
