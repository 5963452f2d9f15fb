"""What is fixed of the AXI4 ports: widths, bursts, pages, responses."""

from enum import IntEnum, unique

ADDRESS_BITS = 40
"""Width of an address on an AXI4 master."""

WIDTHS = (64, 128, 256, 512)
"""Bits that a beat may have, over all ports together."""

PORT_COUNTS = (1, 2, 4)
"""Numbers of AXI4 masters that an accelerator may have."""

PORT_BITS_MIN = 64
"""Least bits of a beat that one port carries."""

BURST_MAX = 256
"""Most beats of a burst."""

PAGE_BITS = 12
PAGE_BYTES = 1 << PAGE_BITS
"""A burst does not cross a multiple of this many bytes, and the DMA window begins at one on every
port."""


@unique
class Response(IntEnum):
    """Responses on the R and B channels."""

    OKAY = 0
    SLVERR = 2
    DECERR = 3
