"""The contract between gateware, compiler, simulators and drivers: formats, configuration, ISA,
registers, program container and integer numerics.

Pure Python and NumPy; every bit position and rounding rule of the project is written here, once.
"""
