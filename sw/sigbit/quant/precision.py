"""Planes of every tensor and weight terms of every layer, from the spec; and 8-bit maxima as sums,
because the array takes maxima of native values only.

``max(a, b) = b + relu(a - b)``: two exact sums for every doubling of a window.
"""

from collections.abc import Iterator

from sigbit.quant.errors import QuantizationError
from sigbit.quant.plans import (
    GatherPlan,
    InputPlan,
    LayerPlan,
    MaxPoolPlan,
    MovePlan,
    NetworkPlan,
    Pair,
    Plan,
    Shape,
    SourcePlan,
    tensors_of,
)
from sigbit.quant.sharing import share
from sigbit.quant.spec import QuantSpec


class Precision:
    """What ``spec`` gives to the tensors and layers of a plan.

    Tensors of one group (:mod:`~sigbit.quant.sharing`) get the most planes and the widest range
    among them.
    """

    def __init__(self, plan: NetworkPlan, spec: QuantSpec) -> None:
        self._spec, self._plan = spec, plan
        self._by_name = {p.name: p for p in plan.layers}
        self._readers: dict[str, list[Plan]] = {name: [] for name in self._by_name}
        for p in plan.layers:
            for tensor in dict.fromkeys(tensors_of(p)):
                self._readers[tensor].append(p)
        if unknown := sorted(set(spec.bits) - set(self._by_name)):
            raise QuantizationError(
                f"bits names {', '.join(map(repr, unknown))}, which are no tensors of the network; "
                f"there are {', '.join(map(repr, self._by_name))}"
            )
        self.groups = share(plan)
        self._planes: dict[str, int] = {}
        self._negative: dict[str, float] = {}
        for root, names in self.groups.members().items():
            layers = [p for n in names if isinstance(p := self._by_name[n], LayerPlan)]
            self._planes[root] = max((self._wanted(p) for p in layers), default=spec.act_planes)
            self._negative[root] = max((p.negative for p in layers), default=0.0)

    def planes(self, tensor: str) -> int:
        """Planes of a layer's tensor, or of one that inherits a layer's grid."""
        return self._planes[self.groups.of(tensor)]

    def negative(self, tensor: str) -> float:
        """How far negative values of a tensor reach, as :func:`~sigbit.quant.spec.act_grid`
        takes it."""
        return self._negative[self.groups.of(tensor)]

    def reaches_below_zero(self, tensor: str) -> bool:
        """Whether a tensor itself, not only its grid, can hold negative values."""
        match p := self._by_name[tensor]:
            case LayerPlan():
                return p.negative > 0
            case MovePlan(rectified=False) | MaxPoolPlan() | GatherPlan():
                return any(map(self.reaches_below_zero, tensors_of(p)))
        return isinstance(p, InputPlan)

    def is_alone(self, tensor: str) -> bool:
        """Whether no other layer writes on the tensor's grid, so that its scale is free."""
        root = self.groups.of(tensor)
        return not any(
            isinstance(p, LayerPlan) and p.name != tensor and self.groups.of(p.name) == root
            for p in self._plan.layers
        )

    def is_output(self, tensor: str) -> bool:
        """Whether nothing reads a tensor."""
        return not self._readers[tensor]

    def terms(self, p: LayerPlan) -> tuple[int, ...]:
        """Weight terms of each source."""
        own = self._spec.weight_terms
        if self._is_head(p) or any(isinstance(self._by_name[t], InputPlan) for t in tensors_of(p)):
            own = max(own, self._spec.first_last_terms or self._spec.byte_terms)
        if p.name in self._spec.bits:
            own = self._spec.bits[p.name][0]
        first = own if p.sources[0].trained else self._spec.extra_terms(own)
        return (first, *(self._spec.extra_terms(own) for _ in p.sources[1:]))

    def _wanted(self, p: LayerPlan) -> int:
        if p.name in self._spec.bits:
            return self._spec.bits[p.name][1]
        if self.is_output(p.name) or (self._spec.wide_head and self._feeds_head_only(p.name)):
            return max(self._spec.act_planes, self._spec.byte_planes)
        return self._spec.act_planes

    def _is_head(self, p: Plan) -> bool:
        return isinstance(p, LayerPlan) and p.sources[0].trained and self.is_output(p.name)

    def _feeds_head_only(self, tensor: str) -> bool:
        return all(
            self._is_head(r) and isinstance(r, LayerPlan) and r.sources[0].tensor == tensor
            for r in self._readers[tensor]
        )


def lower(plan: NetworkPlan, spec: QuantSpec) -> NetworkPlan:
    """``plan`` with maxima of tensors of several planes as sums."""
    precision = Precision(plan, spec)
    layers: list[Plan] = []
    for p in plan.layers:
        if isinstance(p, MaxPoolPlan) and precision.planes(p.name) > 1:
            if any(p.padding) and precision.reaches_below_zero(p.tensor):
                raise QuantizationError(
                    f"{p.name} ({p.location}): a padded maximum of values of both signs needs "
                    "tensors of one plane: put a ReLU before it, or set bits of the layer before it"
                )
            layers += _maximum(p, next(q.shape for q in layers if q.name == p.tensor))
        else:
            layers.append(p)
    return NetworkPlan(tuple(layers), plan.outputs)


def _maximum(p: MaxPoolPlan, shape: Shape) -> Iterator[Plan]:
    """The maxima along lines, then along columns, each by doubling windows."""
    stages = [(axis, size, grown) for axis in (1, 0) for size, grown in _doublings(p.kernel[axis])]
    if not stages:
        stages = [(0, 1, 1)]
    tensor, extent = p.tensor, list(shape[1:])
    started = [False, False]
    for number, (axis, size, grown) in enumerate(stages, start=1):
        last = [n == number for n in _last_stages(stages)]
        begin, end = (0, 0) if started[axis] else (p.padding[axis], p.padding[axis + 2])
        started[axis] = True
        stride = [1, 1]
        if last[axis]:
            stride[axis] = p.stride[axis]
        if number == len(stages):
            for other in (0, 1):
                if p.kernel[other] == 1:
                    stride[other] = p.stride[other]
        shift = grown - size
        extent[axis] = (extent[axis] + begin + end - shift - 1) // stride[axis] + 1
        if number == len(stages):
            extent = list(p.shape[1:])
        out = (shape[0], extent[0], extent[1])
        a = _tap(tensor, shape[0], axis, begin, end - shift, (stride[0], stride[1]))
        b = _tap(tensor, shape[0], axis, begin - shift, end, (stride[0], stride[1]))
        name = p.name if number == len(stages) else f"{p.name}.{number}"
        if shift:
            rest = f"{p.name}.excess{number}"
            minus = _scaled(b)
            yield MovePlan(rest, out, (a, minus), "maxpool", p.location, rectified=True)
            one = SourcePlan(tensor=rest, channels=shape[0], groups=shape[0])
            yield MovePlan(name, out, (b, one), "maxpool", p.location)
        else:
            yield MovePlan(name, out, (a,), "maxpool", p.location)
        tensor = name


def _doublings(window: int) -> Iterator[Pair]:
    """(size, grown size) of windows from 1 to ``window``."""
    size = 1
    while size < window:
        grown = min(2 * size, window)
        yield size, grown
        size = grown


def _last_stages(stages: list[tuple[int, int, int]]) -> tuple[int, int]:
    """Number of the last stage along columns and along lines."""
    last = [0, 0]
    for number, (axis, _, _) in enumerate(stages, start=1):
        last[axis] = number
    return last[0], last[1]


def _tap(tensor: str, channels: int, axis: int, begin: int, end: int, stride: Pair) -> SourcePlan:
    padding = [0, 0, 0, 0]
    padding[axis], padding[axis + 2] = begin, end
    return SourcePlan(
        tensor=tensor,
        channels=channels,
        groups=channels,
        stride=stride,
        padding=(padding[0], padding[1], padding[2], padding[3]),
    )


def _scaled(source: SourcePlan) -> SourcePlan:
    return SourcePlan(
        tensor=source.tensor,
        channels=source.channels,
        groups=source.groups,
        stride=source.stride,
        padding=source.padding,
        scale=-1.0,
    )
