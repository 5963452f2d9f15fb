"""Translation of products of computed matrices, attention and softmax."""

import math
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend import views
from sigbit.frontend.moves import Index
from sigbit.frontend.translation import Translation, one_sample
from sigbit.frontend.values import Computed, Masked, Refusal, Value
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
        right = matrix(t, Computed(b.tensor, second[place].T, b.origin))
        parts.append(_times(t, Computed(a.tensor, first[place], a.origin), right, factor))
    return joined(t, parts, lead)


def _times(
    t: Translation, a: Computed, right: tuple[str, Index], factor: float = 1.0
) -> tuple[str, Index]:
    """Return the product of a value of two axes and a :func:`matrix`, as an image and the index of
    its elements."""
    (left, rows), (name, columns) = matrix(t, a), right
    size = t.shape_of(left)[1:]
    base = t.base(left, name, shape=(columns.size, *size))
    result = t.build.add(floating.MatMul(**base, factor=factor))
    return result, columns * math.prod(size) + rows[:, None]


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
    # keys and values first: they are ready when the products with them begin
    rights = {
        place: tuple(
            matrix(t, Computed(x.tensor, index[place]))
            for x, index in ((key, k), (value, v.swapaxes(-1, -2)))
        )
        for place in np.ndindex(lead)
    }
    parts = []
    for place, (keys, values) in rights.items():
        result, index = _times(t, Computed(query.tensor, q[place]), keys, factor)
        own = None if bias is None else bias[place]
        weights = _softmax(t, t.chosen(Computed(result), index), own)
        parts.append(_times(t, weights, values))
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
    """softmax in the middle of a network, of scores that may be masked."""
    value, bias = t.computed("self", masked=True), None
    given = t.values.get(t.argument("self"))
    index = t.index(value)
    if t.argument("half_to_float", False):
        raise Refusal("half_to_float=True", "compute in float32")
    axis = t.argument("dim") % (index.ndim + 1) - 1
    if axis < 0:
        raise Refusal("a softmax over the samples", "use another dimension")
    if isinstance(given, Masked):
        bias = one_sample(given.bias, index.ndim).expand(index.shape).movedim(axis, -1)
    index = np.moveaxis(index, axis, -1)
    shape, rows = index.shape, index[None] if index.ndim < 2 else index
    parts = []
    for place in np.ndindex(rows.shape[:-2]):
        own = None if bias is None else bias.reshape(rows.shape)[place]
        parts.append(_softmax(t, Computed(value.tensor, rows[place], value.origin), own))
    whole = joined(t, [(p.tensor, t.index(p)) for p in parts], rows.shape[:-2])
    return t.chosen(whole, np.moveaxis(t.index(whole).reshape(shape), -1, axis))


def masks(t: Translation, bias: Tensor) -> bool:
    """Return whether ``bias`` is added to the scores of a softmax and masks some of them."""
    absent = bias <= _ABSENT
    return bool(absent.any()) and not bool(absent.all()) and _feeds_softmax(t.node)


def _feeds_softmax(node: FxNode) -> bool:
    names = [str(user.target).removeprefix("aten.").split(".")[0] for user in node.users]
    inner = [u for u, n in zip(node.users, names, strict=True) if n in ("add", "masked_fill")]
    return (
        bool(names)
        and {*names} <= {"softmax", "_softmax", "add", "masked_fill"}
        and all(map(_feeds_softmax, inner))
    )


def _softmax(t: Translation, scores: Computed, bias: Tensor | None) -> Computed:
    """Return the softmax over the columns of a value of two axes, with ``bias`` added before.

    ``exp(s - max - log(sum(exp(s - max))))``; the logarithm is a sum of those of the sum clipped to
    several ranges, so that each is looked up in enough steps.
    """
    tensor, rows = matrix(t, scores)
    shape = t.shape_of(tensor)
    addend, mask = None, None
    if bias is not None:
        placed = _placed(bias, rows, shape)
        absent = placed <= _ABSENT
        finite = placed.masked_fill(absent, 0.0)
        if bool(finite.any()):
            tensor = added(t, tensor, constant(t, finite, "bias"), "biased")
        if bool(absent.any()):
            zeros = torch.zeros(shape, dtype=t.dtype)
            addend = constant(t, zeros.masked_fill(absent, MASKED), "mask", fixed=True)
            mask = t.derived("keep", (~absent).to(t.dtype))
    count = shape[0]
    base = t.base(tensor, shape=shape, part="below")
    below = t.build.add(floating.BelowMax(**base, groups=1, keep=mask))
    exponent = looked_up(t, below, "neg", "exponent")
    exponent = exponent if addend is None else added(t, exponent, addend, "kept")
    if count > 1:
        powers = looked_up(t, exponent, "exp", "powers")
        exponent = looked_up(t, below, "neg", "less")
        exponent = exponent if addend is None else added(t, exponent, addend, "less.kept")
        exponent = added(t, exponent, spread(t, _logarithms(t, powers), count, -1.0), "exponents")
    result = looked_up(t, exponent, "exp", "")
    pixels = math.prod(shape[1:])
    return t.chosen(Computed(result), np.arange(count) * pixels + rows[:, None])


def _logarithms(t: Translation, tensor: str) -> str:
    """Return, channel by channel, the logarithms of the sum over channels, which is at least 1,
    clipped to each of several ranges: together they are the logarithm of the sum.

    The sums are divided by the lower ends of their ranges, so that all are looked up alike.
    """
    shape = t.shape_of(tensor)
    ranges = max(1, math.ceil(math.log(shape[0], _OCTAVES)))
    fields: dict[str, Any] = {"groups": 1, "copies": ranges}
    base = t.base(tensor, shape=(ranges, *shape[1:]), part="total")
    total = Computed(t.build.add(floating.GroupSum(**base, **fields)))
    scales = _OCTAVES ** -torch.arange(ranges, dtype=t.dtype)
    scaled = t.affine(total, scales.view(-1, 1, 1), None, part="range")
    return looked_up(t, scaled.tensor, "log_between", "logs", 1.0, _OCTAVES)


def _placed(bias: Tensor, rows: Index, shape: tuple[int, ...]) -> Tensor:
    """Return a constant of rows and columns as an image of ``shape``."""
    image = bias.new_zeros(shape[0], math.prod(shape[1:]))
    image[:, torch.from_numpy(rows)] = bias.T
    return image.reshape(shape)


def constant(t: Translation, value: Tensor, part: str, *, fixed: bool = False) -> str:
    """Return a constant image as a tensor of the graph."""
    base = t.base(shape=tuple(value.shape), part=part)
    return t.build.add(floating.Constant(**base, value=t.derived(part, value), fixed=fixed))


def spread(t: Translation, tensor: str, copies: int, factor: float) -> str:
    """Return the sum over channels, times ``factor``, in several channels."""
    base = t.base(tensor, shape=(copies, *t.shape_of(tensor)[1:]), part="spread")
    return t.build.add(floating.GroupSum(**base, groups=1, copies=copies, factor=factor))


def added(t: Translation, first: str, second: str, part: str) -> str:
    """Return the sum of two tensors of one shape."""
    base = t.base(first, second, shape=t.shape_of(first), part=part)
    return t.build.add(floating.Add(**base))


def looked_up(t: Translation, tensor: str, function: str, part: str, *parameters: float) -> str:
    """Return a function of every element of a tensor."""
    base = t.base(tensor, shape=t.shape_of(tensor), part=part)
    return t.build.add(floating.Unary(**base, function=function, parameters=parameters))
