"""The nodes of the float graph.

Shapes describe one sample: ``(channels, height, width)`` of an image, ``(features,)`` of a vector.
Inputs and outputs may have other axes, which :class:`ToImage` and :class:`FromImage` exchange.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sigbit_hw.arch.axes import Axes

MAX_WINDOW = 31
"""Largest height and width of a kernel or pooling window, and of a linear layer's input before
flattening."""

Padding = tuple[int, int, int, int]
"""(top, left, bottom, right)."""


@dataclass(frozen=True, kw_only=True)
class Node:
    """Common fields of all nodes: a name, the names of the tensors read, the shape produced, the
    source location in the user's code."""

    name: str
    inputs: tuple[str, ...] = ()
    shape: tuple[int, ...]
    location: str = ""


@dataclass(frozen=True, kw_only=True)
class Placeholder(Node):
    """A network input."""


@dataclass(frozen=True, kw_only=True)
class Conv2d(Node):
    """Convolution by the parameter ``weight`` ``[out, in / groups, kh, kw]``, padded with 0."""

    weight: str
    bias: str | None
    stride: tuple[int, int]
    padding: Padding
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class ConvTranspose2d(Node):
    """Transposed convolution by ``weight`` ``[in, out / groups, kh, kw]``: pixel (y, x) adds its
    kernel from (y * stride - top, x * stride - left) on; ``crop`` (top, left, bottom, right) is cut
    off the full result; negative values append zeros."""

    weight: str
    bias: str | None
    stride: tuple[int, int]
    crop: Padding
    dilation: tuple[int, int] = (1, 1)
    groups: int = 1


@dataclass(frozen=True, kw_only=True)
class Linear(Node):
    """Matrix product by the parameter ``weight`` ``[out, in]`` on a vector."""

    weight: str
    bias: str | None


@dataclass(frozen=True, kw_only=True)
class BatchNorm(Node):
    """``(x - mean) / sqrt(var + eps) * weight + bias`` per channel."""

    weight: str | None
    bias: str | None
    mean: str
    var: str
    eps: float


@dataclass(frozen=True, kw_only=True)
class Relu(Node):
    """``min(max(x, 0), limit)``; no limit is a plain ReLU."""

    limit: float | None = None


@dataclass(frozen=True, kw_only=True)
class Unary(Node):
    """``UNARY[function](x, *parameters)`` element by element."""

    function: str
    parameters: tuple[float, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Add(Node):
    """Sum of two tensors of one shape."""


@dataclass(frozen=True, kw_only=True)
class Multiply(Node):
    """Product, element by element, of two tensors of one shape, or of an image and a
    ``(channels, 1, 1)`` or ``(channels,)`` tensor."""


@dataclass(frozen=True, kw_only=True)
class Concat(Node):
    """Concatenation of tensors along channels or features."""


@dataclass(frozen=True, kw_only=True)
class Channels(Node):
    """Channels (or features) ``index`` of a tensor, in this order: split, slice, shuffle."""

    index: tuple[int, ...]


@dataclass(frozen=True, kw_only=True)
class Pad(Node):
    """A border of zeros around an image; negative values cut off pixels."""

    padding: Padding


@dataclass(frozen=True, kw_only=True)
class Upsample(Node):
    """Every pixel repeated ``factor`` = (lines, columns) times: nearest-neighbour upsampling."""

    factor: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class ToImage(Node):
    """A network input whose axes are ``axes``, or a vector, as an image."""

    axes: Axes


@dataclass(frozen=True, kw_only=True)
class FromImage(Node):
    """An output: an image with the axes ``axes``."""

    axes: Axes


@dataclass(frozen=True, kw_only=True)
class DepthToSpace(Node):
    """Channels ``c * h * w + y * w + x`` as line y and column x of a block of ``factor`` = (h, w)
    pixels of channel c: a pixel shuffle."""

    factor: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class SpaceToDepth(Node):
    """Blocks of ``factor`` pixels as channels: the inverse of :class:`DepthToSpace`."""

    factor: tuple[int, int]


@dataclass(frozen=True, kw_only=True)
class Mosaic(Node):
    """An image of pieces, one operand each, each with its first pixel at its entry of ``places``
    (line, column); together they cover the image without overlap."""

    places: tuple[tuple[int, int], ...]


@dataclass(frozen=True, kw_only=True)
class Interpolate(Node):
    """Weighted sums of neighbouring pixels: an image with ``factor - 1`` zeros between its pixels,
    then ``padding``, convolved with the integers ``lines`` and ``columns`` along its axes, every
    ``stride``-th sum, divided by ``divisor``."""

    lines: tuple[int, ...]
    columns: tuple[int, ...]
    factor: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    divisor: int


@dataclass(frozen=True, kw_only=True)
class MaxPool2d(Node):
    """Maximum over windows; padding is never the maximum."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding


@dataclass(frozen=True, kw_only=True)
class AvgPool2d(Node):
    """Sum over windows of a zero-padded image, divided by ``divisor``."""

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: Padding
    divisor: int


@dataclass(frozen=True, kw_only=True)
class Constant(Node):
    """The parameter ``value``, an image, the same for every sample; ``fixed``: it is not
    trained."""

    value: str
    fixed: bool = False


@dataclass(frozen=True, kw_only=True)
class MatMul(Node):
    """Products of the pixels of two images, times ``factor``: channel n of the result is, at every
    pixel of the first image, the sum over channels of its products with pixel n of the second."""

    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class Transpose(Node):
    """``(channels, height, width)`` as ``(height width, 1, channels)``: channels and pixels
    exchanged."""


@dataclass(frozen=True, kw_only=True)
class GroupSum(Node):
    """Sums over the channels of each of ``groups`` groups, times ``factor``, each in ``copies``
    channels."""

    groups: int
    copies: int
    factor: float = 1.0


@dataclass(frozen=True, kw_only=True)
class BelowMax(Node):
    """How far the channels of each of ``groups`` groups are below the largest one; ``keep``: a
    parameter, 0 where an element does not count, and may be above it: then it is 0 below."""

    groups: int
    keep: str | None = None


@dataclass(frozen=True, kw_only=True)
class Flatten(Node):
    """``(channels, height, width)`` as a vector in that order."""


def parameter_names(node: Node) -> Iterator[str]:
    """Names of the parameters that a node reads."""
    for attribute in ("weight", "bias", "mean", "var", "value", "keep"):
        if (name := getattr(node, attribute, None)) is not None:
            yield name
