"""Random integer graphs, to test compilers and devices with."""

import numpy as np

from sigbit.ir.integer import Conv, Input, IntegerGraph, MaxPool, Node, Source, TensorType, window
from sigbit_hw.arch.config import ArchConfig


class Builder:
    """Builds a graph node by node from a seeded generator; every tensor exercises the full range of
    its digits."""

    def __init__(self, rng: np.random.Generator, config: ArchConfig) -> None:
        self.rng, self.config = rng, config
        self.nodes: list[Node] = []

    def type_of(self, name: str) -> TensorType:
        """Type of a node built before."""
        return next(n.type for n in self.nodes if n.name == name)

    def zero(self, planes: int) -> int:
        """A zero point: often 0, else one whose negative is a stored value."""
        if self.rng.random() < 0.4:
            return 0
        return -int(self.rng.choice(self.config.act_grid(planes).values))

    def input(self, shape: tuple[int, int, int], planes: int) -> str:
        """A network input."""
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
        ones: bool = False,
    ) -> Source:
        """An operand with random weights, sparse where many would overflow the accumulator."""
        c = self.type_of(tensor).shape[0]
        shape = (oc, 1 if depthwise else c, *kernel)
        values = self.config.weight_grid(terms).values
        weights = self.rng.choice(values, shape)
        budget = (1 << (self.config.acc_bits - 4)) // int(
            np.abs(self.config.act_grid(self.type_of(tensor).planes).values).max()
        )
        keep = min(1.0, budget / max(1, int(np.abs(weights).reshape(oc, -1).sum(1).max())))
        weights = np.where(self.rng.random(shape) < keep * 0.8, weights, 0)
        if ones:
            weights = np.ones(shape, np.int64)
        groups = c if depthwise else 1
        return Source(tensor, weights.astype(np.int64), terms, stride, padding, groups)

    def conv(self, sources: list[Source], planes: int = 1) -> str:
        """A convolution; scales spread the accumulators over the table."""
        first = sources[0]
        oc = first.weights.shape[0]
        size = self.type_of(first.tensor).shape[1:]
        h, w = window(size, first.weights.shape[2:], first.stride, first.padding)
        bound = sum(
            np.abs(s.weights).reshape(oc, -1).sum(1)
            * int(np.abs(self.config.act_grid(self.type_of(s.tensor).planes).values).max())
            for s in sources
        )
        shift = np.ceil(np.log2(np.maximum(np.asarray(bound) / 512, 1))).astype(np.int64)
        values = self.config.act_grid(planes).values
        table = np.sort(self.rng.choice(values, 256))
        table = np.roll(table, -128)
        kind = TensorType((oc, h, w), planes, 0.25, self.zero(planes))
        name = f"conv{len(self.nodes)}"
        self.nodes.append(
            Conv(
                name,
                tuple(sources),
                np.asarray(self.rng.integers(-40, 40, oc)),
                np.asarray(self.rng.integers(8, 16, oc)),
                shift,
                table,
                kind,
                location=f"model.py:{len(self.nodes)}",
            )
        )
        return name

    def pool(
        self,
        tensor: str,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        padding: tuple[int, int, int, int] = (0, 0, 0, 0),
    ) -> str:
        """A maximum pooling of a tensor of one digit."""
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

    def graph(self, *outputs: str) -> IntegerGraph:
        """The graph of all nodes."""
        c = self.config
        return IntegerGraph(
            "net", c.weight_format, c.act_format, c.term_radix_bits, tuple(self.nodes), outputs
        )


def random_graph(rng: np.random.Generator, config: ArchConfig, layers: int = 5) -> IntegerGraph:
    """A small network: convolutions with kernels to 11x11, strides to 4, any padding, one to three
    terms and digits, depthwise, residual and pooling operands, a linear tail."""
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
    return b.graph(last, *(extra - {last}))


def _layer(b: Builder, tensor: str) -> str:
    rng = b.rng
    c, h, w = b.type_of(tensor).shape
    kernel = _extent(rng, h), _extent(rng, w)
    stride = int(rng.choice([1, 1, 2, 2, 3, 4])), int(rng.choice([1, 1, 2, 2, 3, 4]))
    top, left, bottom, right = (int(rng.integers(0, k)) for k in kernel * 2)
    padding = (top, left, bottom + max(0, kernel[0] - h), right + max(0, kernel[1] - w))
    kind = rng.choice(["conv", "conv", "residual", "depthwise", "average", "max"])
    if kind == "max" and b.type_of(tensor).planes == 1:
        return b.pool(tensor, kernel, stride, padding)
    planes = int(rng.choice([1, 1, 2, 3]))
    terms = int(rng.integers(1, 4))
    if kind in ("depthwise", "average"):
        source = b.source(
            tensor,
            c,
            kernel,
            terms=1 if kind == "average" else terms,
            stride=stride,
            padding=padding,
            depthwise=c > 1,
            ones=kind == "average",
        )
        return b.conv([source], planes)
    if kind == "residual":
        odd = kernel[0] | 1, kernel[1] | 1
        half = (odd[0] // 2, odd[1] // 2, odd[0] // 2, odd[1] // 2)
        sources = [
            b.source(tensor, c, odd, padding=half, stride=stride),
            b.source(tensor, c, (1, 1), terms=min(terms, 2), stride=stride, depthwise=c > 1),
        ]
        return b.conv(sources, planes)
    oc = int(rng.integers(1, 18))
    return b.conv(
        [b.source(tensor, oc, kernel, terms=terms, stride=stride, padding=padding)], planes
    )


def _extent(rng: np.random.Generator, size: int) -> int:
    """Kernel rows or columns for an image of ``size``."""
    return int(min(rng.choice([1, 2, 3, 3, 5, 11]), size + 3))
