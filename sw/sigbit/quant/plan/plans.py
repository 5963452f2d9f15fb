"""Plans: the computation of every tensor of a quantized network, before any number is chosen."""

from collections.abc import Iterator
from dataclasses import dataclass

from sigbit.ir.floating import BatchNorm, Padding, Relu, Unary
from sigbit.ir.integer import Axes

Pair = tuple[int, int]
Shape = tuple[int, int, int]
NO_PADDING: Padding = (0, 0, 0, 0)


@dataclass(frozen=True)
class Separable:
    """The same window in every channel: the products of ``lines`` and ``columns``."""

    lines: tuple[int, ...]
    columns: tuple[int, ...]


@dataclass(frozen=True)
class Blocks:
    """Windows that turn the channels of a group into the pixels of a block (``to_space``), or the
    pixels of a block into channels."""

    to_space: bool


@dataclass(frozen=True)
class Ones:
    """Sums over the channels of a group, in ``copies`` channels each."""

    copies: int


@dataclass(frozen=True)
class Picks:
    """``count`` channels of every group, from channel ``first`` of it on."""

    first: int
    count: int


@dataclass(frozen=True, kw_only=True)
class SourcePlan:
    """One operand of a sum: ``tensor`` convolved with ``scale`` times the parameter ``weight``, or
    with ``scale`` times the integers of ``taps``, a depthwise window of ones if None; then the
    batch norms ``norms`` in order.

    The geometry is defined as in :class:`~sigbit.ir.integer.Source`. ``transposed`` weights belong
    to a transposed convolution; ``rows`` are the output channels used, all if None.
    """

    tensor: str
    channels: int
    kernel: Pair = (1, 1)
    weight: str | None = None
    taps: Separable | Blocks | Ones | Picks | None = None
    scale: float = 1.0
    stride: Pair = (1, 1)
    padding: Padding = NO_PADDING
    groups: int = 1
    dilation: Pair = (1, 1)
    upsampling: Pair = (1, 1)
    transposed: bool = False
    rows: tuple[int, ...] | None = None
    norms: tuple[BatchNorm, ...] = ()

    @property
    def trained(self) -> bool:
        """True if the weights are a parameter of the model."""
        return self.weight is not None

    @property
    def pointwise(self) -> bool:
        """True if the source is the tensor itself, with at most one factor per channel."""
        return (
            not self.trained
            and self.taps is None
            and self.kernel == self.stride == self.upsampling == (1, 1)
            and not any(self.padding)
        )


@dataclass(frozen=True)
class BiasPlan:
    """An addend per channel: ``scale`` times a bias parameter (its entries ``rows``), or the offset
    of a batch norm; then the batch norms ``norms`` in order."""

    term: str | BatchNorm
    norms: tuple[BatchNorm, ...] = ()
    scale: float = 1.0
    rows: tuple[int, ...] | None = None


@dataclass(frozen=True)
class InputPlan:
    """A network input; ``axes`` are the axes of the user's tensor. A ``state`` has grid and scale
    of its next value."""

    name: str
    shape: Shape
    axes: Axes
    state: bool = False


@dataclass(frozen=True)
class LayerPlan:
    """``activation(sum of sources + biases)`` as tensor ``name`` of ``shape`` (channels, height,
    width); ``weights``: of weight digits.

    ``negative`` is the range of values below 0, relative to the positive ones: 0, 1, or 1/8 for
    activation functions with a small negative part.
    """

    name: str
    shape: Shape
    sources: tuple[SourcePlan, ...]
    biases: tuple[BiasPlan, ...]
    activation: Relu | Unary | None
    negative: float
    kind: str
    location: str
    weights: bool = False

    @property
    def unit(self) -> bool:
        """True if the layer only averages (or copies) one tensor, or is one product, so that its
        weights are ones."""
        return (
            (len(self.sources) == 1 or self.kind == "multiply")
            and not self.biases
            and not any(s.trained or s.norms for s in self.sources)
        )

    @property
    def weightless(self) -> bool:
        """True if the layer uses no parameter of the model."""
        return not self.biases and not any(s.trained or s.norms for s in self.sources)


@dataclass(frozen=True)
class MovePlan:
    """Levels added exactly, on the grid of ``sources[0].tensor``: scales of the sources are 1 or
    -1, and no sum is larger than that grid allows; or their mean, sums divided by ``divisor`` and
    rounded. ``rectified``: negative sums become 0, on the
    grid of positive values. ``pieces``: the sources are placed side by side, all on one grid."""

    name: str
    shape: Shape
    sources: tuple[SourcePlan, ...]
    kind: str
    location: str
    rectified: bool = False
    pieces: bool = False
    divisor: int = 1


@dataclass(frozen=True)
class MaskPlan:
    """``tensor`` where the parameter ``keep`` is not 0, else the lowest level of its grid."""

    name: str
    shape: Shape
    tensor: str
    keep: str
    location: str
    kind: str = "mask"


@dataclass(frozen=True)
class SquarePlan:
    """A quarter of the square of ``sources[0] + sign * sources[1]``, element by element: half of
    ``product``, ``x y = ((x + y)**2 - (x - y)**2) / 4``. ``negative``: of the product, as in
    :class:`LayerPlan`."""

    name: str
    shape: Shape
    sources: tuple[SourcePlan, ...]
    sign: int
    product: str
    negative: float
    location: str
    kind: str = "square"


@dataclass(frozen=True)
class PairPlan:
    """The float graph's ``product`` of two tensors of few levels, element by element, in a table of
    all pairs of levels. ``negative`` as in :class:`LayerPlan`; ``inner``: a part of a sum that
    would otherwise read two squares."""

    name: str
    shape: Shape
    sources: tuple[SourcePlan, ...]
    product: str
    negative: float
    inner: bool
    location: str
    kind: str = "multiply"
    activation: None = None
    unit: bool = False
    weights: bool = False


@dataclass(frozen=True)
class ConstantPlan:
    """The parameter ``parameter``, an image, the same for every sample."""

    name: str
    shape: Shape
    parameter: str
    location: str


@dataclass(frozen=True)
class ProductPlan:
    """Products of the pixels of the tensors ``left`` and ``right``, which has weight digits, times
    ``factor``. ``negative`` as in :class:`LayerPlan`; ``weights``: the result has weight digits."""

    name: str
    shape: Shape
    left: str
    right: str
    factor: float
    negative: float
    location: str
    weights: bool = False
    kind: str = "matmul"
    activation: None = None
    unit: bool = False


@dataclass(frozen=True)
class TransposePlan:
    """Channels and pixels of ``tensor``, which has weight digits, exchanged; ``weights``: the
    result has weight digits too."""

    name: str
    shape: Shape
    tensor: str
    location: str
    weights: bool
    kind: str = "transpose"


@dataclass(frozen=True)
class MaxPoolPlan:
    """Maximum over windows of ``tensor``, on its grid."""

    name: str
    shape: Shape
    tensor: str
    kernel: Pair
    stride: Pair
    padding: Padding
    location: str


@dataclass(frozen=True)
class GatherPlan:
    """Channels of ``tensors`` that share one grid: ``channels`` are (tensor, channel)."""

    name: str
    shape: Shape
    tensors: tuple[str, ...]
    channels: tuple[Pair, ...]
    location: str


SumPlan = LayerPlan | MovePlan | SquarePlan | PairPlan
ScaledPlan = LayerPlan | ProductPlan | PairPlan
"""Plans of tensors with a scale of their own, chosen by calibration."""
Plan = (
    InputPlan
    | ConstantPlan
    | SumPlan
    | ProductPlan
    | TransposePlan
    | MaskPlan
    | MaxPoolPlan
    | GatherPlan
)


@dataclass(frozen=True)
class NetworkPlan:
    """Plans in order, and for every output of the float graph its tensor and the axes for its
    user; ``states``: inputs, and the tensors that become those of the next run."""

    layers: tuple[Plan, ...]
    outputs: tuple[tuple[str, Axes], ...]
    states: tuple[tuple[str, str], ...] = ()

    def readers(self, tensor: str) -> tuple[Plan, ...]:
        """Return the plans that read ``tensor``."""
        return tuple(p for p in self.layers if tensor in tensors_of(p))

    def is_output(self, tensor: str) -> bool:
        """Return whether ``tensor`` is an output of the network."""
        return any(name == tensor for name, _ in self.outputs)


def tensors_of(plan: Plan) -> tuple[str, ...]:
    """Return the tensors that a plan reads, one entry per use."""
    match plan:
        case LayerPlan() | MovePlan() | SquarePlan() | PairPlan():
            return tuple(s.tensor for s in plan.sources)
        case MaxPoolPlan() | TransposePlan() | MaskPlan():
            return (plan.tensor,)
        case ProductPlan():
            return (plan.left, plan.right)
        case GatherPlan():
            return plan.tensors
    return ()


def inherited(plan: Plan) -> Iterator[str]:
    """Yield the operands that share grid and scale with the plan's own tensor."""
    match plan:
        case MovePlan(pieces=True):
            yield from tensors_of(plan)
        case MovePlan() if not plan.rectified:
            yield plan.sources[0].tensor
        case MaxPoolPlan() | MaskPlan():
            yield plan.tensor
        case GatherPlan():
            yield from plan.tensors
