"""The integer graph: an exact description of a quantized network, and the golden model.

Tensors hold *stored* integers, sums of ``planes`` native activation digits; ``real = scale *
(stored + zero)``. A convolution accumulates any number of sources (dense or depthwise), so a
residual addition is one more source with a 1x1 depthwise kernel, an average pooling a depthwise
kernel of ones, a linear layer a kernel of its input's size, a transposed convolution and a nearest
upsampling a convolution of the input with zeros between its pixels. Padding and those zeros stand
for the real value 0, hence for the stored integer ``-zero``. :class:`Gather` moves channels.
"""

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from sigbit.ir.annotation import HostOp
from sigbit.ir.limits import problems
from sigbit_hw.arch import numerics
from sigbit_hw.arch.formats import MAX_DIGITS, Format, TermGrid
from sigbit_tools.errors import SigbitError

Ints = NDArray[np.int64]


class GraphError(SigbitError):
    """A graph is malformed; the message names the node."""


@dataclass(frozen=True)
class TensorType:
    """Shape ``(channels, height, width)``, digits and real meaning of a tensor."""

    shape: tuple[int, int, int]
    planes: int
    scale: float
    zero: int = 0


@dataclass(frozen=True)
class Input:
    """A network input; stored integers are clipped to [low, high]."""

    name: str
    type: TensorType
    low: int
    high: int


@dataclass(frozen=True)
class Source:
    """One operand of a convolution: ``weights`` ``[oc, ic / groups, kh, kw]`` are integers of the
    weight grid of ``terms`` terms.

    Between neighbouring pixels of the tensor lie ``upsampling - 1`` zeros; around that comes
    ``padding`` (top, left, bottom, right), negative where it crops; over that the kernel slides,
    its taps ``dilation`` apart. ``upsampling`` needs a stride of 1.
    """

    tensor: str
    weights: Ints
    terms: int = 1
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    groups: int = 1
    dilation: tuple[int, int] = (1, 1)
    upsampling: tuple[int, int] = (1, 1)

    def window(self, size: tuple[int, int]) -> tuple[int, int]:
        """Output height and width for an input of ``size``."""
        spread = tuple((n - 1) * u + 1 for n, u in zip(size, self.upsampling, strict=True))
        kernel = self.weights.shape[2:]
        return window(spread, kernel, self.stride, self.padding, self.dilation)


@dataclass(frozen=True)
class Conv:
    """``out = table[requantize(sum of convolutions, bias, mantissa, shift) & 255]``.

    ``table`` holds 256 stored integers of the output type; ``bias`` (int32) already includes the
    terms that the zeros of the sources cause.
    """

    name: str
    sources: tuple[Source, ...]
    bias: Ints
    mantissa: Ints
    shift: Ints
    table: Ints
    type: TensorType
    kind: str = "conv"
    location: str = ""


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; padding never wins.

    Type but for the shape as the input's, one plane.
    """

    name: str
    tensor: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    type: TensorType
    kind: str = "maxpool"
    location: str = ""


@dataclass(frozen=True)
class Gather:
    """Channels of one or more tensors of equal size, scale, zero and planes: concatenation, split,
    shuffle. Row i of ``channels`` ``[C, 2]`` names tensor and channel that become channel i."""

    name: str
    tensors: tuple[str, ...]
    channels: Ints
    type: TensorType
    kind: str = "gather"
    location: str = ""


Node = Input | Conv | MaxPool | Gather


@dataclass(frozen=True)
class IntegerGraph:
    """Nodes in topological order, with the native formats they are meant for; ``host`` is what is
    left to the host after the network, in this order."""

    name: str
    weight_format: Format
    act_format: Format
    radix_bits: int
    nodes: tuple[Node, ...]
    outputs: tuple[str, ...]
    host: tuple[HostOp, ...] = ()
    _by_name: dict[str, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {n.name: n for n in self.nodes})
        verify(self)

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @property
    def inputs(self) -> tuple[Input, ...]:
        """The network inputs."""
        return tuple(n for n in self.nodes if isinstance(n, Input))

    def weight_grid(self, terms: int) -> TermGrid:
        """Weight values of ``terms`` terms."""
        return TermGrid(self.weight_format, self.radix_bits, terms)

    def act_grid(self, planes: int) -> TermGrid:
        """Stored values of ``planes`` digits."""
        return TermGrid(self.act_format, self.radix_bits, planes)

    def evaluate(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """Stored integers of every tensor: int64 ``[batch, C, H, W]`` by node name, from those of
        the inputs."""
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            if isinstance(node, Input):
                values[node.name] = inputs[node.name].to(torch.int64)
            elif isinstance(node, Conv):
                values[node.name] = self._conv(node, values)
            elif isinstance(node, Gather):
                values[node.name] = gather([values[t] for t in node.tensors], node.channels)
            else:
                x = _pad(values[node.tensor], node.padding, self.act_format.min).double()
                values[node.name] = F.max_pool2d(x, node.kernel, node.stride).to(torch.int64)
        return values

    def accumulate(self, node: Conv, values: dict[str, Tensor]) -> Tensor:
        """The accumulators of ``node``, without bias: int64 ``[batch, oc, H, W]``, exact."""
        parts = (
            convolve(values[s.tensor], s, self[s.tensor].type.zero, torch.from_numpy(s.weights))
            for s in node.sources
        )
        return functools.reduce(torch.add, parts)

    def _conv(self, node: Conv, values: dict[str, Tensor]) -> Tensor:
        acc = self.accumulate(node, values).numpy()
        params = (a[:, None, None] for a in (node.bias, node.mantissa, node.shift))
        y = numerics.requantize(acc, *params)
        return torch.from_numpy(node.table[y & (numerics.TABLE_ENTRIES - 1)])


def convolve(x: Tensor, source: Source, zero: int, weights: Tensor) -> Tensor:
    """The sums that ``source`` with these ``weights`` adds for stored integers ``x`` ``[batch, C,
    H, W]`` of a tensor with ``zero``: int64, exact."""
    peak = float(x.abs().max()) if x.numel() else 0.0
    bound = max(peak, abs(zero)) * float(weights.abs().flatten(1).sum(1).max())
    dtype = torch.float32 if bound < 1 << 24 else torch.float64
    sparse = spread(x.to(dtype), source.upsampling, -zero)
    padded = _pad(sparse, source.padding, -zero)
    sums = F.conv2d(
        padded,
        weights.to(dtype),
        stride=source.stride,
        dilation=source.dilation,
        groups=source.groups,
    )
    return sums.round().to(torch.int64)


def gather(tensors: Sequence[Tensor], channels: Ints) -> Tensor:
    """``channels`` (rows: tensor, channel) of ``tensors`` ``[batch, C, H, W]``."""
    starts = np.cumsum([0, *(t.shape[1] for t in tensors[:-1])])
    index = torch.from_numpy(starts[channels[:, 0]] + channels[:, 1])
    return torch.cat(list(tensors), dim=1)[:, index]


def spread(x: Tensor, upsampling: tuple[int, int], value: int) -> Tensor:
    """``x`` ``[..., H, W]`` with ``upsampling - 1`` times ``value`` between neighbours."""
    if upsampling == (1, 1):
        return x
    height, width = ((n - 1) * u + 1 for n, u in zip(x.shape[-2:], upsampling, strict=True))
    spread = x.new_full((*x.shape[:-2], height, width), value)
    spread[..., :: upsampling[0], :: upsampling[1]] = x
    return spread


def _pad(x: Tensor, padding: tuple[int, int, int, int], value: int) -> Tensor:
    top, left, bottom, right = padding
    return F.pad(x, (left, right, top, bottom), value=value)


def window(
    size: tuple[int, ...],
    kernel: tuple[int, ...],
    stride: tuple[int, int],
    padding: tuple[int, int, int, int],
    dilation: tuple[int, int] = (1, 1),
) -> tuple[int, int]:
    """Output height and width of a sliding window."""
    top, left, bottom, right = padding
    return (
        (size[0] + top + bottom - (kernel[0] - 1) * dilation[0] - 1) // stride[0] + 1,
        (size[1] + left + right - (kernel[1] - 1) * dilation[1] - 1) // stride[1] + 1,
    )


def macs(graph: IntegerGraph, node: Node) -> int:
    """Native multiply-accumulates of a node: products times term pairs; those with the zeros of
    ``upsampling`` do not count."""
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


def verify(graph: IntegerGraph) -> None:
    """Raise :class:`GraphError` unless every node is well formed and every value lies on its
    grid."""
    for problem in problems(graph.name, graph.nodes, graph.host):
        raise GraphError(problem)
    seen: dict[str, Node] = {}

    def need(condition: bool, node: Node, message: str) -> None:
        if not condition:
            raise GraphError(f"{node.name}: {message}")

    for node in graph.nodes:
        need(node.name not in seen, node, "a second node of this name")
        need(
            1 <= node.type.planes <= MAX_DIGITS,
            node,
            f"planes must be in [1, {MAX_DIGITS}], not {node.type.planes}",
        )
        need(
            np.isfinite(node.type.scale) and node.type.scale > 0,
            node,
            f"scale must be positive, not {node.type.scale}",
        )
        for tensor in tensors_of(node):
            need(tensor in seen, node, f"reads {tensor!r}, which is not an earlier node")
            need(
                -seen[tensor].type.zero in graph.act_grid(seen[tensor].type.planes).values,
                node,
                f"the zero of {tensor!r} is not a stored value",
            )
        if isinstance(node, Conv):
            channels, height, width = node.type.shape
            for name in ("bias", "mantissa", "shift"):
                need(
                    getattr(node, name).shape == (channels,),
                    node,
                    f"{name} must have shape [{channels}]",
                )
            need(node.table.shape == (numerics.TABLE_ENTRIES,), node, "table must have 256 entries")
            need(
                bool(np.isin(node.table, graph.act_grid(node.type.planes).values).all()),
                node,
                f"table holds values that {node.type.planes} planes cannot store",
            )
            need(
                bool(((node.mantissa >= 8) & (node.mantissa <= 15)).all()),
                node,
                "mantissa must be in [8, 15]",
            )
            need(
                bool(((node.shift >= 0) & (node.shift <= numerics.SHIFT_MAX)).all()),
                node,
                "shift must be in [0, 31]",
            )
            need(bool((np.abs(node.bias) < 1 << 31).all()), node, "bias must fit 32 bits")
            need(len(node.sources) > 0, node, "a convolution needs a source")
            for s in node.sources:
                c, h, w = seen[s.tensor].type.shape
                need(
                    s.groups > 0 and c % s.groups == 0 and channels % s.groups == 0,
                    node,
                    f"groups must divide {c} input and {channels} output channels, not {s.groups}",
                )
                need(
                    s.upsampling == (1, 1) or s.stride == (1, 1),
                    node,
                    f"upsampling {s.upsampling} needs a stride of 1, not {s.stride}",
                )
                need(
                    s.weights.shape[:2] == (channels, c // s.groups),
                    node,
                    f"weights {list(s.weights.shape)} do not fit {c} input and {channels} output "
                    "channels",
                )
                got = s.window((h, w))
                need(
                    got == (height, width),
                    node,
                    f"source {s.tensor!r} gives {got}, not {(height, width)}",
                )
                need(
                    bool(np.isin(s.weights, graph.weight_grid(s.terms).values).all()),
                    node,
                    f"weights lie outside the grid of {s.terms} terms",
                )
        elif isinstance(node, MaxPool):
            c, h, w = seen[node.tensor].type.shape
            shape = (c, *window((h, w), node.kernel, node.stride, node.padding))
            need(shape == node.type.shape, node, f"gives {shape}, not {node.type.shape}")
            need(
                node.type.planes == 1 and seen[node.tensor].type.planes == 1,
                node,
                "max pooling needs one plane",
            )
        elif isinstance(node, Gather):
            types = [seen[t].type for t in node.tensors]
            same = {(t.shape[1:], t.planes, t.scale, t.zero) for t in (*types, node.type)}
            need(len(same) == 1, node, f"tensors differ in size, planes, scale or zero: {same}")
            need(
                node.channels.shape == (node.type.shape[0], 2),
                node,
                f"channels must have shape [{node.type.shape[0]}, 2]",
            )
            need(
                all(
                    0 <= t < len(types) and 0 <= c < types[t].shape[0]
                    for t, c in node.channels.tolist()
                ),
                node,
                "channels name what its tensors do not have",
            )
        else:
            values = graph.act_grid(node.type.planes).values
            inside = int(((values >= node.low) & (values <= node.high)).sum())
            need(
                0 < inside == node.high - node.low + 1,
                node,
                f"[{node.low}, {node.high}] is not within the values of {node.type.planes} planes",
            )
        seen[node.name] = node
    for name in graph.outputs:
        if name not in seen:
            raise GraphError(f"output {name!r} is not a node")
    for op in graph.host:
        if not 0 <= op.output < len(graph.outputs):
            raise GraphError(f"host {op.function} of output {op.output}, which does not exist")


def tensors_of(node: Node) -> Iterator[str]:
    """Names of the tensors that a node reads."""
    if isinstance(node, Conv):
        yield from (s.tensor for s in node.sources)
    elif isinstance(node, MaxPool):
        yield node.tensor
    elif isinstance(node, Gather):
        yield from node.tensors
