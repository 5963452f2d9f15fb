"""Translation of products of computed matrices, attention, softmax and norms over features."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sigbit.frontend import views
from sigbit.frontend.moves import Index
from sigbit.frontend.translation import Translation, one_sample
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating

MASKED = -16.0
"""Addend of masked scores before their exponential, which then is less than the least level."""
_ABSENT = -1e4
"""Scores from which on a mask's addend means that a key is absent."""
_OCTAVES = 4.0
"""Ratio of the ends of the ranges of a sum in which its logarithm is looked up."""


def product(t: Translation, a: Computed, b: Computed, factor: float = 1.0) -> Computed:
    """Return the matrix product of two values, times ``factor``, their leading axes broadcast."""
    first, second = t.index(a), t.index(b)
    if first.ndim < 2 or second.ndim < 2:
        raise Refusal(
            f"a product of samples of shapes {first.shape} and {second.shape}",
            "give both operands a batch, rows and columns",
        )
    for value in (a, b):
        t.require_axes(value, max(first.ndim, second.ndim))
    lead = np.broadcast_shapes(first.shape[:-2], second.shape[:-2])
    first = np.broadcast_to(first, (*lead, *first.shape[-2:]))
    second = np.broadcast_to(second, (*lead, *second.shape[-2:]))
    parts = []
    for place in np.ndindex(lead):
        left, rows = matrix(t, Computed(a.tensor, first[place], a.origin))
        right, columns = matrix(t, Computed(b.tensor, second[place].T, b.origin))
        size = t.shape_of(left)[1:]
        base = t.base(left, right, shape=(columns.size, *size))
        name = t.build.add(floating.MatMul(**base, factor=factor))
        parts.append((name, columns * math.prod(size) + rows[:, None]))
    return joined(t, parts, lead)


def joined(t: Translation, parts: list[tuple[str, Index]], lead: tuple[int, ...]) -> Computed:
    """Return values of two axes, each an index in an image, as one value with the leading axes
    ``lead``: side by side along channels."""
    names = [name for name, _ in parts]
    shapes = [t.shape_of(name) for name in names]
    if len(names) == 1:
        return t.chosen(Computed(names[0]), parts[0][1].reshape(*lead, *parts[0][1].shape))
    whole = (sum(s[0] for s in shapes), *shapes[0][1:])
    name = t.build.add(floating.Concat(**t.base(*names, shape=whole, part="parts")))
    starts = np.cumsum([0, *(math.prod(s) for s in shapes[:-1])])
    index = np.stack([start + p for start, (_, p) in zip(starts, parts, strict=True)])
    return t.chosen(Computed(name), index.reshape(*lead, *index.shape[1:]))


def matrix(t: Translation, value: Computed) -> tuple[str, Index]:
    """Return an image whose channels are the columns of a value of two axes, and the pixel of each
    of its rows; an image with the columns as pixels is transposed."""
    index = t.index(value)
    shape = t.shape_of(value.tensor)
    for axis in (1, 0):
        found = views.along(shape, index, axis) if len(shape) == 3 else None
        if found is None or not views.has_all(found.pixels, math.prod(shape[1:])):
            continue
        tensor = value.tensor
        if len(found.channels) != shape[0] or not views.is_whole(found.channels):
            pixels = math.prod(shape[1:])
            rows = found.channels[:, None] * pixels + np.arange(pixels)
            chosen = Computed(tensor, rows.reshape(-1, *shape[1:]), value.origin)
            tensor = t.build.tensor(chosen, t.location, t.dtype)
        if axis == 1:
            return tensor, found.pixels
        turned = (found.pixels.size, 1, len(found.channels))
        base = t.base(tensor, shape=turned, part="transposed")
        if not views.is_whole(found.pixels):
            break
        return t.build.add(floating.Transpose(**base)), np.arange(len(found.channels))
    held = t.laid_out(value, (1, 0))
    return held.tensor, np.arange(index.shape[0])


def slices(value: Computed, index: Index) -> Iterator[Computed]:
    """Yield the values of the last two axes."""
    for place in np.ndindex(index.shape[:-2]):
        yield Computed(value.tensor, index[place], value.origin)


def attention(t: Translation) -> Value:
    """scaled_dot_product_attention with a constant mask."""
    query, key, value = (t.computed(name) for name in ("query", "key", "value"))
    if t.number("dropout_p"):
        raise Refusal("dropout that stays active in evaluation mode", "pass 0, or self.training")
    q, k, v = (t.index(x) for x in (query, key, value))
    factor = t.number("scale", 1 / math.sqrt(q.shape[-1]))
    if bool(t.argument("enable_gqa", False)):
        heads = q.shape[-3] if q.ndim > 2 else 1
        key, value = (_repeated(t, x, heads) for x in (key, value))
        k, v = t.index(key), t.index(value)
    for x in (query, key, value):
        t.require_axes(x, max(q.ndim, k.ndim, v.ndim))
    lead = np.broadcast_shapes(q.shape[:-2], k.shape[:-2], v.shape[:-2])
    shape = (*lead, q.shape[-2], k.shape[-2])
    bias = _mask(t, shape)
    q, k, v = (np.broadcast_to(x, (*lead, *x.shape[-2:])) for x in (q, k, v))
    parts = []
    for place in np.ndindex(lead):
        scores = product(
            t, Computed(query.tensor, q[place]), Computed(key.tensor, k[place].T), factor
        )
        own = None if bias is None else bias[place]
        weights = _softmax(t, scores, own)
        result = product(t, weights, Computed(value.tensor, v[place]))
        parts.append((result.tensor, t.index(result)))
    return joined(t, parts, lead)


def _repeated(t: Translation, value: Computed, heads: int) -> Computed:
    """Return keys or values of which several heads share one."""
    index = t.index(value)
    if index.ndim < 3 or heads % index.shape[-3]:
        raise Refusal("grouped queries without whole groups", "give [batch, heads, steps, width]")
    return t.chosen(value, np.repeat(index, heads // index.shape[-3], axis=-3))


def _mask(t: Translation, shape: tuple[int, ...]) -> Tensor | None:
    """Return the constant that is added to the scores ``[*shape]``, -inf for absent keys."""
    given = t.argument("attn_mask")
    if t.argument("is_causal"):
        keep = torch.ones(shape[-2:], dtype=torch.bool).tril()
        return torch.zeros(shape, dtype=t.dtype).masked_fill(~keep, -math.inf)
    if given is None:
        return None
    mask = t.constant("attn_mask")
    if mask is None:
        raise Refusal("a mask that the network computes", "use a constant mask, or is_causal")
    if mask.dtype == torch.bool:
        mask = torch.zeros(mask.shape, dtype=t.dtype).masked_fill(~mask, -math.inf)
    return one_sample(mask.to(t.dtype), len(shape)).expand(shape)


def softmax(t: Translation) -> Value:
    """softmax over the last axis, in the middle of a network."""
    value = t.computed("self")
    index = t.index(value)
    if t.argument("dim") % (index.ndim + 1) != index.ndim:
        raise Refusal("a softmax over another dimension than the last", "transpose, and use dim=-1")
    if t.argument("half_to_float", False):
        raise Refusal("half_to_float=True", "compute in float32")
    lead = index.shape[:-2]
    if index.ndim < 2:
        index = index[None]
    parts = [_softmax(t, part, None) for part in slices(value, index)]
    whole = joined(t, [(p.tensor, t.index(p)) for p in parts], lead)
    return t.chosen(whole, t.index(whole).reshape(t.shape))


def _softmax(t: Translation, scores: Computed, bias: Tensor | None) -> Computed:
    """Return the softmax over the columns of a value of two axes, with ``bias`` added before.

    ``exp(s - max - log(sum(exp(s - max))))``; the logarithm is a sum of those of the sum clipped to
    several ranges, so that each is looked up with enough steps.
    """
    tensor, rows = matrix(t, scores)
    shape = t.shape_of(tensor)
    addend, mask = None, None
    if bias is not None:
        placed = _placed(bias, rows, shape)
        absent = placed <= _ABSENT
        finite = placed.masked_fill(absent, 0.0)
        if bool(finite.any()):
            tensor = _sum(t, tensor, constant(t, finite, "bias"), "biased")
        if bool(absent.any()):
            zeros = torch.zeros(shape, dtype=t.dtype)
            addend = constant(t, zeros.masked_fill(absent, MASKED), "mask", fixed=True)
            mask = t.derived("keep", (~absent).to(t.dtype))
    count = shape[0]
    base = t.base(tensor, shape=shape, part="below")
    below = t.build.add(floating.BelowMax(**base, groups=1, keep=mask))
    exponent = _function(t, below, "neg", "exponent")
    exponent = exponent if addend is None else _sum(t, exponent, addend, "kept")
    if count > 1:
        powers = _function(t, exponent, "exp", "powers")
        exponent = _function(t, below, "neg", "less")
        exponent = exponent if addend is None else _sum(t, exponent, addend, "less.kept")
        exponent = _sum(t, exponent, _spread(t, _logarithm(t, powers), count, -1.0), "exponents")
    result = _function(t, exponent, "exp", "")
    pixels = math.prod(shape[1:])
    return t.chosen(Computed(result), np.arange(count) * pixels + rows[:, None])


def _logarithm(t: Translation, tensor: str) -> str:
    """Return the logarithm of the sum over channels, which is at least 1."""
    shape = t.shape_of(tensor)
    result = ""
    for number in range(max(1, math.ceil(math.log(shape[0], _OCTAVES)))):
        low, high = _OCTAVES**number, min(_OCTAVES ** (number + 1), float(shape[0]))
        base = t.base(tensor, shape=(1, *shape[1:]), part=f"total{number}")
        total = t.build.add(floating.GroupSum(**base, groups=1, copies=1))
        part = _function(t, total, "log_between", f"log{number}", low, high)
        result = _sum(t, result, part, f"logs{number}") if result else part
    return result


def _placed(bias: Tensor, rows: Index, shape: tuple[int, ...]) -> Tensor:
    """Return a constant of rows and columns as an image of ``shape``."""
    image = bias.new_zeros(shape[0], math.prod(shape[1:]))
    image[:, torch.from_numpy(rows)] = bias.T
    return image.reshape(shape)


def constant(t: Translation, value: Tensor, part: str, *, fixed: bool = False) -> str:
    """Return a constant image as a tensor of the graph."""
    base = t.base(shape=tuple(value.shape), part=part)
    return t.build.add(floating.Constant(**base, value=t.derived(part, value), fixed=fixed))


def _spread(t: Translation, tensor: str, copies: int, factor: float) -> str:
    base = t.base(tensor, shape=(copies, *t.shape_of(tensor)[1:]), part="spread")
    return t.build.add(floating.GroupSum(**base, groups=1, copies=copies, factor=factor))


def _sum(t: Translation, first: str, second: str, part: str) -> str:
    base = t.base(first, second, shape=t.shape_of(first), part=part)
    return t.build.add(floating.Add(**base))


def _function(t: Translation, tensor: str, function: str, part: str, *parameters: float) -> str:
    base = t.base(tensor, shape=t.shape_of(tensor), part=part)
    return t.build.add(floating.Unary(**base, function=function, parameters=parameters))


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
        tensor = _sum(t, tensor, _spread(t, mean, shape[0], -1.0), "centred")
    squares = _function(t, tensor, "pow", "squares", 2.0)
    base = t.base(squares, shape=single, part="variance")
    variance = t.build.add(floating.GroupSum(**base, **fields))
    root = _function(t, variance, "inverse_root", "root", eps)
    base = t.base(tensor, _spread(t, root, shape[0], 1.0), shape=shape)
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
