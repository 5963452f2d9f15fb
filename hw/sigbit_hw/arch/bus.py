"""Constants of the AXI4 ports: widths, bursts, pages, responses and transfer attributes."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, unique
from types import MappingProxyType

ADDRESS_BITS = 40
"""Address width of an AXI4 master."""

WIDTHS = (64, 128, 256, 512)
"""Supported beat widths in bits, over all ports together."""

PORT_COUNTS = (1, 2, 4)
"""Supported numbers of AXI4 master ports."""

PORT_BITS_MIN = 64
"""Minimum width of one port in bits."""

BURST_MAX = 256
"""Maximum burst length in beats."""

PAGE_BITS = 12
PAGE_BYTES = 1 << PAGE_BITS
"""Page size in bytes. No burst crosses a page boundary, and the DMA window begins at one on every
port."""


@unique
class Response(IntEnum):
    """Responses on the R and B channels."""

    OKAY = 0
    SLVERR = 2
    DECERR = 3


ATTRIBUTES: Mapping[str, slice] = MappingProxyType(
    {"cache": slice(0, 4), "prot": slice(4, 7), "qos": slice(8, 12)}
)
"""Bit positions of AxCACHE, AxPROT and AxQOS in the attribute register."""


@dataclass(frozen=True)
class Attributes:
    """AxCACHE, AxPROT and AxQOS of every transfer.

    The default is normal memory, bufferable, not cached, for ports that are not coherent with the
    processor's caches; a coherent port needs ``cache=0b1111``.
    """

    cache: int = 0b0011
    prot: int = 0
    qos: int = 0

    def __post_init__(self) -> None:
        for name, part in ATTRIBUTES.items():
            value, end = getattr(self, name), 1 << part.stop - part.start
            if not 0 <= value < end:
                raise ValueError(f"{name} must be in [0, {end - 1}], not {value!r}")

    @property
    def word(self) -> int:
        """Value of the register."""
        return sum(getattr(self, name) << part.start for name, part in ATTRIBUTES.items())


NOT_COHERENT = Attributes()
"""For ports that are not coherent with the processor's caches."""
