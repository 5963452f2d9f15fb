"""First level: the operations that the array executes, on named values.

A *value* is a tensor, or some rows or joined channels of one, in the activation memory. An
*operation* reads sliding windows of values and writes a lattice of pixels and a range of channels
of one value. It is one of: a multiply-accumulate (``conv``) over any number of operands, a running
maximum (``max``), or a ``copy`` into another layout. Values come from, and go to, tensors in the
DMA window row by row.

Splits, concatenations, time steps and bands of rows are ranges of values and cost nothing; the
phases of a transposed convolution or an upsampling are operations that write every second pixel.
"""

from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from sigbit.errors import require
from sigbit.ir.integer import Conv, Matmul, MaxPool
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import TermGrid
from sigbit_hw.arch.program import Fold

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class MemoryTensor:
    """A tensor in the DMA window, in the byte order of ``Port``: an input, an output, a spilled
    value, or a constant, whose stored integers are ``constant``, for image number ``image``; a
    value as weight ``words``; or a ``state``, which is loaded before it is stored. ``shape`` is the
    folded shape if there is a ``fold``."""

    name: str
    kind: Literal["input", "output", "spill", "constant", "words", "state"]
    tensor: str
    image: int
    shape: tuple[int, int, int]
    planes: int
    phases: int = 1
    fold: Fold | None = None
    constant: Ints | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Rows:
    """Row r of a value is row ``first + r`` of the memory tensor ``memory``. ``first`` rows must be
    whole bus beats."""

    memory: str
    first: int = 0


@dataclass(frozen=True)
class Value:
    """Stored integers in [low, high]; padding around them holds ``halo`` (None: unread).

    ``load``: the source of the values if no operation writes them; ``store``: their destination
    after the last operation that writes them. ``weights``: the digits are those of weights, and
    the destination receives them as weight words.
    """

    name: str
    tensor: str
    shape: tuple[int, int, int]
    planes: int
    low: int
    high: int
    halo: int | None = None
    phases: int = 1
    load: Rows | None = None
    store: Rows | None = None
    weights: bool = False

    def grid(self, config: ArchConfig) -> TermGrid:
        """Stored integers that its digits can represent."""
        return config.weight_grid(self.planes) if self.weights else config.act_grid(self.planes)


@dataclass(frozen=True)
class Region:
    """Pixels that an operation writes: ``rows`` x ``columns`` of them from (``y``, ``x``) on,
    ``step`` = (dy, dx) apart."""

    y: int
    x: int
    rows: int
    columns: int
    step: tuple[int, int] = (1, 1)


@dataclass(frozen=True)
class Operand:
    """Windows of ``channels`` channels of a value, from channel ``channel`` on (a multiple of
    ic_lanes).

    The window of the region's pixel (i, j) begins at row ``i * stride[0] - padding[0]`` and column
    ``j * stride[1] - padding[1]`` of the value (negative padding: further in), its taps
    ``dilation`` apart. ``halo`` is the stored integer needed outside the value (None: nothing
    outside is read). ``weights`` ``[oc, channels / groups, kh, kw]`` have ``terms`` terms; maxima
    and copies have none. Instead of weights, a product has a value of weight digits, ``right``:
    the weight of output channel n is its pixel n, from channel ``right_channel`` on (a multiple of
    ic_lanes).
    """

    value: str
    kernel: tuple[int, int]
    channels: int
    channel: int = 0
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    weights: Ints | None = None
    terms: int = 1
    groups: int = 1
    halo: int | None = None
    right: str = ""
    right_channel: int = 0

    def span(self, axis: int, count: int) -> tuple[int, int]:
        """First and last row (``axis`` 0) or column (1) read for ``count`` output pixels."""
        first = -self.padding[axis]
        reach = (count - 1) * self.stride[axis] + (self.kernel[axis] - 1) * self.dilation[axis]
        return first, first + reach

    def phases(self, columns: int) -> int | None:
        """Column phases in which its value must be stored, for regions of ``columns`` columns; None
        if any number is suitable."""
        return self.stride[1] if columns > 1 else None


@dataclass(frozen=True)
class Op:
    """One operation on image ``image``. It writes ``channels`` channels, starting at ``channel`` (a
    multiple of ic_lanes), of the pixels in ``region`` of ``result``.

    ``node`` is the layer it comes from, None for a copy. The first of its channels is channel
    ``node_channel`` of the layer, and pixel (i, j) of the region is pixel ``(node_region.y + i *
    node_region.step[0], …)`` of the layer's output, which differs from ``region`` where ``result``
    holds some rows only. Base, step, tie and operands' weights are those of these channels
    alone. With ``images`` above 1 the region's columns are not the layer's but those of as many
    images side by side, from ``image`` on, and ``node_region`` is that of one image. Channels
    past the last one get the result ``rest``, before the table.
    """

    name: str
    kind: Literal["conv", "max", "copy"]
    operands: tuple[Operand, ...]
    result: str
    region: Region
    channels: int
    channel: int = 0
    node: Conv | Matmul | MaxPool | None = None
    node_region: Region | None = None
    node_channel: int = 0
    base: Ints | None = None
    step: Ints | None = None
    tie: Ints | None = None
    table: Ints | None = None
    rest: int = 0
    image: int = 0
    images: int = 1

    @property
    def where(self) -> str:
        """Name of the operation in messages."""
        location = self.node.location if self.node else ""
        return f"{self.name} ({location})" if location else self.name


@dataclass(frozen=True)
class Network:
    """Operations in order of execution, values by name, tensors in the DMA window by name.

    ``images`` is the number of images per run.
    """

    name: str
    values: dict[str, Value]
    ops: tuple[Op, ...]
    memory: dict[str, MemoryTensor]
    images: int = 1

    @cached_property
    def uses(self) -> dict[str, list[tuple[int, Operand]]]:
        """Readers of every value, as (index of the operation, operand)."""
        uses: dict[str, list[tuple[int, Operand]]] = {name: [] for name in self.values}
        for index, op in enumerate(self.ops):
            for operand in op.operands:
                uses[operand.value].append((index, operand))
        return uses

    @cached_property
    def writers(self) -> dict[str, list[int]]:
        """Indices of the operations that write every value, ascending."""
        writers: dict[str, list[int]] = {name: [] for name in self.values}
        for index, op in enumerate(self.ops):
            writers[op.result].append(index)
        return writers

    @cached_property
    def life(self) -> dict[str, tuple[int, int]]:
        """Indices of the first and last operation that use every value; values that are stored live
        one operation longer, and for a state until it is loaded as a whole; those that are loaded
        and never read begin at -1."""
        life = {}
        for name, value in self.values.items():
            touched = [*self.writers[name], *(i for i, _ in self.uses[name])] or [-1]
            late = self.loaded.get(value.store.memory, -1) if value.store else -1
            life[name] = min(touched), max(*touched, late) + (value.store is not None)
        return life

    @cached_property
    def loaded(self) -> dict[str, int]:
        """Index of the operation by which the last part of every state is loaded."""
        found: dict[str, int] = {}
        for name, value in self.values.items():
            if value.load and self.memory[value.load.memory].kind == "state":
                first = min((i for i, _ in self.uses[name]), default=-1)
                found[value.load.memory] = max(first, found.get(value.load.memory, -1))
        return found


def verify_network(network: Network) -> None:
    """Check that operations read only what was written before, that windows and channels fit their
    values, and that every element of a value that is not loaded is written exactly once."""
    written = {
        name: np.zeros(value.shape, np.uint8)
        for name, value in network.values.items()
        if value.load is None
    }
    for op in network.ops:
        value = network.values[op.result]
        require(value.load is None, f"{op.name} writes {op.result}, which is loaded")
        require(bool(op.operands), f"{op.name} reads nothing")
        require(op.kind == "conv" or len(op.operands) == 1, f"{op.name} reads several values")
        for operand in op.operands:
            _verify_operand(network, op, operand, written)
        r = op.region
        inside = (
            op.channel + op.channels <= value.shape[0]
            and r.y + (r.rows - 1) * r.step[0] < value.shape[1]
            and r.x + (r.columns - 1) * r.step[1] < value.shape[2]
        )
        require(inside, f"{op.name} writes outside {op.result}")
        written[op.result][
            op.channel : op.channel + op.channels,
            r.y : r.y + (r.rows - 1) * r.step[0] + 1 : r.step[0],
            r.x : r.x + (r.columns - 1) * r.step[1] + 1 : r.step[1],
        ] += 1
    for name, count in written.items():
        require(bool((count == 1).all()), f"elements of {name} are not written exactly once")
    stored = {v.store.memory for v in network.values.values() if v.store}
    for name, tensor in network.memory.items():
        given = tensor.kind in ("input", "constant")
        require(given or name in stored, f"{name} is never stored")
        words = [v for v in network.values.values() if v.store and v.store.memory == name]
        right = all(v.weights == (tensor.kind == "words") for v in words)
        require(right, f"{name} is stored in another order")
    for value in network.values.values():
        require(not value.weights or bool(value.store), f"{value.name} is never stored")


def _verify_operand(
    network: Network, op: Op, operand: Operand, written: dict[str, NDArray[np.uint8]]
) -> None:
    value = network.values[operand.value]
    who = f"{op.name} reads {operand.value}"
    require(operand.channel + operand.channels <= value.shape[0], f"{who} past its channels")
    spans = [operand.span(a, n) for a, n in enumerate((op.region.rows, op.region.columns))]
    outside = any(
        first < 0 or last >= size
        for (first, last), size in zip(spans, value.shape[1:], strict=True)
    )
    require(not outside or operand.halo is not None, f"{who} outside, where nothing is")
    if operand.value in written:
        (top, bottom), (left, right) = spans
        part = written[operand.value][
            operand.channel : operand.channel + operand.channels,
            max(top, 0) : bottom + 1,
            max(left, 0) : right + 1,
        ]
        require(bool(part.all()), f"{who} before it is written")
    weights = (operand.weights is not None) + bool(operand.right)
    require(weights == (op.kind == "conv"), f"{who}: weights")
    require(not value.weights, f"{who}, which holds weight digits")
    if operand.right:
        factor = network.values[operand.right]
        channels = slice(operand.right_channel, operand.right_channel + operand.channels)
        fits = channels.stop <= factor.shape[0] and op.channels == factor.shape[1] * factor.shape[2]
        fits &= factor.weights and factor.planes == operand.terms and operand.kernel == (1, 1)
        require(fits, f"{who}: it does not fit {operand.right}")
        done = operand.right in written and bool(written[operand.right].all())
        require(done, f"{op.name} multiplies by {operand.right} before it is written")
    if operand.weights is not None:
        need = (op.channels, operand.channels // operand.groups, *operand.kernel)
        require(operand.weights.shape == need, f"{who}: weights {operand.weights.shape}")
    elif op.kind == "copy":
        require(value.planes == network.values[op.result].planes, f"{op.name} changes the digits")
