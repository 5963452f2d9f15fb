"""The contract between gateware, compiler, simulators and drivers: formats, configuration, ISA,
registers, program container and integer numerics.

Pure Python and NumPy. Every bit position, rounding rule and address rule of the project is written
here, once. ``docs`` renders its tables as a page.
"""
