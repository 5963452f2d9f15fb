"""The nodes of the integer graph, and the type of a tensor.

Tensors hold *stored* integers, sums of ``planes`` native activation digits; ``real = scale *
(stored + zero)``. A convolution accumulates any number of sources (dense or depthwise), so a
residual addition is one more source with a 1x1 depthwise kernel, an average pooling a depthwise
kernel of ones, a linear layer a kernel of its input's size, a transposed convolution and a nearest
upsampling a convolution of the input with zeros between its pixels. Padding and those zeros
represent the real value 0, hence for the stored integer ``-zero``. :class:`Gather` moves channels.
:class:`Matmul` multiplies two computed tensors; the right one holds sums of weight digits.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from sigbit.ir.arrays import Exact, Ints
from sigbit_hw.arch.axes import Axes


@dataclass(frozen=True)
class TensorType:
    """Shape ``(channels, height, width)``, number of digits and real meaning of a tensor.

    ``weights``: the digits are those of weights, and only products read the tensor.
    """

    shape: tuple[int, int, int]
    planes: int
    scale: float
    zero: int = 0
    weights: bool = False


@dataclass(frozen=True)
class Input:
    """A network input; stored integers are clipped to [low, high]."""

    name: str
    type: TensorType
    low: int
    high: int
    axes: Axes = Axes.IMAGE


@dataclass(frozen=True, eq=False)
class Source(Exact):
    """One operand of a convolution: ``weights`` ``[oc, ic / groups, kh, kw]`` are integers of the
    weight grid of ``terms`` terms.

    The tensor is extended by ``upsampling - 1`` zeros between neighbouring pixels, then by
    ``padding`` (top, left, bottom, right), which crops where negative. The kernel slides over the
    result, its taps ``dilation`` apart. ``upsampling`` needs a stride of 1.
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


@dataclass(frozen=True, eq=False)
class Conv(Exact):
    """``out = table[requantize(sum of convolutions, base, step, tie) & 255]``.

    ``table`` holds 256 stored integers of the output type; ``base`` and ``step`` count in 2**-16 of
    an accumulator step, and ``base`` already includes the terms caused by the zeros of the sources.
    """

    name: str
    sources: tuple[Source, ...]
    base: Ints
    step: Ints
    tie: Ints
    table: Ints
    type: TensorType
    kind: str = "conv"
    location: str = ""


@dataclass(frozen=True)
class MaxPool:
    """Maximum over windows; padding is never the maximum.

    The type, apart from the shape, is that of the input, with one plane.
    """

    name: str
    tensor: str
    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    type: TensorType
    kind: str = "maxpool"
    location: str = ""


@dataclass(frozen=True, eq=False)
class Gather(Exact):
    """Channels of one or more tensors of equal size, scale, zero and planes: concatenation, split,
    shuffle. Row i of ``channels`` ``[C, 2]`` gives the tensor and the channel that become channel
    i."""

    name: str
    tensors: tuple[str, ...]
    channels: Ints
    type: TensorType
    kind: str = "gather"
    location: str = ""


@dataclass(frozen=True, eq=False)
class Constant(Exact):
    """The same stored integers ``values`` ``[C, H, W]`` for every image."""

    name: str
    values: Ints
    type: TensorType


@dataclass(frozen=True, eq=False)
class Matmul(Exact):
    """``out[n, p] = table[requantize(sum over k of left[k, p] right[k, n], base, step, tie) &
    255]``, with the pixels p and n of both tensors in the order of lines.

    ``right`` is a tensor of weight digits; both have zero 0. ``base``, ``step`` and ``tie`` have
    one element for every pixel of ``right``, and otherwise mean what they do in :class:`Conv`.
    """

    name: str
    left: str
    right: str
    base: Ints
    step: Ints
    tie: Ints
    table: Ints
    type: TensorType
    kind: str = "matmul"
    location: str = ""


Node = Input | Constant | Conv | Matmul | MaxPool | Gather


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


def tensors_of(node: Node) -> Iterator[str]:
    """Names of the tensors that a node reads."""
    if isinstance(node, Conv):
        yield from (s.tensor for s in node.sources)
    elif isinstance(node, Matmul):
        yield from (node.left, node.right)
    elif isinstance(node, MaxPool):
        yield node.tensor
    elif isinstance(node, Gather):
        yield from node.tensors
