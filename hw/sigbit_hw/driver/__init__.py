"""The host's part in C: layout of inputs and outputs as the accelerator reads and writes them.

The reference definition is :class:`sigbit_hw.arch.program_parts.Port`; this package is a fast
equivalent.
"""

from sigbit_hw.driver.layout import pack, unpack

__all__ = ["pack", "unpack"]
