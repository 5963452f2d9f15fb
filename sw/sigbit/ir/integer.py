"""The integer graph: an exact description of a quantized network, and the golden model."""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.ir.arrays import Ints, distinct
from sigbit.ir.constants import Pool
from sigbit.ir.convolution import conv2d
from sigbit.ir.integer_nodes import (
    Constant,
    Conv,
    Gather,
    Input,
    Matmul,
    MaxPool,
    Node,
    Source,
    TensorType,
    tensors_of,
    window,
)
from sigbit.ir.integer_verifier import GraphError, verify
from sigbit.ir.states import State
from sigbit_hw.arch import numerics
from sigbit_hw.arch.axes import Axes
from sigbit_hw.arch.formats import Format, TermGrid
from sigbit_hw.arch.host import HostPart
from sigbit_hw.arch.preprocessing import ImagePreprocessing

__all__ = [
    "Axes",
    "Constant",
    "Conv",
    "Gather",
    "GraphError",
    "Input",
    "IntegerGraph",
    "Ints",
    "Matmul",
    "MaxPool",
    "Node",
    "Source",
    "State",
    "TensorType",
    "convolve",
    "gather",
    "macs",
    "multiply",
    "spread",
    "tensors_of",
    "verify",
    "window",
]


@dataclass(frozen=True)
class IntegerGraph:
    """Nodes in topological order, with their native formats; ``host`` is the host's part after the
    network. ``output_axes`` and ``output_names`` are the axes and the name of every output for the
    network's user, or for ``host``; images and the tensors' names if absent. ``preprocessing``
    describes the conversion of images to the input, and ``classes`` are the names of the channels
    of the outputs that have as many, if known. ``states`` are pairs of an input and an output that
    a device keeps from one run to the next; the network's user neither gives nor gets them.

    Equal graphs have the same nodes, down to every integer of their arrays. Equal weights share one
    array.
    """

    name: str
    weight_format: Format
    act_format: Format
    radix_bits: int
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    host: HostPart = field(default_factory=HostPart)
    output_axes: tuple[Axes, ...] = ()
    output_names: tuple[str, ...] = ()
    preprocessing: ImagePreprocessing | None = None
    classes: tuple[str, ...] = ()
    states: tuple[State, ...] = ()
    _by_name: dict[str, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        pool = Pool()
        object.__setattr__(self, "nodes", tuple(_interned(n, pool) for n in self.nodes))
        object.__setattr__(self, "_by_name", {n.name: n for n in self.nodes})
        if not self.output_axes:
            object.__setattr__(self, "output_axes", (Axes.IMAGE,) * len(self.outputs))
        if not self.output_names:
            object.__setattr__(self, "output_names", distinct(self.outputs))
        verify(self)

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The network inputs."""
        return tuple(n for n in self.nodes if isinstance(n, Input))

    @property
    def returned(self) -> tuple[tuple[str, str, Axes], ...]:
        """Name, tensor and axes of the outputs that are no states."""
        kept = {state.output for state in self.states}
        outputs = zip(self.output_names, self.outputs, self.output_axes, strict=True)
        return tuple(output for output in outputs if output[0] not in kept)

    @property
    def kept(self) -> tuple[tuple[str, str], ...]:
        """Input, and tensor that becomes the next run's input, of every state."""
        tensors = dict(zip(self.output_names, self.outputs, strict=True))
        return tuple((state.input, tensors[state.output]) for state in self.states)

    def weight_grid(self, terms: int) -> TermGrid:
        """Weight values of ``terms`` terms."""
        return TermGrid(self.weight_format, self.radix_bits, terms)

    def act_grid(self, planes: int) -> TermGrid:
        """Stored values of ``planes`` digits."""
        return TermGrid(self.act_format, self.radix_bits, planes)

    def grid(self, kind: TensorType) -> TermGrid:
        """Stored values of tensors of type ``kind``."""
        return self.weight_grid(kind.planes) if kind.weights else self.act_grid(kind.planes)

    def evaluate(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Stored integers of every tensor: int64 ``[batch, C, H, W]`` by node name, from the stored
        integers of the inputs."""
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            if isinstance(node, Input):
                values[node.name] = inputs[node.name].to(torch.int64)
            elif isinstance(node, Constant):
                batch = next(iter(inputs.values())).shape[0]
                values[node.name] = torch.from_numpy(node.values).expand(batch, -1, -1, -1)
            elif isinstance(node, Conv | Matmul):
                values[node.name] = self._requantized(node, values)
            elif isinstance(node, Gather):
                values[node.name] = gather([values[t] for t in node.tensors], node.channels)
            else:
                x = _pad(values[node.tensor], node.padding, self.act_format.min).double()
                values[node.name] = F.max_pool2d(x, node.kernel, node.stride).to(torch.int64)
        return values

    def accumulate(self, node: Conv | Matmul, values: dict[str, Tensor]) -> Tensor:
        """Return the accumulators of ``node``, without base: int64 ``[batch, oc, H, W]``, exact."""
        if isinstance(node, Matmul):
            return multiply(values[node.left], values[node.right])
        parts = (
            convolve(values[s.tensor], s, self[s.tensor].type.zero, torch.from_numpy(s.weights))
            for s in node.sources
        )
        return functools.reduce(torch.add, parts)

    def _requantized(self, node: Conv | Matmul, values: dict[str, Tensor]) -> Tensor:
        acc = self.accumulate(node, values).numpy()
        params = (a[:, None, None] for a in (node.base, node.step, node.tie))
        y = numerics.requantize(acc, *params)
        return torch.from_numpy(node.table[numerics.table_index(y)])


def _interned(node: Node, pool: Pool) -> Node:
    """Return ``node`` with the pool's weights."""
    if not isinstance(node, Conv):
        return node
    return replace(
        node,
        sources=tuple(replace(s, weights=pool.intern(s.weights)) for s in node.sources),
    )


def convolve(x: Tensor, source: Source, zero: int, weights: Tensor) -> Tensor:
    """Return the sums that ``source`` with these ``weights`` adds for stored integers ``x``
    ``[batch, C, H, W]`` of a tensor with ``zero``: int64, exact."""
    peak = float(x.abs().max()) if x.numel() else 0.0
    bound = max(peak, abs(zero)) * float(weights.abs().flatten(1).sum(1).max())
    dtype = torch.float32 if bound < 1 << 24 else torch.float64
    sparse = spread(x.to(dtype), source.upsampling, -zero)
    padded = _pad(sparse, source.padding, -zero)
    sums = conv2d(
        padded,
        weights.to(dtype),
        stride=source.stride,
        dilation=source.dilation,
        groups=source.groups,
    )
    return sums.round().to(torch.int64)


def multiply(left: Tensor, right: Tensor) -> Tensor:
    """Return the sums over channels of the products of every pixel of ``left`` ``[batch, C, H, W]``
    and every pixel of ``right`` ``[batch, C, h, w]``: int64 ``[batch, h w, H, W]``, exact."""
    peaks = [float(x.abs().max()) if x.numel() else 0.0 for x in (left, right)]
    exact = peaks[0] * peaks[1] * left.shape[1] < 1 << 53
    dtype = torch.float64 if exact else torch.int64
    rows = right.to(dtype).flatten(2).transpose(1, 2)
    sums = torch.matmul(rows, left.to(dtype).flatten(2))
    return sums.to(torch.int64).unflatten(2, left.shape[2:])


def gather(tensors: Sequence[Tensor], channels: Ints) -> Tensor:
    """Return ``channels`` (rows: tensor, channel) of ``tensors`` ``[batch, C, H, W]``."""
    starts = np.cumsum([0, *(t.shape[1] for t in tensors[:-1])])
    index = torch.from_numpy(starts[channels[:, 0]] + channels[:, 1])
    return torch.cat(list(tensors), dim=1)[:, index]


def spread(x: Tensor, upsampling: tuple[int, int], value: int) -> Tensor:
    """Return ``x`` ``[..., H, W]`` with ``upsampling - 1`` times ``value`` between neighbours."""
    if upsampling == (1, 1):
        return x
    height, width = ((n - 1) * u + 1 for n, u in zip(x.shape[-2:], upsampling, strict=True))
    spread = x.new_full((*x.shape[:-2], height, width), value)
    spread[..., :: upsampling[0], :: upsampling[1]] = x
    return spread


def _pad(x: Tensor, padding: tuple[int, int, int, int], value: int) -> Tensor:
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def macs(graph: IntegerGraph, node: Node) -> int:
    """Native multiply-accumulates of a node: products times term pairs; those with the zeros of
    ``upsampling`` do not count."""
    if isinstance(node, Matmul):
        left, right = graph[node.left].type, graph[node.right].type
        return math.prod(node.type.shape) * left.shape[0] * left.planes * right.planes
    if not isinstance(node, Conv):
        return 0
    _, h, w = node.type.shape
    return sum(
        s.weights.size
        * h
        * w
        * s.terms
        * graph[s.tensor].type.planes
        // (s.upsampling[0] * s.upsampling[1])
        for s in node.sources
    )
