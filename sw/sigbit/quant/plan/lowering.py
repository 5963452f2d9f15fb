"""Plans in the form that their precision allows: maxima of tensors of several planes as sums,
because the array supports maxima of native values only, and products of few levels as tables.

``max(a, b) = b + relu(a - b)``: two exact sums for every doubling of a window.
"""

from collections.abc import Iterator
from dataclasses import replace

from sigbit.errors import QuantizationError
from sigbit.quant.plan.annotated import Given
from sigbit.quant.plan.pairs import paired
from sigbit.quant.plan.plans import (
    MaxPoolPlan,
    MovePlan,
    NetworkPlan,
    Pair,
    Plan,
    Shape,
    SourcePlan,
)
from sigbit.quant.plan.precision import Precision
from sigbit.quant.spec import QuantSpec


def lower(plan: NetworkPlan, spec: QuantSpec, given: Given) -> NetworkPlan:
    """Return ``plan`` with maxima of tensors of several planes as sums, and products of few levels
    as tables."""
    precision = Precision(plan, spec, given)
    layers: list[Plan] = []
    for p in plan.layers:
        if isinstance(p, MaxPoolPlan) and precision.planes(p.name) > 1:
            if max(p.padding) > 0 and precision.reaches_below_zero(p.tensor):
                raise QuantizationError(
                    f"{p.name} ({p.location}): a padded maximum of values of both signs needs "
                    "tensors of one plane: put a ReLU before it, or set bits of the layer before it"
                )
            layers += _maximum(p, next(q.shape for q in layers if q.name == p.tensor))
        else:
            layers.append(p)
    return paired(replace(plan, layers=tuple(layers)), spec, given)


def _maximum(p: MaxPoolPlan, shape: Shape) -> Iterator[Plan]:
    """Yield the maxima along lines, then along columns, each by doubling windows."""
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
    """Yield (size, grown size) of windows from 1 to ``window``."""
    size = 1
    while size < window:
        grown = min(2 * size, window)
        yield size, grown
        size = grown


def _last_stages(stages: list[tuple[int, int, int]]) -> tuple[int, int]:
    """Return the numbers of the last stages along columns and along lines."""
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
