"""The demonstration: handwritten digits from training to the accelerator, every code compared.

``training`` makes the network, ``checking`` runs it on devices and compares, ``report`` shows it.
Devices are handed in, so the same flow serves the interpreter, the RTL and a board.
"""
