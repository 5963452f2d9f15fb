"""Pass: where the elements of every value lie relative to its first slot.

Element (digit, channel slot, line y, column x) lies at ``digit * plane_step + slot * slot_step +
(x % phases) * phase_step + (y + top) * pitch + x // phases + left``; the halo is physical. Lanes of
the array run across image lines if, for every operand, ``stride_y * pitch`` is congruent to the
output width modulo ``pixels``; the pitch is chosen for that.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit.compiler.errors import require
from sigbit.compiler.network import Network, Op, Value
from sigbit_hw.arch.config import ArchConfig

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """The slots of a value: ``top`` and ``bottom`` halo lines, ``left`` halo columns of every
    phase, ``pitch`` slots from line to line."""

    planes: int
    slots: int
    height: int
    width: int
    phases: int
    top: int
    bottom: int
    left: int
    right: int
    pitch: int
    dense: bool

    @property
    def phase_step(self) -> int:
        """Slots from one column phase to the next."""
        return (self.top + self.height + self.bottom) * self.pitch

    @property
    def slot_step(self) -> int:
        """Slots from one channel slot to the next; odd (the drain's slots lie in different banks)
        unless the value is an input, whose planes, slots and phases lie evenly."""
        extent = self.phases * self.phase_step
        return extent if self.dense else extent | 1

    @property
    def plane_step(self) -> int:
        """Slots from one digit to the next."""
        return self.slots * self.slot_step

    @property
    def size(self) -> int:
        """Slots in all."""
        return self.planes * self.plane_step

    def columns(self, phase: int) -> int:
        """Image columns of a phase."""
        return -(-(self.width - phase) // self.phases)

    def address(self, plane: ArrayLike, slot: ArrayLike, y: ArrayLike, x: ArrayLike) -> Ints:
        """Offsets of elements; coordinates broadcast, y and x may lie in the halo."""
        plane, slot, y, x = (np.asarray(a, np.int64) for a in (plane, slot, y, x))
        column, phase = np.divmod(x, self.phases)
        return (
            plane * self.plane_step
            + slot * self.slot_step
            + phase * self.phase_step
            + (y + self.top) * self.pitch
            + column
            + self.left
        )

    def at(self, plane: int, slot: int, y: int, x: int) -> int:
        """Offset of one element."""
        return int(self.address(plane, slot, y, x))


@dataclass(frozen=True)
class Laid:
    """A network and the layout of its values."""

    network: Network
    layouts: dict[str, Layout]


def lay_out(network: Network, config: ArchConfig) -> Laid:
    """Halo, pitch and steps of every value."""
    return Laid(network, {n: _layout(network, v, config) for n, v in network.values.items()})


def verify_layout(laid: Laid, config: ArchConfig) -> None:
    """Every window lies inside its value's lines and columns; the drain's slots lie in different
    banks; no two elements share a slot."""
    network = laid.network
    for name, layout in laid.layouts.items():
        value = network.values[name]
        for index, operand in network.uses[name]:
            op = network.ops[index]
            out, size = network.values[op.result].shape[1:], value.shape[1:]
            top, left, bottom, right = operand.reach(out, size)
            who = f"{op.name} reads {name}"
            require(top <= layout.top and bottom <= layout.bottom, f"{who} outside its lines")
            first, last = -left // layout.phases, (value.shape[2] - 1 + right) // layout.phases
            inside = first + layout.left >= 0 and last + layout.left < layout.pitch
            require(inside, f"{who} outside its columns")
        if name not in network.inputs and layout.slots > 1:
            require(layout.slot_step % 2 == 1, f"{name}: slot step {layout.slot_step} is even")
        grid = np.ogrid[: layout.planes, : layout.slots, : layout.height, : layout.width]
        places = layout.address(*grid).ravel()
        inside = places.min() >= 0 and places.max() < layout.size
        require(bool(inside), f"{name}: elements outside its {layout.size} slots")
        require(np.unique(places).size == places.size, f"{name}: elements share slots")


def _layout(network: Network, value: Value, config: ArchConfig) -> Layout:
    _, height, width = value.shape
    reach = np.zeros(4, np.int64)
    for index, operand in network.uses[value.name]:
        out = network.values[network.ops[index].result].shape
        reach = np.maximum(reach, operand.reach(out[1:], value.shape[1:]))
    top, left, bottom, right = map(int, reach)
    left_columns = -(-left // value.phases)
    columns = left_columns + (width - 1 + right) // value.phases + 1
    return Layout(
        planes=value.planes,
        slots=-(-value.shape[0] // config.ic_lanes),
        height=height,
        width=width,
        phases=value.phases,
        top=top,
        bottom=bottom,
        left=left_columns,
        right=right,
        pitch=_pitch(network, value, columns, config),
        dense=value.name in network.inputs,
    )


def _pitch(network: Network, value: Value, columns: int, config: ArchConfig) -> int:
    """The pitch from ``columns`` on that keeps most blocks of the consumers full."""
    uses = [(network.ops[i], operand) for i, operand in network.uses[value.name]]

    def saved(pitch: int) -> int:
        return sum(
            _blocks_saved(network, op, config)
            for op, operand in uses
            if continues(operand.stride[0], pitch, network.values[op.result].shape[2], config)
        )

    return max(range(columns, columns + config.pixels), key=lambda pitch: (saved(pitch), -pitch))


def continues(stride: int, pitch: int, out_width: int, config: ArchConfig) -> bool:
    """Whether blocks of output pixels can run across lines of ``out_width``."""
    if out_width < config.pixels:
        return stride * pitch == out_width
    return (stride * pitch - out_width) % config.pixels == 0


def _blocks_saved(network: Network, op: Op, config: ArchConfig) -> int:
    """Steps that running across lines saves, roughly."""
    channels, height, width = network.values[op.result].shape
    blocks = height * -(-width // config.pixels) - -(-height * width // config.pixels)
    window = sum(operand.kernel[0] * operand.kernel[1] for operand in op.operands)
    return blocks * window * -(-channels // config.oc_lanes)
