"""Pins of boards, taken from amaranth-boards, in the formats of nextpnr and the vendor's tools."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from amaranth.build import Attrs, Clock, Pins, Resource, Subsignal
from amaranth.vendor import LatticeECP5Platform


@dataclass(frozen=True)
class Pin:
    """A port of the top module: its ball and the attributes of its buffer."""

    port: str
    ball: str
    attributes: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class Wanted:
    """A port of the top module and its resource on the board; ``part`` of the resource if it has
    several, ``extra`` attributes that amaranth-boards leaves to its users."""

    port: str
    resource: str
    number: int = 0
    part: str | None = None
    extra: tuple[tuple[str, str], ...] = ()


def pins(board: type[LatticeECP5Platform], wanted: Iterable[Wanted]) -> tuple[Pin, ...]:
    """The pins of ``board``, in the order of ``wanted``; a port of several bits has one pin per
    bit.

    Raises ``ValueError`` if the board has no such resource.
    """
    return tuple(pin for each in wanted for pin in _of(board, each))


def oscillator(board: type[LatticeECP5Platform]) -> float:
    """Frequency of the board's own clock in Hertz."""
    resource = _resource(board, board.default_clk, 0)
    assert isinstance(resource.clock, Clock)
    return float(resource.clock.frequency)


def constraints(found: Iterable[Pin], clock_port: str, hertz: float) -> str:
    """Text of an ``.lpf`` file."""
    found = tuple(found)
    lines = [f'LOCATE COMP "{pin.port}" SITE "{pin.ball}";' for pin in found]
    for pin in found:
        attributes = " ".join(f"{name}={value}" for name, value in pin.attributes)
        lines.append(f'IOBUF PORT "{pin.port}" {attributes};')
    return "\n".join([*lines, f'FREQUENCY PORT "{clock_port}" {hertz / 1e6:g} MHZ;', ""])


def _resource(board: type[LatticeECP5Platform], name: str, number: int) -> Resource:
    for resource in board.resources:
        if (resource.name, resource.number) == (name, number):
            return resource
    raise ValueError(f"{board.__name__} has no {name} {number}")


def _of(board: type[LatticeECP5Platform], wanted: Wanted) -> Iterator[Pin]:
    resource = _resource(board, wanted.resource, wanted.number)
    attributes: dict[str, str] = dict(resource.attrs)
    found: Pins | None = None
    for io in resource.ios:
        if isinstance(io, Attrs):
            attributes |= io
        elif isinstance(io, Pins) and wanted.part is None:
            found = io
        elif isinstance(io, Subsignal) and io.name == wanted.part:
            attributes |= io.attrs
            found = io.ios[0]
    if found is None:
        raise ValueError(
            f"{wanted.resource} {wanted.number} of {board.__name__} has no pins {wanted.part}"
        )
    attributes |= dict(wanted.extra)
    given = tuple(sorted(attributes.items()))
    for bit, ball in enumerate(found.names):
        port = wanted.port if len(found.names) == 1 else f"{wanted.port}[{bit}]"
        yield Pin(port, ball, given)
