"""Translation of norms over features, channels and pixels: sums, tables and products."""

import math
from typing import Any

import torch

from sigbit.frontend import views
from sigbit.frontend.aten.attention import added, looked_up, spread
from sigbit.frontend.aten.pooling import blocks
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating


def layer_norm(t: Translation) -> Value:
    """layer_norm over the last axis."""
    value = t.computed("input")
    sizes = t.argument("normalized_shape")
    if len(sizes) != 1:
        raise Refusal(
            f"a layer norm over {len(sizes)} dimensions", "normalize over the last one only"
        )
    weight, bias = t.constant("weight"), t.constant("bias")
    result = _normalized(t, value, t.number("eps"), centred=True)
    return result if weight is None and bias is None else t.affine(result, weight, bias)


def native_layer_norm(t: Translation) -> Value:
    """native_layer_norm, whose further results are not used."""
    found = layer_norm(t)
    assert isinstance(found, Computed)
    return (found,)


def rms_norm(t: Translation) -> Value:
    """rms_norm over the last axis."""
    value = t.computed("input")
    sizes = t.argument("normalized_shape")
    if len(sizes) != 1:
        raise Refusal(f"an RMS norm over {len(sizes)} dimensions", "use the last one only")
    eps = t.number("eps", torch.finfo(t.dtype).eps)
    weight = t.constant("weight")
    result = _normalized(t, value, eps, centred=False)
    return result if weight is None else t.affine(result, weight, None)


def _normalized(t: Translation, value: Computed, eps: float, *, centred: bool) -> Computed:
    """Return ``(x - mean) / sqrt(variance + eps)`` over the last axis of a value, or without the
    mean."""
    value = channels_last(t, value)
    tensor, index = value.tensor, t.index(value)
    shape = t.shape_of(tensor)
    single = (1, *shape[1:])
    fields: dict[str, Any] = {"groups": 1, "copies": 1, "factor": 1 / shape[0]}
    if centred:
        mean = t.build.add(floating.GroupSum(**t.base(tensor, shape=single, part="mean"), **fields))
        tensor = added(t, tensor, spread(t, mean, shape[0], -1.0), "centred")
    squares = looked_up(t, tensor, "pow", "squares", 2.0)
    base = t.base(squares, shape=single, part="variance")
    variance = t.build.add(floating.GroupSum(**base, **fields))
    root = looked_up(t, variance, "inverse_root", "root", eps)
    base = t.base(tensor, spread(t, root, shape[0], 1.0), shape=shape)
    return t.chosen(Computed(t.build.add(floating.Multiply(**base))), index)


def channels_last(t: Translation, value: Computed) -> Computed:
    """Return a value, all of an image whose channels are the value's last axis."""
    index = t.index(value)
    shape = t.shape_of(value.tensor)
    rows = views.as_rows(index)
    found = views.along(shape, rows, 1) if len(shape) == 3 else None
    if (
        found is not None
        and views.has_all(found.pixels, math.prod(shape[1:]))
        and len(found.channels) == shape[0]
        and views.is_whole(found.channels)
    ):
        return value
    held = t.laid_out(Computed(value.tensor, rows, value.origin), (1, 0))
    return t.chosen(held, t.index(held).reshape(index.shape))


def group_norm(t: Translation) -> Value:
    """group_norm: over the pixels and channels of every group."""
    return _over_pixels(t, t.computed("input"), int(t.argument("num_groups")))


def native_group_norm(t: Translation) -> Value:
    """native_group_norm, whose further results are not used."""
    t.in_shape("N", "C", "HxW")
    return (_over_pixels(t, t.computed("input"), int(t.argument("group"))),)


def instance_norm(t: Translation) -> Value:
    """instance_norm: over the pixels of every channel; a batch norm with given statistics."""
    if not t.argument("use_input_stats"):
        raise Refusal("an instance norm with running statistics", "use a batch norm")
    if t.argument("running_mean") is not None or t.argument("running_var") is not None:
        raise Refusal("an instance norm that updates statistics", "call model.eval() first")
    value = t.computed("input")
    return _over_pixels(t, value, t.size(value)[0])


def _over_pixels(t: Translation, value: Computed, groups: int) -> Computed:
    """Normalize the channels of each of ``groups`` groups over all pixels, and scale them."""
    image = t.laid_out(value, tuple(range(len(t.size(value)))))
    tensor, index = image.tensor, t.index(image)
    shape = t.shape_of(tensor)
    shape = (*shape, *[1] * (3 - len(shape)))
    if index.ndim < 2:
        raise Refusal("a norm over vectors", "use a layer norm")
    mean = _mean(t, tensor, groups, "mean")
    negated = looked_up(t, mean, "neg", "minus")
    centred = t.plus(image, t.broadcast(_as(t, negated, index.ndim), index.shape), "centred")
    squares = t.unary(centred, "pow", 2.0, part="squares")
    variance = _mean(t, squares.tensor, groups, "variance")
    root = looked_up(t, variance, "inverse_root", "root", t.number("eps"))
    result = t.times(centred, _as(t, root, index.ndim))
    columns = (-1, *[1] * (index.ndim - 1))
    weight, bias = (
        None if (v := t.constant(name)) is None else v.reshape(columns)
        for name in ("weight", "bias")
    )
    return result if weight is None and bias is None else t.affine(result, weight, bias)


def _as(t: Translation, tensor: str, rank: int) -> Computed:
    """Return numbers of channels as a value of ``rank`` axes."""
    channels = t.shape_of(tensor)[0]
    return t.chosen(Computed(tensor), views.whole((channels, *[1] * (rank - 1))))


def _mean(t: Translation, tensor: str, groups: int, part: str) -> str:
    """Return the mean over the pixels and channels of each group, for each of its channels."""
    channels, height, width = t.shape_of(tensor)
    if (height, width) != (1, 1):
        tensor = blocks(t, tensor, (height, width), floating.AvgPool2d)
    size = channels // groups
    if size == 1:
        return tensor
    base = t.base(tensor, shape=(channels, 1, 1), part=part)
    fields: dict[str, Any] = {"groups": groups, "copies": size, "factor": 1 / size}
    return t.build.add(floating.GroupSum(**base, **fields))
