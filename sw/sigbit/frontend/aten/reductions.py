"""Translation of sums, means, maxima and minima over dimensions."""

from typing import Any

import numpy as np
import torch

from sigbit.frontend import views
from sigbit.frontend.aten.pooling import blocks
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating


def reduction(t: Translation) -> Value:
    """mean, sum and amax over lines, columns or both; sums and means over channels as well, by a
    product with ones."""
    operation = str(t.node.target)
    return _reduced(t, t.computed("self"), "amax" in operation, "sum" in operation)


def least(t: Translation) -> Value:
    """amin, as the negated amax of the negated tensor."""
    found = _reduced(t, t.unary(t.computed("self"), "neg", part="neg"), True, False)
    return t.unary(found, "neg")


def _reduced(t: Translation, value: Computed, largest: bool, total: bool) -> Computed:
    rank = len(t.size(value)) + 1
    t.in_shape("keepdim")
    given = t.argument("dim")
    over = given if isinstance(given, (list, tuple)) else [] if given is None else [given]
    dims = sorted(d % rank for d in over)
    if not dims or min(dims) < 1 or rank > 4:
        raise _refusal(given)
    order = _order(t, value)
    axes = [order.index(d - 1) for d in dims]
    if (found := _of_all(t, value, order[0])) is not None and axes == [*range(1, len(order))]:
        tensor, axes = found, [1, 2]
    else:
        tensor = t.laid_out(value, order).tensor
    shape = t.shape_of(tensor)
    if 0 in axes and largest:
        raise _refusal(given)
    if len(shape) == 3:
        kernel = (shape[1] if 1 in axes else 1, shape[2] if 2 in axes else 1)
        if kernel != (1, 1):
            kind = floating.MaxPool2d if largest else floating.AvgPool2d
            tensor = blocks(t, tensor, kernel, kind, 1 if total else None)
    if 0 in axes:
        tensor = _over_channels(t, tensor, 1.0 if total else 1 / shape[0])
    now = t.shape_of(tensor)
    rest = now[: len(order)] if now[1:] != (1, 1) else (now[0], *[1] * (len(order) - 1))
    places = views.whole(now).reshape(rest).transpose(np.argsort(order))
    return t.chosen(Computed(tensor), places.reshape(t.shape))


def _of_all(t: Translation, value: Computed, axis: int) -> str | None:
    """Return the image whose channels are ``axis`` of a value and whose pixels are all other
    axes."""
    shape = t.shape_of(value.tensor)
    found = views.along(shape, t.index(value), axis)
    if found is None or len(shape) != 3:
        return None
    whole = len(found.channels) == shape[0] and views.is_whole(found.channels)
    return value.tensor if whole and views.has_all(found.pixels, shape[1] * shape[2]) else None


def _refusal(given: Any) -> Refusal:
    return Refusal(
        f"a reduction over dimensions {given} is not supported",
        "reduce over height and width, (2, 3), or over steps; over channels by mean or sum only",
    )


def _order(t: Translation, value: Computed) -> tuple[int, ...]:
    """Return the axes of a value, the one along the channels first."""
    index, shape = t.index(value), t.shape_of(value.tensor)
    rank = index.ndim
    found = [a for a in range(rank) if views.along(shape, index, a) is not None]
    first = found[0] if found else 0
    return (first, *(a for a in range(rank) if a != first))


def _over_channels(t: Translation, tensor: str, factor: float) -> str:
    """Return the sum over channels or features, times a factor."""
    shape = t.shape_of(tensor)
    ones = torch.full((1, shape[0], *[1] * (len(shape) - 1)), factor, dtype=t.dtype)
    base = t.base(tensor, shape=(1, *shape[1:]), part="channels")
    weight = t.derived("ones", ones)
    if len(shape) == 1:
        return t.build.add(floating.Linear(**base, weight=weight, bias=None))
    window: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0, 0, 0)}
    return t.build.add(floating.Conv2d(**base, weight=weight, bias=None, **window))
