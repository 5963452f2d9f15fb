"""Float graphs by hand: operations of every kind on small tensors with random parameters."""

from typing import Any

import torch
from torch import Tensor

from sigbit.ir.floating import (
    Add,
    AvgPool2d,
    BatchNorm,
    Channels,
    Concat,
    Conv2d,
    ConvTranspose2d,
    DepthToSpace,
    Flatten,
    FloatGraph,
    FromImage,
    Interpolate,
    Linear,
    MaxPool2d,
    Mosaic,
    Multiply,
    Node,
    Pad,
    Placeholder,
    Relu,
    SpaceToDepth,
    ToImage,
    Unary,
    Upsample,
)
from sigbit.ir.integer import Axes, window

Names = tuple[str, ...]
Padding = tuple[int, int, int, int]


class Builder:
    """Nodes one after the other; shapes follow from the operands."""

    def __init__(self, seed: int) -> None:
        self._random = torch.Generator().manual_seed(seed)
        self.nodes: list[Node] = []
        self.parameters: dict[str, Tensor] = {}

    def graph(self, *outputs: str) -> FloatGraph:
        return FloatGraph("handmade", tuple(self.nodes), self.parameters, outputs)

    def shape(self, name: str) -> tuple[int, ...]:
        return next(n.shape for n in self.nodes if n.name == name)

    def parameter(self, *shape: int, low: float = -0.6, high: float = 0.6) -> str:
        name = f"p{len(self.parameters)}"
        values = torch.rand(shape, generator=self._random, dtype=torch.float64)
        self.parameters[name] = low + (high - low) * values
        return name

    def add(self, kind: type[Node], inputs: Names, shape: tuple[int, ...], **fields: Any) -> str:
        name = f"{kind.__name__.lower()}{len(self.nodes)}"
        self.nodes.append(kind(name=name, inputs=inputs, shape=shape, location=name, **fields))
        return name

    def input(self, *shape: int) -> str:
        return self.add(Placeholder, (), shape)

    def conv(
        self,
        x: str,
        out: int,
        kernel: tuple[int, int] = (3, 3),
        stride: tuple[int, int] = (1, 1),
        padding: Padding = (1, 1, 1, 1),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> str:
        channels, *size = self.shape(x)
        fields = {"stride": stride, "padding": padding, "dilation": dilation, "groups": groups}
        weight = self.parameter(out, channels // groups, *kernel)
        shape = (out, *window(tuple(size), kernel, stride, padding, dilation))
        return self.add(Conv2d, (x,), shape, weight=weight, bias=self.parameter(out), **fields)

    def transposed(
        self,
        x: str,
        out: int,
        kernel: tuple[int, int],
        stride: tuple[int, int],
        crop: Padding = (0, 0, 0, 0),
        dilation: tuple[int, int] = (1, 1),
        groups: int = 1,
    ) -> str:
        channels, height, width = self.shape(x)
        top, left, bottom, right = crop
        shape = (
            out,
            (height - 1) * stride[0] + (kernel[0] - 1) * dilation[0] + 1 - top - bottom,
            (width - 1) * stride[1] + (kernel[1] - 1) * dilation[1] + 1 - left - right,
        )
        fields = {"stride": stride, "crop": crop, "dilation": dilation, "groups": groups}
        weight = self.parameter(channels, out // groups, *kernel)
        bias = self.parameter(out)
        return self.add(ConvTranspose2d, (x,), shape, weight=weight, bias=bias, **fields)

    def linear(self, x: str, out: int, weight: str | None = None, bias: str | None = None) -> str:
        (features,) = self.shape(x)
        weight = weight or self.parameter(out, features)
        return self.add(Linear, (x,), (out,), weight=weight, bias=bias)

    def norm(self, x: str) -> str:
        channels = self.shape(x)[0]
        weight, mean = (self.parameter(channels, low=-1) for _ in range(2))
        bias = self.parameter(channels, low=0)
        var = self.parameter(channels, low=0.3, high=2)
        fields = {"weight": weight, "bias": bias, "mean": mean, "var": var}
        return self.add(BatchNorm, (x,), self.shape(x), eps=1e-5, **fields)

    def relu(self, x: str, limit: float | None = None) -> str:
        return self.add(Relu, (x,), self.shape(x), limit=limit)

    def unary(self, x: str, function: str, *parameters: float) -> str:
        return self.add(Unary, (x,), self.shape(x), function=function, parameters=parameters)

    def plus(self, a: str, b: str) -> str:
        return self.add(Add, (a, b), self.shape(a))

    def times(self, a: str, b: str) -> str:
        return self.add(Multiply, (a, b), self.shape(a))

    def concat(self, *parts: str) -> str:
        channels = sum(self.shape(p)[0] for p in parts)
        return self.add(Concat, parts, (channels, *self.shape(parts[0])[1:]))

    def channels(self, x: str, *index: int) -> str:
        return self.add(Channels, (x,), (len(index), *self.shape(x)[1:]), index=index)

    def pad(self, x: str, padding: Padding) -> str:
        channels, height, width = self.shape(x)
        top, left, bottom, right = padding
        shape = (channels, height + top + bottom, width + left + right)
        return self.add(Pad, (x,), shape, padding=padding)

    def upsample(self, x: str, factor: tuple[int, int]) -> str:
        channels, height, width = self.shape(x)
        shape = (channels, height * factor[0], width * factor[1])
        return self.add(Upsample, (x,), shape, factor=factor)

    def maxpool(
        self, x: str, kernel: tuple[int, int], stride: tuple[int, int], padding: Padding
    ) -> str:
        channels, *size = self.shape(x)
        shape = (channels, *window(tuple(size), kernel, stride, padding))
        return self.add(MaxPool2d, (x,), shape, kernel=kernel, stride=stride, padding=padding)

    def average(
        self, x: str, kernel: tuple[int, int], stride: tuple[int, int], divisor: int
    ) -> str:
        channels, *size = self.shape(x)
        shape = (channels, *window(tuple(size), kernel, stride, (0, 0, 0, 0)))
        fields = {"kernel": kernel, "stride": stride, "padding": (0, 0, 0, 0), "divisor": divisor}
        return self.add(AvgPool2d, (x,), shape, **fields)

    def flatten(self, x: str) -> str:
        return self.add(Flatten, (x,), (torch.Size(self.shape(x)).numel(),))

    def image(self, x: str, axes: Axes, *shape: int) -> str:
        return self.add(ToImage, (x,), shape, axes=axes)

    def given(self, x: str, axes: Axes) -> str:
        channels, height, width = self.shape(x)
        return self.add(FromImage, (x,), axes.shape((channels, height, width)), axes=axes)

    def select(self, x: str, step: int) -> str:
        _, steps, _ = self.shape(x)
        return self.flatten(self.pad(x, (-step, 0, step + 1 - steps, 0)))

    def shuffle(self, x: str, factor: tuple[int, int]) -> str:
        (channels, height, width), (h, w) = self.shape(x), factor
        shape = (channels // (h * w), height * h, width * w)
        return self.add(DepthToSpace, (x,), shape, factor=factor)

    def unshuffle(self, x: str, factor: tuple[int, int]) -> str:
        (channels, height, width), (h, w) = self.shape(x), factor
        shape = (channels * h * w, height // h, width // w)
        return self.add(SpaceToDepth, (x,), shape, factor=factor)

    def mosaic(self, size: tuple[int, int], *pieces: tuple[str, tuple[int, int]]) -> str:
        shape = (self.shape(pieces[0][0])[0], *size)
        names = tuple(name for name, _ in pieces)
        return self.add(Mosaic, names, shape, places=tuple(place for _, place in pieces))

    def doubled(self, x: str) -> str:
        """Twice the lines and columns, interpolated, but for those at the edges."""
        channels, height, width = self.shape(x)
        shape = (channels, 2 * height - 4, 2 * width - 4)
        fields = {"lines": (1, 3, 3, 1), "columns": (1, 3, 3, 1), "factor": (2, 2)}
        fields |= {"stride": (1, 1), "padding": (0, 0, 0, 0), "divisor": 16}
        return self.add(Interpolate, (x,), shape, **fields)


def mixture(seed: int) -> FloatGraph:
    """Groups, dilation, transposed and upsampled layers, borders, concatenations, products, any
    function, sums."""
    b = Builder(seed)
    x = b.input(4, 8, 8)
    a = b.unary(b.conv(x, 8, groups=2), "silu")
    edge = b.pad(a, (2, 1, 1, 1))
    d = b.conv(edge, 8, stride=(2, 2), padding=(0, -1, 1, 0), dilation=(2, 2), groups=8)
    r = b.relu(b.norm(d))
    t = b.relu(b.transposed(r, 6, (3, 3), (2, 2), (1, 1, 0, 0), groups=2), 2.0)
    joined = b.concat(t, b.upsample(r, (2, 2)))
    n = b.relu(b.norm(joined))
    some = b.channels(joined, 3, 1, 13, 8, 0)
    gate = b.unary(b.average(n, (8, 6), (1, 1), 48), "sigmoid")
    o = b.conv(b.times(n, gate), 5, (1, 1), padding=(0, 0, 0, 0))
    th = b.unary(b.plus(o, some), "tanh")
    product = b.times(th, some)
    small = b.conv(b.maxpool(joined, (3, 3), (2, 2), (1, 1, 1, 1)), 2, padding=(0, 0, 0, 0))
    wide = b.transposed(r, 3, (2, 4), (1, 3), (-1, 1, 0, 2), dilation=(2, 1))
    return b.graph(
        b.conv(product, 3, padding=(0, 0, 0, 0)),
        b.linear(b.flatten(small), 3),
        product,
        b.unary(wide, "leaky_relu", 0.1),
    )


def dense_block(seed: int) -> FloatGraph:
    """DenseNet in small: norms of concatenations, which no convolution comes before."""
    b = Builder(seed)
    x = b.maxpool(b.relu(b.conv(b.input(3, 12, 12), 6)), (3, 3), (2, 2), (1, 1, 1, 1))
    for _ in range(3):
        inner = b.conv(b.relu(b.norm(x)), 8, (1, 1), padding=(0, 0, 0, 0))
        x = b.concat(x, b.conv(b.relu(b.norm(inner)), 4))
    x = b.average(b.conv(b.relu(b.norm(x)), 6, (1, 1), padding=(0, 0, 0, 0)), (2, 2), (2, 2), 4)
    x = b.concat(x, b.conv(b.relu(b.norm(x)), 4))
    x = b.average(b.relu(b.norm(x)), (3, 3), (1, 1), 9)
    return b.graph(b.linear(b.flatten(x), 5))


def lstm(seed: int, steps: int = 5, features: int = 6, hidden: int = 4) -> FloatGraph:
    """An unrolled LSTM and a linear layer on its last state."""
    b = Builder(seed)
    sequence = b.image(b.input(steps, features), Axes.SEQUENCE, features, steps, 1)
    w_x, w_h = b.parameter(4 * hidden, features), b.parameter(4 * hidden, hidden)
    bias = b.parameter(4 * hidden)
    h = c = ""
    for step in range(steps):
        sums = b.linear(b.select(sequence, step), 4 * hidden, w_x, bias)
        if h:
            sums = b.plus(sums, b.linear(h, 4 * hidden, w_h))
        gates = {}
        for k, kind in enumerate(("sigmoid", "sigmoid", "tanh", "sigmoid")):
            if h or k != 1:
                index = range(k * hidden, (k + 1) * hidden)
                gates[k] = b.unary(b.channels(sums, *index), kind)
        new = b.times(gates[0], gates[2])
        c = b.plus(b.times(gates[1], c), new) if h else new
        h = b.times(gates[3], b.unary(c, "tanh"))
    return b.graph(b.linear(h, 3, bias=b.parameter(3)))


def rearranged(seed: int) -> FloatGraph:
    """Channels last at both ends; pixel shuffles, a reflected border, interpolation, a mosaic of
    crops, a border where something was cut off, steps of a sequence."""
    b = Builder(seed)
    x = b.image(b.input(6, 8, 3), Axes.LINES, 3, 6, 8)
    a = b.relu(b.conv(x, 8))
    inner = b.pad(a, (-1, 0, -4, 0))
    reflected = b.mosaic((7, 8), (inner, (0, 0)), (a, (1, 0)))
    large = b.unary(b.doubled(b.conv(reflected, 4)), "tanh")
    deep = b.conv(b.unshuffle(large, (2, 2)), 12, (1, 1), padding=(0, 0, 0, 0))
    wide = b.shuffle(b.relu(deep), (2, 3))
    moved = b.pad(b.pad(a, (-2, -3, 0, 0)), (1, 2, 1, 0))
    s = b.image(b.input(5, 4), Axes.SIGNAL, 5, 4, 1)
    steps = b.relu(b.conv(s, 6, (3, 1), padding=(2, 0, 0, 0)))
    one = b.image(b.linear(b.flatten(steps), 8), Axes.FEATURES, 8, 1, 1)
    small = b.transposed(b.unary(one, "silu"), 3, (3, 4), (1, 1))
    return b.graph(
        b.given(b.plus(b.conv(moved, 4), b.conv(a, 4, padding=(1, 0, 1, 1))), Axes.LINES),
        b.conv(wide, 3),
        b.given(b.conv(steps, 3, (1, 1), padding=(0, 0, 0, 0)), Axes.SEQUENCE),
        small,
    )


GRAPHS = {"rearranged": rearranged, "mixture": mixture, "dense block": dense_block, "lstm": lstm}
