"""Activity of the engines over time."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Self

RESOLUTION = 3000
"""Number of distinguishable parts of a run."""


@dataclass(frozen=True)
class Span:
    """Activity of ``engine`` for a layer in the cycles [start, stop); ``layer`` is a position in
    the list of layers, or -1."""

    engine: str
    start: int
    stop: int
    layer: int


@dataclass(frozen=True)
class Timeline:
    """Activity of the engines in one run of ``cycles`` cycles."""

    cycles: int
    spans: tuple[Span, ...]

    @classmethod
    def of(cls, cycles: int, spans: Iterable[Span]) -> Self:
        """Join spans of one engine and layer that are less than a :data:`RESOLUTION`-th of the run
        apart."""
        ordered = sorted(spans, key=lambda s: (s.engine, s.start, s.stop))
        joined: list[Span] = []
        for span in ordered:
            last = joined[-1] if joined else None
            if (
                last is not None
                and (last.engine, last.layer) == (span.engine, span.layer)
                and span.start - last.stop <= cycles // RESOLUTION
            ):
                joined[-1] = Span(last.engine, last.start, max(last.stop, span.stop), last.layer)
            else:
                joined.append(span)
        return cls(cycles, tuple(joined))
