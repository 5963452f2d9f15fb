"""Translation of sums, means, maxima and minima over dimensions."""

from dataclasses import replace
from typing import Any

import torch

from sigbit.frontend.aten.layers import blocks
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating


def reduction(t: Translation) -> Value:
    """mean, sum and amax over height, width or both; sums and means over channels as well, by a
    product with ones."""
    operation = str(t.node.target)
    return _reduced(t, t.tensor("self"), "amax" in operation, "sum" in operation)


def least(t: Translation) -> Value:
    """amin: what amax has of the negated tensor."""
    found = _reduced(t, t.unary(t.tensor("self"), "neg", part="neg"), True, False)
    return replace(found, tensor=t.unary(found.tensor, "neg"))


def _reduced(t: Translation, tensor: str, largest: bool, total: bool) -> Computed:
    shape = t.shape_of(tensor)
    rank = len(shape) + 1
    t.in_shape("keepdim")
    given = t.argument("dim")
    over = given if isinstance(given, (list, tuple)) else [] if given is None else [given]
    dims = sorted(d % rank for d in over)
    if not dims or min(dims) < 1 or rank == 3 or (dims[0] == 1 and largest):
        raise Refusal(
            f"a reduction over dimensions {given} is not supported",
            "reduce over height and width, (2, 3); over channels by mean or sum only",
        )
    if rank == 4:
        kernel = (shape[1] if 2 in dims else 1, shape[2] if 3 in dims else 1)
        if kernel != (1, 1):
            kind = floating.MaxPool2d if largest else floating.AvgPool2d
            tensor = blocks(t, tensor, kernel, kind, 1 if total else None)
    if dims[0] == 1:
        tensor = _over_channels(t, tensor, 1.0 if total else 1 / shape[0])
    now = t.shape_of(tensor)
    if now == t.shape:
        return Computed(tensor)
    index = torch.arange(torch.Size(now).numel()).reshape(t.shape)
    return Computed(tensor, index.numpy(), t.node)


def _over_channels(t: Translation, tensor: str, factor: float) -> str:
    """The sum over channels or features, times a factor."""
    shape = t.shape_of(tensor)
    ones = torch.full((1, shape[0], *[1] * (len(shape) - 1)), factor, dtype=t.dtype)
    base = t.base(tensor, shape=(1, *shape[1:]), part="channels")
    weight = t.derived("ones", ones)
    if len(shape) == 1:
        return t.build.add(floating.Linear(**base, weight=weight, bias=None))
    window: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0, 0, 0)}
    return t.build.add(floating.Conv2d(**base, weight=weight, bias=None, **window))
