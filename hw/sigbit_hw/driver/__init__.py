"""The host's part in C: inputs and outputs laid out as the accelerator reads and writes them.

The definition is :class:`sigbit_hw.arch.program_parts.Port`; this is the same, fast.
"""

from sigbit_hw.driver.layout import pack, unpack

__all__ = ["pack", "unpack"]
