"""Speed of the memory behind the ports, shared by the simulated memories and the cycle model."""

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
        Data beats per cycle in each direction, above 0 and at most 1.
    refresh_period, refresh_cycles : int
        In the last ``refresh_cycles`` of every ``refresh_period`` cycles of a run, no data move;
        both 0: no refresh.
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
                "bandwidth must be a fraction in (0, 1] of a beat per cycle with a denominator of "
                f"at most {BEATS_MAX}, not {self.bandwidth}"
            )
        if not 0 <= self.refresh_cycles <= max(self.refresh_period - 1, 0):
            raise ValueError(
                "a refresh must be shorter than its period, not "
                f"{self.refresh_cycles} of {self.refresh_period} cycles"
            )

    @property
    def numbers(self) -> tuple[int, int, int, int, int]:
        """Members of ``MemoryTiming`` in ``memory_timing.h``, in order."""
        rate = self.bandwidth
        return (
            self.latency,
            rate.numerator,
            rate.denominator,
            self.refresh_period,
            self.refresh_cycles,
        )


PLAIN = MemoryTiming()
"""One beat per cycle in each direction, 40 cycles after the request."""

Memory = MemoryTiming | Sequence[MemoryTiming]
"""The memory of every port, or one for each port."""


def of_ports(memory: Memory, ports: int) -> list[MemoryTiming]:
    """Memory of each of ``ports`` ports; raises ``ValueError`` if a different number is given."""
    if isinstance(memory, MemoryTiming):
        return [memory] * ports
    if len(memory) != ports:
        raise ValueError(f"there must be a memory for each of {ports} ports, not {len(memory)}")
    return list(memory)
