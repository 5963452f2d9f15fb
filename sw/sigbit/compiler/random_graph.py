"""Random integer graphs for testing compilers and devices."""

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from sigbit.ir.integer import (
    Constant,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    Matmul,
    MaxPool,
    Node,
    Source,
    TensorType,
    window,
)
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import TermGrid
from sigbit_hw.arch.numerics import TABLE_ENTRIES, Y_MIN

Ints = NDArray[np.int64]


class Builder:
    """Builds a graph node by node from a seeded generator; every tensor exercises the full range of
    its digits."""

    def __init__(self, rng: np.random.Generator, config: ArchConfig) -> None:
        self.rng, self.config = rng, config
        self.nodes: list[Node] = []

    def type_of(self, name: str) -> TensorType:
        """Type of a node that has been built."""
        return next(n.type for n in self.nodes if n.name == name)

    def zero(self, planes: int) -> int:
        """A zero point: often 0, otherwise one whose negative is a stored value."""
        if self.rng.random() < 0.4:
            return 0
        return -int(self.rng.choice(self.config.act_grid(planes).values))

    def input(self, shape: tuple[int, int, int], planes: int) -> str:
        """Add a network input."""
        grid = self.config.act_grid(planes)
        low = -grid.contiguous if self.config.act_format.signed else 0
        kind = TensorType(shape, planes, 0.5, self.zero(planes))
        self.nodes.append(Input(f"in{len(self.nodes)}", kind, low, grid.contiguous))
        return self.nodes[-1].name

    def source(
        self,
        tensor: str,
        oc: int,
        kernel: tuple[int, int],
        *,
        terms: int = 1,
        stride: tuple[int, int] = (1, 1),
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
        depthwise: bool = False,
        groups: int = 1,
        dilation: tuple[int, int] = (1, 1),
        upsampling: tuple[int, int] = (1, 1),
        ones: bool = False,
    ) -> Source:
        """An operand with random weights, sparse if many would overflow the accumulator;
        ``depthwise``: as many groups as channels."""
        c = self.type_of(tensor).shape[0]
        groups = c if depthwise else groups
        shape = (oc, c // groups, *kernel)
        values = self.config.weight_grid(terms).values
        weights = self.rng.choice(values, shape)
        budget = (1 << (self.config.acc_bits - 4)) // int(
            np.abs(self.config.act_grid(self.type_of(tensor).planes).values).max()
        )
        keep = min(1.0, budget / max(1, int(np.abs(weights).reshape(oc, -1).sum(1).max())))
        weights = np.where(self.rng.random(shape) < keep * 0.8, weights, 0)
        if ones:
            weights = np.ones(shape, np.int64)
        return Source(
            tensor, weights.astype(np.int64), terms, stride, padding, groups, dilation, upsampling
        )

    def constant(self, values: Ints, planes: int = 1) -> str:
        """Add a constant tensor with zero 0."""
        kind = TensorType((*values.shape,), planes, 1.0)
        self.nodes.append(Constant(f"constant{len(self.nodes)}", values, kind))
        return self.nodes[-1].name

    def conv(self, sources: list[Source], planes: int = 1, *, weights: bool = False) -> str:
        """Add a convolution; its scales spread the accumulators over the table. ``weights``: its
        digits are those of weights."""
        first = sources[0]
        oc = first.weights.shape[0]
        h, w = first.window(self.type_of(first.tensor).shape[1:])
        bound = sum(
            np.abs(s.weights).reshape(oc, -1).sum(1)
            * int(np.abs(self.config.act_grid(self.type_of(s.tensor).planes).values).max())
            for s in sources
        )
        base, step = self._affine(np.asarray(bound))
        table = self._table(planes, weights)
        zero = 0 if weights else self.zero(planes)
        kind = TensorType((oc, h, w), planes, 0.25, zero, weights)
        name = f"conv{len(self.nodes)}"
        self.nodes.append(
            Conv(
                name,
                tuple(sources),
                base,
                step,
                np.asarray(self.rng.integers(0, 2, oc)),
                table,
                kind,
                location=f"model.py:{len(self.nodes)}",
            )
        )
        return name

    def _affine(self, bound: Ints) -> tuple[Ints, Ints]:
        """Base and step that spread accumulators of up to ``bound`` over the table."""
        exponent = np.ceil(np.log2(np.maximum(bound / 512, 1)))
        scale = 2.0**-exponent * self.rng.uniform(1, 2, bound.size)
        return self.config.params.affine(scale, self.rng.integers(-40, 40, bound.size) * scale)

    def _table(self, planes: int, weights: bool) -> Ints:
        """An ascending table; one of weight digits contains 0."""
        grid = self._grid(planes, weights)
        table = np.roll(np.sort(self.rng.choice(grid.values, TABLE_ENTRIES)), Y_MIN)
        if weights:
            table[0] = 0
        return table

    def _grid(self, planes: int, weights: bool) -> TermGrid:
        return self.config.weight_grid(planes) if weights else self.config.act_grid(planes)

    def matmul(self, left: str, right: str, planes: int = 1, *, weights: bool = False) -> str:
        """Add a product of two tensors, the right one of weight digits; the zero of ``left``
        becomes 0."""
        index = next(i for i, n in enumerate(self.nodes) if n.name == left)
        self.nodes[index] = replace(self.nodes[index], type=replace(self.nodes[index].type, zero=0))
        a, b = self.type_of(left), self.type_of(right)
        count = b.shape[1] * b.shape[2]
        peaks = (abs(self._grid(t.planes, t.weights).values).max() for t in (a, b))
        bound = a.shape[0] * next(peaks) * next(peaks) / 8
        base, step = self._affine(np.full(count, bound))
        table, tie = self._table(planes, weights), np.asarray(self.rng.integers(0, 2, count))
        zero = 0 if weights else self.zero(planes)
        kind = TensorType((count, *a.shape[1:]), planes, 0.25, zero, weights)
        name = f"matmul{len(self.nodes)}"
        self.nodes.append(Matmul(name, left, right, base, step, tie, table, kind))
        return name

    def pool(
        self,
        tensor: str,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> str:
        """Add a max pooling of a tensor of one digit."""
        kind = self.type_of(tensor)
        h, w = window(kind.shape[1:], kernel, stride, padding)
        name = f"pool{len(self.nodes)}"
        self.nodes.append(
            MaxPool(
                name,
                tensor,
                kernel,
                stride,
                padding,
                TensorType((kind.shape[0], h, w), 1, kind.scale, kind.zero),
            )
        )
        return name

    def gather(self, tensors: list[str], channels: list[tuple[int, int]]) -> str:
        """``channels`` (tensor, channel) of tensors of one type."""
        kind = self.type_of(tensors[0])
        name = f"gather{len(self.nodes)}"
        shape = (len(channels), *kind.shape[1:])
        out = TensorType(shape, kind.planes, kind.scale, kind.zero)
        self.nodes.append(Gather(name, tuple(tensors), np.asarray(channels, np.int64), out))
        return name

    def graph(self, *outputs: str) -> IntegerGraph:
        """The graph of all nodes."""
        c = self.config
        return IntegerGraph(
            "net", c.weight_format, c.act_format, c.term_radix_bits, tuple(self.nodes), outputs
        )


def random_graph(rng: np.random.Generator, config: ArchConfig, layers: int = 5) -> IntegerGraph:
    """A small random network: dense, grouped and depthwise convolutions with kernels up to 11x11,
    strides up to 4, dilation, any padding, zeros between pixels, one to three terms and digits;
    residual and pooling operands, maxima, gathers, a linear tail."""
    b = Builder(rng, config)
    size = int(rng.integers(1, 15)), int(rng.integers(1, 15))
    last = b.input((int(rng.integers(1, 12)), *size), int(rng.integers(1, 4)))
    tensors = [last]
    for _ in range(int(rng.integers(1, layers + 1))):
        last = _layer(b, str(rng.choice(tensors[-2:])))
        tensors.append(last)
    if rng.random() < 0.4:
        _, h, w = b.type_of(last).shape
        last = b.conv(
            [
                b.source(last, int(rng.integers(1, 20)), (h, w), terms=2)
                if h * w <= 31 and h < 31 and w < 31
                else b.source(last, 3, (1, 1))
            ],
            3,
        )
        tensors.append(last)
    extra = {str(rng.choice(tensors))} if rng.random() < 0.3 else set()
    return b.graph(last, *sorted(extra - {last}))


def random_products(rng: np.random.Generator, config: ArchConfig) -> IntegerGraph:
    """A product of two computed tensors of any shape, and one with the transposed right tensor, as
    attention multiplies; the transposition is a product with an identity."""
    b = Builder(rng, config)
    channels = int(rng.integers(1, 3 * config.ic_lanes))
    left, right = (
        b.input((int(rng.integers(1, 9)), int(rng.integers(1, 4)), int(rng.integers(1, 12))), n)
        for n in (1, 2)
    )
    a = b.conv([b.source(left, channels, (1, 1))], int(rng.integers(1, 4)))
    terms = int(rng.integers(1, 4 if channels < 16 else 3))  # sums fit 24 bits
    w = b.conv([b.source(right, channels, (1, 1))], terms, weights=True)
    scores = b.matmul(a, w, int(rng.integers(1, 4)))
    one = b.constant(np.eye(channels, dtype=np.int64)[:, None])
    turned = b.matmul(one, w, int(rng.integers(1, 3)), weights=True)
    result = b.matmul(scores, turned, int(rng.integers(1, 4)))
    return b.graph(result, *([scores] if rng.random() < 0.5 else []))


def _layer(b: Builder, tensor: str) -> str:
    rng = b.rng
    c, h, w = b.type_of(tensor).shape
    kind = rng.choice(
        [
            "conv",
            "conv",
            "grouped",
            "residual",
            "depthwise",
            "average",
            "upsampled",
            "gather",
            "max",
        ]
    )
    if kind == "gather" and b.type_of(tensor).planes == 1:
        return _gather(b, tensor)
    if kind == "upsampled":
        return _upsampled(b, tensor)
    kernel = _extent(rng, h), _extent(rng, w)
    stride = int(rng.choice([1, 1, 2, 2, 3, 4])), int(rng.choice([1, 1, 2, 2, 3, 4]))
    if kind == "max" and b.type_of(tensor).planes == 1:
        return b.pool(tensor, kernel, stride, _padding(rng, (h, w), kernel, least=0))
    planes = int(rng.choice([1, 1, 2, 3]))
    terms = int(rng.integers(1, 4))
    if kind == "residual":
        odd = kernel[0] | 1, kernel[1] | 1
        half = (odd[0] // 2, odd[1] // 2, odd[0] // 2, odd[1] // 2)
        sources = [
            b.source(tensor, c, odd, padding=half, stride=stride),
            b.source(tensor, c, (1, 1), terms=min(terms, 2), stride=stride, depthwise=c > 1),
        ]
        return b.conv(sources, planes)
    dilation = int(rng.choice([1, 1, 2, 3])), int(rng.choice([1, 1, 2, 3]))
    reach = tuple((k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True))
    padding = _padding(rng, (h, w), reach, least=-1)
    groups = int(rng.choice([g for g in range(1, c + 1) if c % g == 0])) if kind == "grouped" else 1
    alone = kind in ("depthwise", "average")
    oc = c * int(rng.integers(1, 3)) if alone else groups * int(rng.integers(1, 18 // groups + 2))
    average = kind == "average"
    source = b.source(
        tensor,
        oc,
        kernel,
        terms=1 if average else terms,
        stride=stride,
        padding=padding,
        depthwise=alone,
        groups=groups,
        dilation=dilation,
        ones=average,
    )
    return b.conv([source], planes)


def _gather(b: Builder, tensor: str) -> str:
    """A concatenation, a split at any channel, or a shuffle, of one digit; more digits would have
    to be aligned."""
    rng, c = b.rng, b.type_of(tensor).shape[0]
    kind = rng.choice(["concat", "split", "shuffle"])
    if kind == "split":
        first = int(rng.integers(0, c))
        return b.gather([tensor], [(0, i) for i in range(first, c)])
    if kind == "shuffle":
        return b.gather([tensor], [(0, int(i)) for i in rng.permutation(c)])
    same = [
        n.name
        for n in b.nodes
        if (n.type.shape[1:], n.type.planes, n.type.scale, n.type.zero)
        == (
            b.type_of(tensor).shape[1:],
            b.type_of(tensor).planes,
            b.type_of(tensor).scale,
            b.type_of(tensor).zero,
        )
    ]
    other = str(rng.choice(same))
    sizes = c, b.type_of(other).shape[0]
    return b.gather([tensor, other], [(t, i) for t, n in enumerate(sizes) for i in range(n)])


def _upsampled(b: Builder, tensor: str) -> str:
    """A transposed convolution or a nearest upsampling."""
    rng = b.rng
    _, h, w = b.type_of(tensor).shape
    factors = int(rng.integers(1, 4)), int(rng.integers(1, 4))
    if rng.random() < 0.5:
        top, left = factors[0] - 1, factors[1] - 1
        c = b.type_of(tensor).shape[0]
        source = b.source(
            tensor,
            c,
            factors,
            padding=(top, left, top, left),
            depthwise=True,
            upsampling=factors,
            ones=True,
        )
        return b.conv([source])
    kernel = int(rng.integers(1, 5)), int(rng.integers(1, 5))
    spread = (h - 1) * factors[0] + 1, (w - 1) * factors[1] + 1
    padding = _padding(rng, spread, kernel, least=0)
    oc = int(rng.integers(1, 12))
    return b.conv([b.source(tensor, oc, kernel, padding=padding, upsampling=factors)])


def _padding(
    rng: np.random.Generator, size: tuple[int, int], reach: tuple[int, ...], least: int
) -> tuple[int, int, int, int]:
    """Padding (top, left, bottom, right) of at least ``least``, such that a window fits and
    contains an element."""
    first = [int(rng.integers(least if n > 1 else 0, r)) for n, r in zip(size, reach, strict=True)]
    last = [
        max(int(rng.integers(least if n > 1 else 0, r)), r - n - p)
        for n, r, p in zip(size, reach, first, strict=True)
    ]
    return first[0], first[1], last[0], last[1]


def _extent(rng: np.random.Generator, size: int) -> int:
    """Number of kernel rows or columns for an image of ``size``."""
    return int(min(rng.choice([1, 2, 3, 3, 5, 11]), size + 3))
