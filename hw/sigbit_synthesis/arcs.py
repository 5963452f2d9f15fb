"""Timing arcs of cells: from input to output bits, with the starts and ends of paths.

A LUT is one level, from the inputs that its table, if known, depends on; constant and equal inputs
are taken into account. Distributed memory and shift registers are read through a LUT, also one
level. A multiplexer behind LUTs (MUXF7, PFUMX ...) belongs to the level of the LUTs that it selects
from; a signal that reaches it through its select pin, or not from a LUT, costs a level. Entering a
carry chain counts once, regardless of its length; on ECP5 it costs an additional level, for the
LUTs inside CCU2C.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from itertools import product

from sigbit_synthesis.netlist import Cell
from sigbit_synthesis.target import (
    CARRIES,
    MEMORIES,
    WIDE_MUXES,
    is_lut,
    is_register,
    is_shift_register,
)

_SELECTS = {"S", "C0", "SD"}
_CASCADES = {"CI", "CIN", "CI_TOP", "CYINIT"}
_CLOCKS = {"C", "CLK", "CLKA", "CLKB", "CLKR", "CLKW", "WCLK", "WCK", "RCLK", "CLKARDCLK",
           "CLKBWRCLK"}  # fmt: skip
_TABLES = ("INIT", "LUT_INIT")
_LUT_INPUTS = {pin: k for pins in ("ABCD", [f"I{k}" for k in range(6)])
               for k, pin in enumerate(pins)}  # fmt: skip


@dataclass(frozen=True)
class Arc:
    """A path through a cell, from net to net: its levels and carry chains."""

    source: int
    sink: int
    levels: int
    carries: int


def arcs(cell: Cell, drivers: dict[int, str]) -> Iterator[Arc]:
    """Combinational paths through a cell of the target; ``drivers`` holds the type of the cell that
    drives a net."""
    if is_lut(cell.kind):
        for out, _, sink in _bits(cell.outputs):
            yield from (Arc(source, sink, 1, 0) for source in _lut_sources(cell, out))
        return
    for pin, index, source in _bits(cell.inputs):
        for out, position, sink in _bits(cell.outputs):
            if (cost := _cost(cell, pin, index, source, out, position, drivers)) is not None:
                yield Arc(source, sink, *cost)


def starts(cell: Cell) -> Iterator[tuple[int, int]]:
    """Nets on which paths start at a cell, with the levels passed inside the cell."""
    inside = _is_lut_memory(cell.kind)
    if inside or is_register(cell.kind) or cell.kind in MEMORIES:
        yield from ((net, int(inside)) for _, _, net in _bits(cell.outputs))


def ends(cell: Cell) -> Iterator[int]:
    """Nets on which paths end at a cell."""
    if is_register(cell.kind) or is_shift_register(cell.kind) or cell.kind in MEMORIES:
        yield from (net for pin, _, net in _bits(cell.inputs) if pin not in _CLOCKS)


def _bits(pins: dict[str, list[int | str]]) -> Iterator[tuple[str, int, int]]:
    """Pins with the positions and nets of their bits, without constants."""
    for pin, bits in pins.items():
        for index, net in enumerate(bits):
            if isinstance(net, int):
                yield pin, index, net


def _is_lut_memory(kind: str) -> bool:
    return is_shift_register(kind) or (kind in MEMORIES and MEMORIES[kind].luts > 0)


def _lut_sources(cell: Cell, out: str) -> list[int]:
    """Nets that an output of a LUT depends on."""
    nets = list(dict.fromkeys(net for _, _, net in _bits(cell.inputs)))
    table = next((cell.parameters[name] for name in _TABLES if name in cell.parameters), None)
    if table is None:
        return nets
    if out == "O5":
        table = table[len(table) // 2 :]
    pins: list[int | str] = [-1 - k for k in range(len(table).bit_length() - 1)]
    for pin, (bit,) in cell.inputs.items():
        if (k := _LUT_INPUTS[pin]) < len(pins) and bit in ("0", "1", *nets):
            pins[k] = nets.index(bit) if isinstance(bit, int) else bit
    return [nets[k] for k in _relevant(table, tuple(pins)) if k >= 0]


@cache
def _relevant(table: str, pins: tuple[int | str, ...]) -> tuple[int, ...]:
    """Variables that a truth table, its entry of all ones first, depends on; ``pins`` holds for
    each input its variable, or "0" or "1"."""
    variables = sorted({pin for pin in pins if isinstance(pin, int)})
    rows = [dict(zip(variables, row, strict=True))
            for row in product((0, 1), repeat=len(variables))]  # fmt: skip

    def entry(row: dict[int, int], variable: int, value: int) -> str:
        values = row | {variable: value}
        bits = (values[pin] if isinstance(pin, int) else int(pin) for pin in pins)
        return table[-1 - sum(bit << k for k, bit in enumerate(bits))]

    return tuple(v for v in variables if any(entry(r, v, 0) != entry(r, v, 1) for r in rows))


def _cost(
    cell: Cell, pin: str, index: int, net: int, out: str, position: int, drivers: dict[int, str]
) -> tuple[int, int] | None:
    """Levels and carry chains from a bit of an input to a bit of an output; None if there is no
    path."""
    kind = cell.kind
    if kind in WIDE_MUXES:
        driver = drivers.get(net, "")
        behind = pin not in _SELECTS and (is_lut(driver) or driver in WIDE_MUXES)
        return (0 if behind else 1, 0)
    if kind in CARRIES:
        if pin in _CASCADES:
            return (0, 0 if drivers.get(net) in CARRIES else 1)
        if kind == "CCU2C":
            reached = int(pin[-1]) <= (1 if out == "COUT" else int(out[-1]))
            return (1, 1) if reached else None
        if kind == "SB_CARRY":
            return (0, 1)
        reached = index < position or (index == position and (pin == "S" or out == "CO"))
        return (0, 1) if reached else None
    if _is_lut_memory(kind):
        return (1, 0) if _reads(kind, pin, out) else None
    return None


def _reads(kind: str, pin: str, out: str) -> bool:
    """True if an input is the read address of an output of distributed memory."""
    if is_shift_register(kind):
        return pin.startswith("A") and out == "Q"
    if kind == "TRELLIS_DPR16X4":
        return pin == "RAD"
    if pin.startswith("ADDR"):
        return out == f"DO{pin[-1]}"
    return out == "DPO" if pin.startswith("DPRA") else pin.startswith("A") and out in ("SPO", "O")
