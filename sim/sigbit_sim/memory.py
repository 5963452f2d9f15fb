"""How fast the memory behind the ports is: the same for simulated memories and the cycle model."""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

BEATS_MAX = 1 << 16
"""Largest denominator of a bandwidth."""


@dataclass(frozen=True)
class MemoryTiming:
    """The memory behind one port.

    Parameters
    ----------
    latency : int
        Cycles from an accepted read burst to its first data, and from a burst's last write data to
        its response; at least 1.
    bandwidth : Fraction
        Data beats a cycle in each direction, above 0 and at most 1.
    refresh_period, refresh_cycles : int
        Of every ``refresh_period`` cycles of a run, the last ``refresh_cycles`` move no data; both
        0: there is no refresh.
    """

    latency: int = 40
    bandwidth: Fraction = Fraction(1)
    refresh_period: int = 0
    refresh_cycles: int = 0

    def __post_init__(self) -> None:
        if self.latency < 1:
            raise ValueError(f"latency must be at least 1 cycle, not {self.latency}")
        if not 0 < self.bandwidth <= 1 or self.bandwidth.denominator > BEATS_MAX:
            raise ValueError(
                "bandwidth must be a fraction in (0, 1] of beats a cycle with a denominator of at "
                f"most {BEATS_MAX}, not {self.bandwidth}"
            )
        if not 0 <= self.refresh_cycles <= max(self.refresh_period - 1, 0):
            raise ValueError(
                "a refresh must be shorter than its period, not "
                f"{self.refresh_cycles} of {self.refresh_period} cycles"
            )

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        """The members of ``MemoryTiming`` in ``memory_timing.h``, in their order."""
        rate = self.bandwidth
        return (
            self.latency,
            rate.numerator,
            rate.denominator,
            self.refresh_period,
            self.refresh_cycles,
        )


PLAIN = MemoryTiming()
"""A beat a cycle each way, 40 cycles after it was asked for."""

Memory = MemoryTiming | Sequence[MemoryTiming]
"""That of every port, or one for each."""


def of_ports(memory: Memory, ports: int) -> list[MemoryTiming]:
    """The memory of each of ``ports`` ports; ``ValueError`` if there is another number of them."""
    if isinstance(memory, MemoryTiming):
        return [memory] * ports
    if len(memory) != ports:
        raise ValueError(f"there must be a memory for each of {ports} ports, not {len(memory)}")
    return list(memory)
