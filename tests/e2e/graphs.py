"""Hypothesis strategies: random legal integer graphs over all operations and corner cases."""

from dataclasses import dataclass, field
from typing import Any

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
    tensors_of,
    window,
)
from sigbit_hw.arch.config import ArchConfig

Ints = NDArray[np.int64]
Draw = st.DrawFn
Size = tuple[int, int]
Padding = tuple[int, int, int, int]

MOST_ELEMENTS = 2048
"""Elements of the largest tensor."""
MOST_PRODUCTS = 1 << 17
"""Multiply-accumulates of the largest layer, for the sake of time."""
KINDS = (
    "conv",
    "conv",
    "conv",
    "wide",
    "depthwise",
    "grouped",
    "transposed",
    "linear",
    "residual",
    "maxpool",
    "concat",
    "split",
    "shuffle",
    "chain",
    "blocks",
    "mosaic",
    "pooled",
    "dense",
)
"""Operations and groups of them, by how often they are drawn."""
WEIGHTS = ("random", "random", "sparse", "extreme", "ones", "zeros")
TABLES = ("random", "random", "staircase", "extreme", "constant")
SCALES = ("fitting", "fitting", "saturating", "vanishing", "mixed")
LONG_STRIDES = (4, 5, 7, 15)


@dataclass
class _Graph:
    """A graph while it is being drawn; random bulk data come from one drawn seed."""

    draw: Draw
    config: ArchConfig
    rng: np.random.Generator
    nodes: list[Node] = field(default_factory=list)

    def pick(self, *choices: Any) -> Any:
        return self.draw(st.sampled_from(choices))

    def number(self, low: int, high: int) -> int:
        return self.draw(st.integers(low, high))

    def flag(self) -> bool:
        return self.draw(st.booleans())

    def name(self) -> str:
        return f"t{len(self.nodes)}"

    def tensor(self) -> Node:
        """One of the tensors so far, the latest the likeliest."""
        return self.nodes[-1 - min(self.number(0, 3), len(self.nodes) - 1)]

    def channels(self) -> int:
        """Output channels: often few, at times several blocks of the array."""
        return self.number(1, int(self.pick(4, 10, 40)))

    def planes(self) -> int:
        return int(self.pick(1, 1, 1, 2, 3))

    def zero(self, planes: int) -> int:
        values = self.config.act_grid(planes).values
        return -int(self.pick(0, int(values[0]), int(self.rng.choice(values))))

    def input(self) -> None:
        """An image, a thin one, one whose lines are short against the lanes, or a vector; its
        integers a part of what its digits can hold."""
        planes = self.number(1, 3)
        values = self.config.act_grid(planes).values
        contiguous = int(self.config.act_grid(planes).contiguous)
        low = 0 if values[0] == 0 else -self.number(0, min(contiguous, 127))
        high = self.number(0, min(contiguous, 127))
        height, width = self.pick((14, 14), (14, 14), (24, 24), (3, 60), (60, 3), (1, 1), (24, 4))
        narrow = (height, width) == (24, 4)
        shape = (
            self.number(1, int(self.pick(3, 9, 40))),
            self.number(1, height),
            width if narrow else self.number(1, width),
        )
        assume(np.prod(shape) <= MOST_ELEMENTS)
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

    def stride(self, size: int) -> int:
        """Mostly short, rarely as long as the array can do, where the image is large enough."""
        long = [s for s in LONG_STRIDES if s < size]
        return int(self.pick(1, 1, 2, 3, *long[-1:]))

    def padding(self, low: int, high: Size) -> Padding:
        """Sides of at least ``low`` and at most ``high`` (vertical, horizontal)."""
        top, left, bottom, right = (self.number(low, most) for most in high * 2)
        return top, left, bottom, right

    def window(self, size: Size, largest: int) -> tuple[Size, Size, Padding, Size]:
        """Kernel, stride, padding and dilation of a window that fits an image of ``size``."""
        kernel = (self.number(1, largest), self.number(1, largest))
        stride = (self.stride(size[0]), self.stride(size[1]))
        dilation = (self.number(1, 3), self.number(1, 3))
        padding = self.padding(-1, (kernel[0], kernel[1]))
        inner = min(
            size[0] + min(padding[0], 0) + min(padding[2], 0),
            size[1] + min(padding[1], 0) + min(padding[3], 0),
        )
        assume(min(window(size, kernel, stride, padding, dilation)) >= 1 and inner >= 1)
        return kernel, stride, padding, dilation

    def finish(self, sources: list[Source], channels: int, size: Size) -> None:
        """A Conv of ``sources``, its scales and table drawn."""
        pixels = size[0] * size[1]
        assume(channels * pixels <= MOST_ELEMENTS)
        assume(sum(s.weights.size for s in sources) * pixels <= MOST_PRODUCTS)
        planes = self.planes()
        grid = self.config.act_grid(planes).values
        bound = sum(
            int(np.abs(s.weights).reshape(channels, -1).sum(1).max()) * self.peak(s.tensor)
            for s in sources
        )
        assume(bound < 1 << (self.config.acc_bits - 2))
        fitting = max(bound, 1).bit_length() - 7
        fmt = self.config.params
        whole = fmt.step_bits - fmt.fraction_bits
        exponent = {
            "fitting": np.full(channels, float(fitting)),
            "saturating": np.zeros(channels),
            "vanishing": np.full(channels, float(whole)),
            "mixed": self.rng.uniform(-fmt.fraction_bits, whole, channels),
        }[str(self.pick(*SCALES))]
        scale = 2.0**-exponent * self.rng.choice([1.0, 1.25, 1.7], channels)
        base, step = fmt.affine(scale, self.rng.integers(-bound - 1, bound + 2, channels) * scale)
        table = {
            "random": self.rng.choice(grid, 256),
            "staircase": np.roll(np.sort(self.rng.choice(grid, 256)), 128),
            "extreme": self.rng.choice([grid[0], grid[-1]], 256),
            "constant": np.full(256, grid[self.number(0, len(grid) - 1)]),
        }[str(self.pick(*TABLES))]
        self.nodes.append(
            Conv(
                self.name(),
                tuple(sources),
                base,
                step,
                self.rng.integers(0, 2, channels),
                table.astype(np.int64),
                TensorType((channels, *size), planes, 0.25, self.zero(planes)),
            )
        )

    def peak(self, name: str) -> int:
        """Largest magnitude that a tensor can hold."""
        node = next(n for n in self.nodes if n.name == name)
        return int(np.abs(self.config.act_grid(node.type.planes).values).max())

    def conv(self, groups: int, largest: int = 4, channels: int = 0) -> None:
        """A convolution; ``groups`` 0: depthwise, 2: of some groups."""
        x = self.tensor()
        c, height, width = x.type.shape
        divisors = [g for g in range(2, c) if c % g == 0]
        groups = {0: c, 1: 1}.get(groups, int(self.pick(*divisors)) if divisors else 1)
        channels = channels or groups * self.number(1, max(1, 24 // groups))
        kernel, stride, padding, dilation = self.window((height, width), largest)
        terms = int(self.pick(1, 1, 2, 3))
        source = Source(
            x.name,
            self.weights((channels, c // groups, *kernel), terms),
            terms,
            stride,
            padding,
            groups,
            dilation,
        )
        self.finish([source], channels, source.window((height, width)))

    def chain(self) -> None:
        """Two or three layers of many channels and few pixels, whose parameters take turns."""
        for _ in range(self.number(2, 3)):
            x = self.nodes[-1]
            c, height, width = x.type.shape
            channels = self.number(30, 48)
            stride = (-(-height // 5), -(-width // 5))
            source = Source(x.name, self.weights((channels, c, 1, 1), 1), 1, stride)
            self.finish([source], channels, source.window((height, width)))

    def transposed(self) -> None:
        """A transposed convolution or an upsampling, at times with a second one added to it."""
        x = self.tensor()
        c, height, width = x.type.shape
        divisors = [g for g in range(1, c + 1) if c % g == 0]
        groups = int(self.pick(1, *divisors))
        channels = groups * self.number(1, max(1, 8 // groups))
        kernel = (self.number(1, 4), self.number(1, 4))
        source = Source(
            x.name,
            self.weights((channels, c // groups, *kernel), 1),
            1,
            (1, 1),
            self.padding(-1, (kernel[0], kernel[1])),
            groups,
            (self.number(1, 2), 1),
            (self.number(1, 3), self.number(1, 3)),
        )
        size = source.window((height, width))
        assume(min(size) >= 1)
        sources = [source]
        others = [n for n in self.nodes if n.type.shape[1:] == size]
        if others and self.flag():
            other = others[self.number(0, len(others) - 1)]
            sources.append(
                Source(other.name, self.weights((channels, other.type.shape[0], 1, 1), 1))
            )
        self.finish(sources, channels, size)

    def blocks(self) -> None:
        """Channels as pixels of a block, or pixels of a block as channels, copied by ones."""
        x = self.tensor()
        c, height, width = x.type.shape
        to_space = self.flag()
        sides = [(h, w) for h in (1, 2, 3) for w in (1, 2, 3) if h * w > 1]
        fitting = [s for s in sides if c % (s[0] * s[1]) == 0]
        assume(fitting or not to_space)
        h, w = self.pick(*(fitting if to_space else sides))
        ones = np.eye(h * w, dtype=np.int64).reshape(h * w, h, w)
        if to_space:
            groups = c // (h * w)
            weights = np.tile(ones[None, :, ::-1, ::-1], (groups, 1, 1, 1))
            padding = (h - 1, w - 1, h - 1, w - 1)
            source = Source(x.name, weights, 1, (1, 1), padding, groups, upsampling=(h, w))
        else:
            groups = c
            assume(height >= h and width >= w)
            crop = (0, 0, -(height % h), -(width % w))
            weights = np.tile(ones[:, None], (c, 1, 1, 1))
            source = Source(x.name, weights, 1, (h, w), crop, groups)
        self.finish([source], len(weights), source.window((height, width)))

    def mosaic(self) -> None:
        """Parts of a tensor, and of others of its shape, side by side, each in a border."""
        x = self.tensor()
        c, height, width = x.type.shape
        others = [n for n in self.nodes if n.type.shape == x.type.shape]
        parts = [x, *(others[self.number(0, len(others) - 1)] for _ in range(self.number(1, 2)))]
        along = self.flag()
        size = height if along else width
        cut = self.number(0, size - 1) if len(parts) == 2 else 0
        sources = []
        for i, part in enumerate(parts):
            last = len(parts) - 1 - i
            before, after = (size - cut) * i or -cut, (size - cut) * last or -cut
            padding = (before, 0, after, 0) if along else (0, before, 0, after)
            ones = np.ones((c, 1, 1, 1), np.int64)
            sources.append(Source(part.name, ones, 1, padding=padding, groups=c))
        self.finish(sources, c, sources[0].window((height, width)))

    def linear(self) -> None:
        x = self.tensor()
        channels, terms = self.channels(), int(self.pick(1, 1, 2, 3))
        source = Source(x.name, self.weights((channels, *x.type.shape), terms), terms)
        self.finish([source], channels, (1, 1))

    def residual(self) -> None:
        """A 3x3 convolution of a tensor plus one or two others of the same shape, or the same."""
        x = self.tensor()
        c, height, width = x.type.shape
        others = [n for n in self.nodes if n.type.shape == x.type.shape]
        sources = [Source(x.name, self.weights((c, c, 3, 3), 1), 1, padding=(1, 1, 1, 1))]
        for _ in range(self.number(1, 2)):
            other = others[self.number(0, len(others) - 1)]
            terms = self.number(1, 2)
            sources.append(Source(other.name, self.weights((c, 1, 1, 1), terms), terms, groups=c))
        self.finish(sources, c, (height, width))

    def maxpool(self) -> None:
        flat = [n for n in self.nodes if n.type.planes == 1]
        assume(flat)
        x = flat[-1 - self.number(0, min(1, len(flat) - 1))]
        c, height, width = x.type.shape
        kernel = (self.number(1, 4), self.number(1, 4))
        stride = (self.stride(height), self.stride(width))
        padding = self.padding(0, (kernel[0] - 1, kernel[1] - 1))
        size = window((height, width), kernel, stride, padding)
        assume(min(size) >= 1)
        kind = TensorType((c, *size), 1, x.type.scale, x.type.zero)
        self.nodes.append(MaxPool(self.name(), x.name, kernel, stride, padding, kind))

    def gather(self, how: str) -> None:
        """Channels moved; often on borders of slots, where moving them can be free."""
        x = self.tensor()
        t = x.type
        alike = [
            n
            for n in self.nodes
            if (n.type.shape[1:], n.type.planes, n.type.scale, n.type.zero)
            == (t.shape[1:], t.planes, t.scale, t.zero)
        ]
        if how == "concat":
            parts = [x, *(alike[self.number(0, len(alike) - 1)] for _ in range(self.number(0, 2)))]
        else:
            parts = [x]
        channels = np.array([(i, c) for i, n in enumerate(parts) for c in range(n.type.shape[0])])
        if how == "split":
            first = self.number(0, t.shape[0] - 1)
            if self.flag():
                first -= first % self.config.ic_lanes
            channels = channels[first : first + self.number(1, t.shape[0] - first)]
        elif how == "shuffle":
            channels = self.rng.permutation(channels)
        assume(len(channels) * t.shape[1] * t.shape[2] <= MOST_ELEMENTS)
        kind = TensorType((len(channels), *t.shape[1:]), t.planes, t.scale, t.zero)
        self.nodes.append(
            Gather(self.name(), tuple(n.name for n in parts), channels.astype(np.int64), kind)
        )

    def dense(self) -> None:
        """Two layers alike, of whole slots, concatenated; and the same once more."""
        lanes = self.config.ic_lanes
        x = self.tensor()
        c, height, width = x.type.shape
        assume(12 * lanes * height * width <= MOST_ELEMENTS)
        joined = []
        for _ in range(self.number(2, 3)):
            channels = lanes * self.number(1, 2)
            source = Source(x.name, self.weights((channels, c, 1, 1), 1))
            self.finish([source], channels, (height, width))
            last = self.nodes.pop()
            assert isinstance(last, Conv)
            values = self.config.act_grid(1).values
            kind = TensorType(last.type.shape, 1, 0.25, 0)
            table = values[np.abs(last.table[:, None] - values).argmin(1)]
            self.nodes.append(
                Conv(last.name, last.sources, last.base, last.step, last.tie, table, kind)
            )
            joined.append(self.nodes[-1])
            if len(joined) > 1:
                pairs = [(i, k) for i, n in enumerate(joined[-2:]) for k in range(n.type.shape[0])]
                kind = TensorType((len(pairs), height, width), 1, 0.25, 0)
                names = tuple(n.name for n in joined[-2:])
                self.nodes.append(Gather(self.name(), names, np.array(pairs), kind))
                joined[-1] = x = self.nodes[-1]
                c = x.type.shape[0]

    def pooled(self) -> None:
        """A convolution and its pooling, whose windows do not overlap."""
        self.conv(1)
        x = self.nodes[-1]
        size = x.type.shape[1:]
        kernel = (min(2, size[0]), min(2, size[1]))
        if x.type.planes == 1:
            shape = (x.type.shape[0], *window(size, kernel, kernel, (0,) * 4))
            kind = TensorType(shape, 1, x.type.scale, x.type.zero)
            self.nodes.append(MaxPool(self.name(), x.name, kernel, kernel, (0,) * 4, kind))
        else:
            ones = np.ones((x.type.shape[0], 1, *kernel), np.int64)
            source = Source(x.name, ones, 1, kernel, groups=x.type.shape[0])
            self.finish([source], x.type.shape[0], source.window((size[0], size[1])))

    def add(self, kind: str) -> None:
        match kind:
            case "conv":
                self.conv(1, int(self.pick(4, 4, 11)))
            case "wide":
                self.conv(1, 3, self.channels())
            case "depthwise":
                self.conv(0)
            case "grouped":
                self.conv(2)
            case "concat" | "split" | "shuffle":
                self.gather(kind)
            case _:
                getattr(self, kind)()


@st.composite
def graphs(
    draw: Draw, config: ArchConfig, most: int = 7, kinds: tuple[str, ...] = KINDS
) -> IntegerGraph:
    """Graphs of up to ``most`` operations of ``kinds`` for ``config``; they may still be refused
    for being too large."""
    build = _Graph(draw, config, np.random.default_rng(draw(st.integers(0, 1 << 32))))
    for _ in range(build.number(1, 2)):
        build.input()
    for _ in range(build.number(1, most)):
        build.add(str(build.pick(*kinds)))
    read = {t for n in build.nodes for t in tensors_of(n)}
    ends = [n.name for n in build.nodes if n.name not in read]
    more = draw(st.lists(st.sampled_from([n.name for n in build.nodes]), max_size=1))
    return IntegerGraph(
        "random",
        config.weight_format,
        config.act_format,
        config.term_radix_bits,
        tuple(build.nodes),
        tuple(dict.fromkeys([*ends, *more])),
    )
