"""What is fixed of the AXI4 ports: widths, bursts, pages, responses, attributes of transfers."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum, unique
from types import MappingProxyType

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


ATTRIBUTES: Mapping[str, slice] = MappingProxyType(
    {"cache": slice(0, 4), "prot": slice(4, 7), "qos": slice(8, 12)}
)
"""Bits of the register that gives AxCACHE, AxPROT and AxQOS."""


@dataclass(frozen=True)
class Attributes:
    """AxCACHE, AxPROT and AxQOS of every transfer.

    The default is normal memory, bufferable, not cached, for ports that are not coherent with the
    processor's caches; a coherent one wants ``cache=0b1111``.
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
        """The register's value."""
        return sum(getattr(self, name) << part.start for name, part in ATTRIBUTES.items())


NOT_COHERENT = Attributes()
"""For ports that are not coherent with the processor's caches."""
