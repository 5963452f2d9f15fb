"""Simulators of the sigbit accelerator.

``interp`` defines the instruction set, ``rtl`` is the gateware in Verilator, ``cycles`` predicts
its cycles; ``random_program`` makes what they are compared on, ``bench`` models what surrounds the
hardware, ``formal`` proves properties of blocks.
"""
