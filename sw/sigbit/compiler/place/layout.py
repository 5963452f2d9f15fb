"""Pass: position of the elements of every value relative to its first slot.

Element (digit, channel slot, line y, column x) lies at ``digit * plane_step + slot * slot_step + (x
% phases) * phase_step + (y + top) * pitch + x // phases + left``; the halo is physical. Pitch and
steps are chosen for two purposes:

* Lanes of the array run across output lines if, for every operand, ``stride_y * pitch`` exceeds
  the output columns by a multiple of ``pixels``.
* The drain writes ``drain_pixels`` pixels of ``drain_slots`` channel slots per cycle; they must lie
  in different banks, and runs across lines need this at line ends as well.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit.compiler.cost import op_cycles
from sigbit.compiler.network import Network, Op, Operand, Region, Value
from sigbit.errors import CompileError, require
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import WRAP_MIN, Block

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """The slots of a value: ``top`` and ``bottom`` halo lines, ``left`` and ``right`` halo columns
    (``left``: of every phase; ``right``: of the image), ``pitch`` slots from line to line,
    ``phase_step`` from one column phase to the next, ``slot_step`` from one channel slot to the
    next."""

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
    phase_step: int
    slot_step: int

    @property
    def plane_step(self) -> int:
        """Slots from one digit to the next."""
        return self.slots * self.slot_step

    @property
    def size(self) -> int:
        """Total number of slots."""
        return self.planes * self.plane_step

    @property
    def even(self) -> bool:
        """True if planes, channel slots and phases are equally spaced, as LOAD and STORE
        require."""
        return self.slot_step == self.phases * self.phase_step

    @property
    def loads(self) -> Block:
        """Block fields of the LOAD or STORE of all rows, where the first slot is ``at(0, 0, 0,
        0)``: columns of a phase; planes, slots and phases; rows. If the width is not a multiple of
        the phases, the last column of later phases is a slot right of the image."""
        return {
            "n0": self.columns(0),
            "n1": self.planes * self.slots * self.phases,
            "n2": self.height,
            "d1": self.phase_step,
            "d2": self.pitch,
        }

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
        column, phase = divmod(x, self.phases)
        line = (y + self.top) * self.pitch + column + self.left
        return plane * self.plane_step + slot * self.slot_step + phase * self.phase_step + line

    def pixels(self, region: Region, lines: int | None = None) -> Ints:
        """Offsets of the pixels of a region's first ``lines`` lines (None: all): ``[rows,
        columns]``."""
        rows = region.rows if lines is None else min(lines, region.rows)
        y = region.y + np.arange(rows)[:, None] * region.step[0]
        return self.address(0, 0, y, region.x + np.arange(region.columns) * region.step[1])


@dataclass(frozen=True)
class Laid:
    """A network and the layout of its values."""

    network: Network
    layouts: dict[str, Layout]


def lay_out(network: Network, config: ArchConfig) -> Laid:
    """Choose halo, pitch and steps of every value."""
    return Laid(network, {n: _layout(network, v, config) for n, v in network.values.items()})


def verify_layout(laid: Laid, config: ArchConfig) -> None:
    """Check that every window lies inside its value's lines and columns, that slots that the drain
    writes at once lie in different banks, that no two elements share a slot, and that transferred
    data are evenly spaced."""
    network = laid.network
    for name, layout in laid.layouts.items():
        value = network.values[name]
        for index, operand in network.uses[name]:
            op = network.ops[index]
            top, bottom = operand.span(0, op.region.rows)
            left, right = operand.span(1, op.region.columns)
            who = f"{op.name} reads {name}"
            lines = top >= -layout.top and bottom < layout.height + layout.bottom
            require(lines, f"{who} outside its lines")
            inside = left // layout.phases >= -layout.left
            inside &= right // layout.phases + layout.left < layout.pitch
            require(inside, f"{who} outside its columns")
        if network.writers[name] and layout.slots > 1:
            require(_slots_clear(layout.slot_step, config), f"{name}: slots share banks")
        if value.weights:
            count = layout.height * layout.width
            edges = (layout.top, layout.left, layout.pitch, layout.phases)
            whole = (
                layout.height + layout.bottom
            ) * layout.width >= count + -count % config.oc_lanes
            require(edges == (0, 0, layout.width, 1) and whole, f"{name}: no whole weight words")
        if value.load or value.store:
            require(layout.even, f"{name}: slots do not lie evenly")
            columns = layout.columns(0) + layout.left <= layout.pitch
            require(columns, f"{name}: the last column has no slot")
        shape = layout.slots, layout.height, layout.width
        require(shape == (-(-value.shape[0] // config.ic_lanes), *value.shape[1:]), f"{name}: size")
        line = layout.address(0, 0, 0, np.arange(layout.width)) % layout.phase_step
        ends = line.min(), line.max() + (layout.height + layout.bottom - 1) * layout.pitch
        apart = ends[0] >= layout.top * layout.pitch and ends[1] < layout.phase_step
        apart &= -(-layout.width // layout.phases) + layout.left <= layout.pitch
        apart &= layout.phases * layout.phase_step <= layout.slot_step
        require(bool(apart), f"{name}: elements share slots")


def clear(places: Ints, config: ArchConfig) -> bool:
    """True if the drain of a run's pixels at ``places``, in this order, never writes a bank twice
    in a cycle."""
    group = config.drain_pixels
    if group == 1:
        return True
    spare = -places.size % group
    banks = np.concatenate([places.ravel() % config.pixels, -1 - np.arange(spare)])
    banks = np.sort(banks.reshape(-1, group))
    return not (banks[:, 1:] == banks[:, :-1]).any()


def clear_lines(layout: Layout, region: Region, config: ArchConfig) -> bool:
    """:func:`clear` for a run over all lines of ``region``, whose groups repeat after a few
    lines."""
    group = config.drain_pixels
    lines = group // math.gcd(group, region.columns) + -(-group // region.columns) + 1
    return clear(layout.pixels(region, lines), config)


def gap(operand: Operand, layout: Layout, columns: int) -> int:
    """Slots of an operand that lanes skip at the end of a line of ``columns`` output pixels."""
    return operand.stride[0] * layout.pitch - columns


def runs_on(skip: int, rows: int, columns: int, config: ArchConfig) -> bool:
    """True if blocks of output pixels can run across lines with a gap of ``skip``."""
    long = columns >= min(WRAP_MIN, config.pixels)
    return rows == 1 or skip == 0 or (long and skip > 0 and skip % config.pixels == 0)


def _slots_clear(slot_step: int, config: ArchConfig) -> bool:
    """True if channel slots that the drain writes at once lie in different banks."""
    banks = np.arange(config.drain_slots) * slot_step % config.pixels
    return np.unique(banks).size == banks.size


def _layout(network: Network, value: Value, config: ArchConfig) -> Layout:
    _, height, width = value.shape
    uses = [(network.ops[i], operand) for i, operand in network.uses[value.name]]
    rows = [operand.span(0, op.region.rows) for op, operand in uses]
    columns = [operand.span(1, op.region.columns) for op, operand in uses]
    right = max(0, *(last - width + 1 for _, last in columns), 0)
    least = Layout(
        planes=value.planes,
        slots=-(-value.shape[0] // config.ic_lanes),
        height=height,
        width=width,
        phases=value.phases,
        top=max(0, *(-first for first, _ in rows), 0),
        bottom=max(0, *(last - height + 1 for _, last in rows), 0),
        left=-(min(0, *(first for first, _ in columns), 0) // value.phases),
        right=right,
        pitch=0,
        phase_step=0,
        slot_step=0,
    )
    least = replace(least, pitch=least.left + (width - 1 + right) // value.phases + 1)
    if value.weights:  # whole weight words, their pixels in consecutive slots
        rest = -(height * width) % config.oc_lanes
        least = replace(least, bottom=-(-rest // width))
    readers = tuple(
        (
            operand.stride[0],
            op.region.rows,
            op.region.columns,
            _saving(network, op, config),
        )
        for op, operand in uses
    )
    writers = tuple(
        (network.ops[i].region, _saving(network, network.ops[i], config))
        for i in network.writers[value.name]
    )
    even = bool(value.load or value.store)
    found = _best(least, readers, writers, config, even=even, dense=value.weights)
    if found is None:
        raise CompileError(
            f"{value.name}: {value.phases} column phases cannot be stored to memory from "
            f"{config.drain_slots} channel slots per cycle and {config.pixels} banks: use an "
            "accelerator with fewer post_lanes"
        )
    return found


def _saving(network: Network, op: Op, config: ArchConfig) -> int:
    """Compute cycles that ``op`` saves by running across lines."""
    rows, columns = op.region.rows, op.region.columns
    blocks = rows * -(-columns // config.pixels) - -(-rows * columns // config.pixels)
    return op_cycles(op, network, blocks, config)


@lru_cache(maxsize=4096)
def _best(
    least: Layout,
    readers: tuple[tuple[int, int, int, int], ...],
    writers: tuple[tuple[Region, int], ...],
    config: ArchConfig,
    *,
    even: bool,
    dense: bool,
) -> Layout | None:
    """The layout whose pitch and steps have the lowest cost, then the smallest size; ``least`` has
    the smallest pitch, the only one of ``dense`` lines. ``readers``: (stride_y, output rows, output
    columns, cycles saved by running on); ``writers``: (region, cycles saved by running on)."""

    def lost(pitch: int) -> int:
        return sum(
            saved
            for stride, rows, columns, saved in readers
            if not runs_on(stride * pitch - columns, rows, columns, config)
        )

    pitches = range(least.pitch, least.pitch + (1 if dense else config.pixels))
    best: tuple[int, Layout] | None = None
    for cost, pitch in sorted((lost(p), p) for p in pitches):
        if best and cost >= best[0]:
            break
        for layout in _padded(replace(least, pitch=pitch), bool(writers), even, config):
            total = cost + sum(_penalty(layout, *writer, config) for writer in writers)
            if best is None or total < best[0]:
                best = total, layout
            if total == cost:
                break
    return best[1] if best else None


def _padded(layout: Layout, written: bool, even: bool, config: ArchConfig) -> Iterator[Layout]:
    """``layout`` with the steps that its pitch allows, the smallest first."""
    lines = (layout.top + layout.height + layout.bottom) * layout.pitch
    for step in range(lines, lines + config.pixels):
        for slot_step in range(layout.phases * step, layout.phases * step + config.pixels):
            if layout.slots == 1 or not written or _slots_clear(slot_step, config):
                yield replace(layout, phase_step=step, slot_step=slot_step)
                if layout.phases == 1 or config.drain_pixels == 1:
                    return
                break
            if even:
                break


def _penalty(layout: Layout, region: Region, saved: int, config: ArchConfig) -> int:
    """Cycles lost by an operation that writes ``region``: everything that running across lines
    saves if banks conflict at line ends, and much more if they conflict within lines."""
    if not clear(layout.pixels(region, 1), config):
        return (1 + saved) * config.pixels
    if region.rows == 1 or clear_lines(layout, region, config):
        return 0
    return saved
