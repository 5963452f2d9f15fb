"""Hypothesis strategies: random legal integer graphs over all operations and corner cases."""

from dataclasses import dataclass, field

import numpy as np
from hypothesis import assume
from hypothesis import strategies as st
from numpy.typing import NDArray

from sigbit.ir.integer import (
    Conv,
    Gather,
    Input,
    IntegerGraph,
    MaxPool,
    Node,
    Source,
    TensorType,
    window,
)
from sigbit_hw.arch.config import ArchConfig

Ints = NDArray[np.int64]
Draw = st.DrawFn

MOST_ELEMENTS = 4096
"""Elements of the largest tensor."""
KINDS = ("conv", "conv", "conv", "depthwise", "grouped", "transposed", "linear", "residual",
         "maxpool", "concat", "split", "shuffle")
WEIGHTS = ("random", "sparse", "extreme", "ones", "zeros")
TABLES = ("random", "staircase", "extreme", "constant")
SCALES = ("fitting", "saturating", "vanishing", "mixed")


@dataclass
class _Graph:
    """A graph while it is being drawn; random bulk data come from one drawn seed."""

    draw: Draw
    config: ArchConfig
    rng: np.random.Generator
    nodes: list[Node] = field(default_factory=list)

    def pick(self, *choices: object) -> object:
        return self.draw(st.sampled_from(choices))

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def name(self) -> str:
        return f"t{len(self.nodes)}"

    def tensor(self) -> Node:
        """One of the tensors so far, the latest the likeliest."""
        return self.nodes[-1 - min(self.number(0, 3), len(self.nodes) - 1)]

    def zero(self, planes: int) -> int:
        values = self.config.act_grid(planes).values
        return -int(self.pick(0, int(values[0]), int(self.rng.choice(values))))

    def input(self) -> None:
        planes = self.number(1, 3)
        values = self.config.act_grid(planes).values
        contiguous = int(self.config.act_grid(planes).contiguous)
        low = 0 if values[0] == 0 else -self.number(0, min(contiguous, 127))
        high = self.number(0, min(contiguous, 127))
        shape = (self.number(1, 9), self.number(1, 14), self.number(1, 14))
        kind = TensorType(shape, planes, 0.5, self.zero(planes))
        self.nodes.append(Input(self.name(), kind, low, high))

    def weights(self, shape: tuple[int, ...], terms: int) -> Ints:
        values = self.config.weight_grid(terms).values
        match self.pick(*WEIGHTS):
            case "random":
                return self.rng.choice(values, shape)
            case "sparse":
                return self.rng.choice(values, shape) * (self.rng.random(shape) < 0.2)
            case "extreme":
                return self.rng.choice([values[0], values[-1]], shape)
            case "ones":
                return np.ones(shape, np.int64)
        return np.zeros(shape, np.int64)

    def window(self, size: tuple[int, int], largest: int) -> dict[str, tuple[int, ...]]:
        """Kernel, stride, dilation and padding whose window fits an image of ``size``."""
        kernel = (self.number(1, largest), self.number(1, largest))
        stride = (self.number(1, 3), self.number(1, 3))
        dilation = (self.number(1, 2), self.number(1, 2))
        sides = [self.number(-1, k - 1) for k in kernel * 2]
        padding = (sides[0], sides[1], sides[2], sides[3])
        height, width = window(size, kernel, stride, padding, dilation)
        inner = min(size[0] + min(padding[0], 0) + min(padding[2], 0),
                    size[1] + min(padding[1], 0) + min(padding[3], 0))
        assume(height >= 1 and width >= 1 and inner >= 1)
        return {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}

    def finish(self, sources: list[Source], channels: int, size: tuple[int, int]) -> None:
        """A Conv of ``sources``, its scales and table drawn."""
        assume(channels * size[0] * size[1] <= MOST_ELEMENTS)
        planes = self.pick(1, 1, 1, 2, 3)
        grid = self.config.act_grid(planes).values
        bound = sum(
            int(np.abs(s.weights).reshape(channels, -1).sum(1).max()) * self.peak(s.tensor)
            for s in sources
        )
        assume(bound < 1 << (self.config.acc_bits - 2))
        fitting = max(bound, 1).bit_length() - 7
        shift = {
            "fitting": np.full(channels, fitting),
            "saturating": np.zeros(channels, np.int64),
            "vanishing": np.full(channels, 31),
            "mixed": self.rng.integers(0, 32, channels),
        }[self.pick(*SCALES)]
        table = {
            "random": self.rng.choice(grid, 256),
            "staircase": np.roll(np.sort(self.rng.choice(grid, 256)), 128),
            "extreme": self.rng.choice([grid[0], grid[-1]], 256),
            "constant": np.full(256, grid[self.number(0, len(grid) - 1)]),
        }[self.pick(*TABLES)]
        self.nodes.append(Conv(
            self.name(), tuple(sources), self.rng.integers(-bound - 1, bound + 2, channels),
            self.rng.integers(8, 16, channels), shift.clip(0, 31).astype(np.int64),
            table.astype(np.int64), TensorType((channels, *size), planes, 0.25, self.zero(planes))))

    def peak(self, name: str) -> int:
        """Largest magnitude that a tensor can hold."""
        node = next(n for n in self.nodes if n.name == name)
        return int(np.abs(self.config.act_grid(node.type.planes).values).max())

    def conv(self, groups: int, largest: int = 4) -> None:
        x = self.tensor()
        c, *size = x.type.shape
        groups = {0: c, 1: 1}.get(groups, next((g for g in (4, 3, 2) if c % g == 0), 1))
        channels = groups * self.number(1, max(1, 10 // groups))
        w = self.window((size[0], size[1]), largest)
        terms = self.number(1, 2)
        source = Source(x.name, self.weights((channels, c // groups, *w["kernel"]), terms), terms,
                        w["stride"], w["padding"], groups, w["dilation"])
        self.finish([source], channels, source.window((size[0], size[1])))

    def transposed(self) -> None:
        x = self.tensor()
        c, *size = x.type.shape
        up = (self.number(1, 3), self.number(1, 3))
        kernel = (self.number(1, 3), self.number(1, 3))
        sides = [self.number(0, k) for k in kernel * 2]
        channels = self.pick(c, self.number(1, 6))
        groups = c if channels == c and self.pick(False, True) else 1
        weights = self.weights((channels, c // groups, *kernel), 1)
        source = Source(x.name, weights, 1, (1, 1), (sides[0], sides[1], sides[2], sides[3]),
                        groups, (1, 1), up)
        height, width = source.window((size[0], size[1]))
        assume(height >= 1 and width >= 1)
        self.finish([source], channels, (height, width))

    def linear(self) -> None:
        x = self.tensor()
        c, height, width = x.type.shape
        channels, terms = self.number(1, 12), self.number(1, 2)
        source = Source(x.name, self.weights((channels, c, height, width), terms), terms)
        self.finish([source], channels, (1, 1))

    def residual(self) -> None:
        """A 3x3 convolution of a tensor plus another of the same shape, or the same."""
        x = self.tensor()
        c, *size = x.type.shape
        others = [n for n in self.nodes if n.type.shape == x.type.shape]
        other = others[self.number(0, len(others) - 1)]
        sources = [
            Source(x.name, self.weights((c, c, 3, 3), 1), 1, padding=(1, 1, 1, 1)),
            Source(other.name, self.weights((c, 1, 1, 1), 2), 2, groups=c),
        ]
        self.finish(sources, c, (size[0], size[1]))

    def maxpool(self) -> None:
        flat = [n for n in self.nodes if n.type.planes == 1]
        assume(flat)
        x = flat[-1]
        c, *size = x.type.shape
        w = self.window((size[0], size[1]), 3)
        padding = tuple(max(p, 0) for p in w["padding"])
        height, width = window((size[0], size[1]), w["kernel"], w["stride"], padding)
        kind = TensorType((c, height, width), 1, x.type.scale, x.type.zero)
        self.nodes.append(
            MaxPool(self.name(), x.name, w["kernel"], w["stride"], padding, kind))

    def gather(self, how: str) -> None:
        x = self.tensor()
        t = x.type
        alike = [n for n in self.nodes if (n.type.shape[1:], n.type.planes, n.type.scale,
                                           n.type.zero) == (t.shape[1:], t.planes, t.scale, t.zero)]
        if how == "concat":
            parts = [x, *(alike[self.number(0, len(alike) - 1)] for _ in range(self.number(0, 2)))]
        else:
            parts = [x]
        channels = np.array([(i, c) for i, n in enumerate(parts) for c in range(n.type.shape[0])])
        if how == "split":
            first = self.number(0, t.shape[0] - 1)
            channels = channels[first:first + self.number(1, t.shape[0] - first)]
        elif how == "shuffle":
            channels = self.rng.permutation(channels)
        assume(len(channels) * t.shape[1] * t.shape[2] <= MOST_ELEMENTS)
        kind = TensorType((len(channels), *t.shape[1:]), t.planes, t.scale, t.zero)
        self.nodes.append(
            Gather(self.name(), tuple(n.name for n in parts), channels.astype(np.int64), kind))

    def add(self, kind: str) -> None:
        match kind:
            case "conv":
                self.conv(1, self.pick(4, 4, 7))
            case "depthwise":
                self.conv(0)
            case "grouped":
                self.conv(2)
            case "concat" | "split" | "shuffle":
                self.gather(kind)
            case _:
                getattr(self, kind)()


@st.composite
def graphs(draw: Draw, config: ArchConfig, most: int = 6) -> IntegerGraph:
    """Graphs of up to ``most`` operations for ``config``; they may still be refused for being too
    large."""
    build = _Graph(draw, config, np.random.default_rng(draw(st.integers(0, 1 << 32))))
    for _ in range(build.number(1, 2)):
        build.input()
    for _ in range(build.number(1, most)):
        build.add(str(build.pick(*KINDS)))
    read = {t for n in build.nodes if not isinstance(n, Input) for t in _reads(n)}
    ends = [n.name for n in build.nodes if n.name not in read]
    more = draw(st.lists(st.sampled_from([n.name for n in build.nodes]), max_size=1))
    return IntegerGraph("random", config.weight_format, config.act_format,
                        config.term_radix_bits, tuple(build.nodes),
                        tuple(dict.fromkeys([*ends, *more])))


def _reads(node: Node) -> list[str]:
    if isinstance(node, Conv):
        return [s.tensor for s in node.sources]
    return [node.tensor] if isinstance(node, MaxPool) else list(getattr(node, "tensors", ()))
