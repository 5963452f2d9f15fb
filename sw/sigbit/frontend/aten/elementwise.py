"""Translation of sums, products and functions of every element."""

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.aten import attention
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, HostFunction, Masked, OnHost, Refusal, Value


def add(t: Translation) -> Value:
    """add, sub and rsub, with a factor ``alpha``, of two tensors or a tensor and a constant."""
    operation = str(t.node.target)
    alpha = float(t.argument("alpha"))
    factors = [1.0, -alpha if "sub" in operation else alpha]
    if "rsub" in operation:
        factors.reverse()
    constants = [t.constant("self"), t.constant("other")]
    for i, constant in enumerate(constants):
        if constant is not None:
            name = "other" if i == 0 else "self"
            if factors[1 - i] == 1 and attention.masks(t, constant * factors[i]):
                return masked(t, name, constant * factors[i])
            value = t.broadcast(t.computed(name))
            scale = None if factors[1 - i] == 1 else torch.tensor(factors[1 - i], dtype=t.dtype)
            return t.affine(value, scale, constant * factors[i])
    first, second = (
        t.scaled(t.computed(name), factor, part="neg" if factor == -1 else "scaled")
        for name, factor in zip(("self", "other"), factors, strict=True)
    )
    return t.plus(first, second)


def multiply(t: Translation) -> Value:
    """mul of two tensors, or of a tensor and a constant."""
    for constant, other in (("self", "other"), ("other", "self")):
        if (scale := t.constant(constant)) is not None:
            return t.affine(t.broadcast(t.computed(other)), scale, None)
    return t.times(t.computed("self"), t.computed("other"))


def divide(t: Translation) -> Value:
    """div by a constant, its result rounded down or to 0 if requested; of a constant."""
    return _divided(t, t.argument("rounding_mode", None))


def floor_divide(t: Translation) -> Value:
    """floor_divide by a constant."""
    return _divided(t, "floor")


def _divided(t: Translation, rounding: str | None) -> Value:
    divisor, dividend = t.constant("other"), t.constant("self")
    if divisor is None:
        if rounding is not None:
            raise Refusal("a rounded division by a computed tensor", "round by a constant only")
        below = t.unary(t.computed("other"), "reciprocal", part="reciprocal")
        if dividend is not None:
            exact = t.affine(t.broadcast(below), dividend, None)
        else:
            exact = t.times(t.computed("self"), below)
    else:
        part = "exact" if rounding else ""
        exact = t.affine(t.broadcast(t.computed("self")), 1 / divisor.to(t.dtype), None, part=part)
    return exact if rounding is None else t.unary(exact, rounding)


def power(t: Translation) -> Value:
    """pow by a constant: squares are products of two tensors; of a positive constant."""
    if (base := t.constant("self")) is not None:
        if base.numel() != 1 or float(base) <= 0:
            raise Refusal("a power of several numbers, or of one below 0", "use exp, or exp2")
        inner = t.scaled(t.computed("exponent"), math.log2(float(base)))
        return t.unary(inner, "exp2")
    exponent = t.number("exponent")
    if exponent == 2:
        return square(t)
    return t.unary(t.computed("self"), "pow", exponent)


def square(t: Translation) -> Value:
    """square."""
    value = t.value("self")
    return t.times(value, value)


def relu(t: Translation) -> Value:
    """relu."""
    return t.relu(t.computed("self"))


def clip(low: str, high: str) -> Callable[[Translation], Value]:
    """hardtanh and clamp, by the names of their bounds."""

    def translate(t: Translation) -> Value:
        return clipped(
            t,
            t.number(low, -torch.inf) if low else -torch.inf,
            t.number(high, torch.inf) if high else torch.inf,
        )

    return translate


def extreme(largest: bool) -> Callable[[Translation], Value]:
    """maximum, or minimum, of a tensor and a number, one number per channel, or another tensor."""

    def translate(t: Translation) -> Value:
        constants = [t.constant("self"), t.constant("other")]
        if all(c is None for c in constants):
            a, b = t.computed("self"), t.computed("other")
            more = t.plus(a, t.unary(b, "neg", part="neg"), part="difference")
            if largest:
                return t.plus(b, t.relu(more, part="excess"))
            excess = t.relu(more, part="excess")
            return t.plus(a, t.unary(excess, "neg", part="less"))
        i = 0 if constants[0] is not None else 1
        limit, value = constants[i], t.broadcast(t.computed("other" if i == 0 else "self"))
        assert limit is not None
        if limit.numel() == 1:
            bounds = (float(limit), torch.inf) if largest else (-torch.inf, float(limit))
            return clipped(t, *bounds, value)
        sign = None if largest else torch.tensor(-1.0, dtype=t.dtype)
        above = t.affine(value, sign, -limit if largest else limit, part="less")
        return t.affine(t.relu(above, part="excess"), sign, limit)

    return translate


def times(factor: float) -> Callable[[Translation], Value]:
    """Return the translator of a product with a constant."""

    def translate(t: Translation) -> Value:
        return t.affine(t.computed("self"), torch.tensor(factor, dtype=t.dtype), None)

    return translate


def log_sigmoid(t: Translation) -> Value:
    """log_sigmoid, or log_sigmoid_forward, whose second result is for gradients."""
    found = t.unary(t.computed("self"), "logsigmoid")
    return found if isinstance(t.node.meta["val"], Tensor) else (found,)


def clipped(t: Translation, low: float, high: float, value: Computed | None = None) -> Value:
    """A clip to [low, high]: a ReLU where it is one."""
    if low > high:
        raise Refusal(f"a clip to [{low:g}, {high:g}], which is empty", "exchange the bounds")
    value = t.computed("self") if value is None else value
    if low == 0 and high > 0:
        return t.relu(value, None if high == torch.inf else high)
    return t.unary(value, "clamp", low, high)


def function(name: str, *parameters: str) -> Callable[[Translation], Value]:
    """Return the translator of a function of :data:`~sigbit.ir.floating.UNARY`, with the names of
    its parameters."""

    def translate(t: Translation) -> Value:
        values = (t.number(p) for p in parameters)
        return t.unary(t.computed("self"), name, *values)

    return translate


def gelu(t: Translation) -> Value:
    """gelu, exact or by tanh."""
    name = "gelu_tanh" if t.argument("approximate") == "tanh" else "gelu"
    return t.unary(t.computed("self"), name)


def rrelu(t: Translation) -> Value:
    """rrelu, which is a leaky ReLU with the mean slope."""
    slope = (t.number("lower") + t.number("upper")) / 2
    if t.argument("training"):
        raise Refusal("random slopes", "export in evaluation mode: call model.eval() first")
    return t.unary(t.computed("self"), "leaky_relu", slope)


def glu(t: Translation) -> Value:
    """glu over channels or features: one half gated by the other."""
    value = t.computed("self")
    index = t.index(value)
    axis = t.argument("dim") % (index.ndim + 1) - 1
    if axis < 0:
        raise Refusal("halves of the batch", "use dim=1, or -1: the channels")
    first, second = (t.chosen(value, half) for half in np.split(index, 2, axis))
    return t.times(first, t.unary(second, "sigmoid", part="gate"))


def addcmul(t: Translation) -> Value:
    """addcmul: a tensor plus the product of two more, one of them or all computed."""
    value = float(t.argument("value"))
    factors = [t.constant("tensor1"), t.constant("tensor2")]
    if all(f is not None for f in factors) or t.constant("self") is not None:
        raise Refusal("a constant sum or product", "write it as products and sums")
    if any(f is not None for f in factors):
        constant, other = (factors[0], "tensor2") if factors[0] is not None else (
            factors[1], "tensor1")  # fmt: skip
        assert constant is not None
        product = t.affine(t.broadcast(t.computed(other)), constant * value, None, part="product")
    else:
        plain = t.times(t.computed("tensor1"), t.computed("tensor2"), part="product")
        product = t.scaled(plain, value)
    return t.plus(t.computed("self"), product)


def lerp(t: Translation) -> Value:
    """lerp by a constant weight: ``self + weight * (end - self)``."""
    weight = t.constant("weight")
    if weight is None:
        raise Refusal("a weight that is computed", "write it as products and sums")
    start, end = t.constant("self"), t.constant("end")
    if start is not None and end is not None:
        raise Refusal("between two constants", "write it as products and sums")
    if end is not None:
        return t.affine(t.broadcast(t.computed("self")), 1 - weight, weight * end)
    last = t.broadcast(t.computed("end"))
    if start is not None:
        return t.affine(last, weight, (1 - weight) * start)
    first = t.affine(t.broadcast(t.computed("self")), 1 - weight, None, part="start")
    return t.plus(first, t.affine(last, weight, None, part="end"))


def where(t: Translation) -> Value:
    """where, by a constant mask of one value per channel."""
    return _masked(t, t.constant("condition"), ("self", "other"))


def masked_fill(t: Translation) -> Value:
    """masked_fill, by a constant mask of one value per channel."""
    return _masked(t, t.constant("mask"), ("value", "self"))


def _masked(t: Translation, mask: Tensor | None, names: tuple[str, str]) -> Value:
    """Return the first of the operands ``names`` where ``mask`` is set, else the second."""
    if mask is None:
        raise Refusal("a mask that is computed", "use a constant mask, or clamp, relu, threshold")
    inverse = ~mask.bool()
    for (name, other), chosen in ((names, mask.bool()), (names[::-1], inverse)):
        if (constant := t.constant(name)) is not None and t.constant(other) is None:
            bias = torch.where(chosen, constant.to(t.dtype), 0)
            if attention.masks(t, bias):
                return masked(t, other, bias)
    parts: list[Computed] = []
    shift = torch.zeros((), dtype=t.dtype)
    for name, chosen in zip(names, (mask.bool(), inverse), strict=True):
        if (constant := t.constant(name)) is not None:
            shift = shift + torch.where(chosen, constant.to(t.dtype), 0)
        else:
            value = t.broadcast(t.computed(name))
            parts.append(t.affine(value, chosen.to(t.dtype), None, part=name))
    if not parts:
        raise Refusal("a choice between constants", "compute it at export")
    if len(parts) == 2:
        return t.plus(parts[0], parts[1])
    return t.affine(parts[0], None, shift) if bool(shift.any()) else parts[0]


def masked(t: Translation, name: str, bias: Tensor) -> Masked:
    """Return argument ``name`` with a mask for the softmax that follows."""
    value, given = t.computed(name, masked=True), t.values.get(t.argument(name))
    if isinstance(given, Masked):
        bias = bias + given.bias
    return Masked(t.broadcast(value), bias)


def elu(t: Translation) -> Value:
    """elu, and selu, which is exported as an elu with factors."""
    if t.argument("input_scale") != 1:
        raise Refusal(f"input_scale={t.argument('input_scale')}", "leave it at 1")
    found = t.unary(t.computed("self"), "elu", float(t.argument("alpha")))
    return t.scaled(found, float(t.argument("scale")))


def prelu(t: Translation) -> Value:
    """prelu: with one slope a leaky ReLU; with one per channel ``a x + (1 - a) relu(x)``."""
    slope, value = t.constant("weight"), t.value("self")
    if slope is None:
        raise Refusal("slopes that are computed", "use parameters of the module")
    return sloped(t, value, slope)


def sloped(t: Translation, value: Computed, slope: Tensor) -> Computed:
    """Return the value, times ``slope`` where it is below 0."""
    if slope.numel() == 1:
        return t.unary(value, "leaky_relu", float(slope))
    if slope.dim() == 1:
        slope = slope.reshape(-1, *[1] * (len(t.size(value)) - 1))
    positive = t.affine(t.relu(value, part="positive"), 1 - slope, None, part="rest")
    return t.plus(t.affine(value, slope, None, part="slope"), positive)


def dropout(t: Translation) -> Value:
    """dropout without effect."""
    if all([t.argument("train"), t.argument("p")]):
        raise Refusal(
            "dropout that stays active in evaluation mode", "use nn.Dropout, or pass self.training"
        )
    return t.computed("input")


def same_type(t: Translation) -> Value:
    """type_as without effect."""
    value, own = t.computed("self"), t.argument("self").meta["val"].dtype
    t.argument("other")  # of which only the type counts
    if t.dtype != own:
        raise Refusal(f"a cast from {own} to {t.dtype}", "compute in one float type")
    return value


_OF_ARRAY = ("addmm", "bmm", "conv", "einsum", "linear", "matmul", "mm")
"""Operations that a host does not compute, or the beginnings of their names."""


def softmax(t: Translation) -> Value:
    """softmax: at the end of the network on the host, before products on the array."""
    return attention.softmax(t) if _feeds_products(t.node) else on_host("Softmax")(t)


def _feeds_products(node: FxNode) -> bool:
    """Return whether products of matrices depend on ``node``."""
    waiting, seen = list(node.users), set[FxNode]()
    while waiting:
        user = waiting.pop()
        if user in seen:
            continue
        seen.add(user)
        if str(user.target).removeprefix("aten.").startswith(_OF_ARRAY):
            return True
        waiting += user.users
    return False


def on_host(name: HostFunction) -> Callable[[Translation], Value]:
    """softmax and similar functions: at the end of the network, on the host."""

    def translate(t: Translation) -> Value:
        value: Value | None = t.values.get(t.argument("self"))
        before: tuple[tuple[HostFunction, str], ...] = ()
        if isinstance(value, OnHost):
            before, value = value.functions, value.value
        if not isinstance(value, Computed):
            raise Refusal("of something that is not computed", "return tensors of the network")
        source: Tensor = t.argument("self").meta["val"]
        dim = t.argument("dim")
        if dim is None or source.dim() < 2 or dim % source.dim() != 1:
            raise Refusal(f"{name} over dimension {dim}", "use dim=1: the channels")
        if t.argument("half_to_float", False):
            raise Refusal("half_to_float=True", "compute in float32")
        if name == "ArgMax" and t.argument("keepdim"):
            raise Refusal("argmax with keepdim", "leave keepdim out")
        return OnHost(value, (*before, (name, t.location)))

    return translate
