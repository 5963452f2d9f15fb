"""Translation of sums, products and functions of every element."""

from collections.abc import Callable

import torch
from torch import Tensor

from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, HostFunction, OnHost, Refusal, Value
from sigbit.ir import floating


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
            tensor = t.tensor("other" if i == 0 else "self")
            _same(t, tensor)
            scale = None if factors[1 - i] == 1 else torch.tensor(factors[1 - i], dtype=t.dtype)
            return Computed(t.affine(tensor, scale, constant * factors[i]))
    operands = [
        _scaled(t, t.tensor(name), factor)
        for name, factor in zip(("self", "other"), factors, strict=True)
    ]
    shapes = [t.shape_of(o) for o in operands]
    if shapes[0] != shapes[1]:
        raise Refusal(
            f"operands {shapes[0]} and {shapes[1]} differ in shape", "add tensors of one shape"
        )
    return t.add(floating.Add(**t.base(*operands)))


def _same(t: Translation, tensor: str) -> None:
    if t.shape_of(tensor) != t.shape:
        raise Refusal("a constant that enlarges the tensor", "use one number, or one a channel")


def _scaled(t: Translation, tensor: str, factor: float) -> str:
    if factor == 1:
        return tensor
    if factor == -1:
        return t.unary(tensor, "neg", part="neg")
    return t.affine(tensor, torch.tensor(factor, dtype=t.dtype), None, part="scaled")


def multiply(t: Translation) -> Value:
    """mul of two tensors, or of a tensor and a constant."""
    for constant, other in (("self", "other"), ("other", "self")):
        if (scale := t.constant(constant)) is not None:
            tensor = t.tensor(other)
            _same(t, tensor)
            return Computed(t.affine(tensor, scale, None))
    return _multiply(t, t.computed("self"), t.computed("other"))


def _multiply(t: Translation, a: Computed, b: Computed) -> Value:
    first, second = _factor(t, a), _factor(t, b)
    if len(t.shape_of(second)) == 3 and t.shape_of(second) == t.shape != t.shape_of(first):
        first, second = second, first
    shape, other = t.shape_of(first), t.shape_of(second)
    small = {(shape[0],), (shape[0], 1, 1)}
    if shape != t.shape or not (other == shape or (len(shape) == 3 and other in small)):
        raise Refusal(
            f"operands {shape} and {other} do not fit together",
            "multiply tensors of one shape, or an image by one number a channel",
        )
    return t.add(floating.Multiply(**t.base(first, second)))


def _factor(t: Translation, value: Computed) -> str:
    """A vector that was made (channels, 1, 1) is read as the vector it is."""
    shape = t.shape_of(value.tensor)
    if value.index is not None and value.index.shape == (*shape, 1, 1) and len(shape) == 1:
        value = Computed(value.tensor, value.index.reshape(-1), value.origin)
    return t.build.tensor(value, t.location, t.dtype)


def divide(t: Translation) -> Value:
    """div by a constant, its result rounded down or to 0 if asked for."""
    return _divided(t, t.argument("rounding_mode"))


def floor_divide(t: Translation) -> Value:
    """floor_divide by a constant."""
    return _divided(t, "floor")


def _divided(t: Translation, rounding: str | None) -> Value:
    divisor = t.constant("other")
    if divisor is None or t.constant("self") is not None:
        raise Refusal("a division by a computed tensor", "divide by constants only")
    if rounding is None:
        return Computed(t.affine(t.tensor("self"), 1 / divisor.to(t.dtype), None))
    exact = t.affine(t.tensor("self"), 1 / divisor.to(t.dtype), None, part="exact")
    return Computed(t.unary(exact, rounding))


def power(t: Translation) -> Value:
    """pow with a positive whole exponent: squares are products of two tensors."""
    if t.constant("self") is not None:
        raise Refusal("a power of a constant", "use exp, or exp2")
    exponent = t.number("exponent")
    if exponent == 2:
        return square(t)
    if exponent < 1 or exponent % 1:
        raise Refusal(f"exponent {exponent:g}", "use 1, 2, 3 and so on")
    return Computed(t.unary(t.tensor("self"), "pow", exponent))


def square(t: Translation) -> Value:
    """square."""
    tensor = t.tensor("self")
    return t.add(floating.Multiply(**t.base(tensor, tensor)))


def relu(t: Translation) -> Value:
    """relu."""
    return t.add(floating.Relu(**t.base(t.tensor("self"))))


def clip(low: str, high: str) -> Callable[[Translation], Value]:
    """hardtanh and clamp, by the names of their bounds."""

    def translate(t: Translation) -> Value:
        return clipped(
            t,
            t.number(low, -torch.inf) if low else -torch.inf,
            t.number(high, torch.inf) if high else torch.inf,
        )

    return translate


def extreme(bound: str) -> Callable[[Translation], Value]:
    """maximum and minimum of a tensor and a number, which is its ``bound`` ("min" or "max")."""

    def translate(t: Translation) -> Value:
        first = t.constant("self")
        number, tensor = ("other", "self") if first is None else ("self", "other")
        if t.constant(number) is None:
            raise Refusal("the larger or smaller of two computed tensors", "clip by a number")
        limit = t.number(number)
        low, high = (limit, torch.inf) if bound == "min" else (-torch.inf, limit)
        operand = t.tensor(tensor)
        _same(t, operand)
        return clipped(t, low, high, operand)

    return translate


def times(factor: float) -> Callable[[Translation], Value]:
    """A product with a constant."""

    def translate(t: Translation) -> Value:
        scale = torch.tensor(factor, dtype=t.dtype)
        return Computed(t.affine(t.tensor("self"), scale, None))

    return translate


def log_sigmoid(t: Translation) -> Value:
    """log_sigmoid_forward, whose second result is for gradients."""
    return (Computed(t.unary(t.tensor("self"), "logsigmoid")),)


def clipped(t: Translation, low: float, high: float, tensor: str | None = None) -> Value:
    """A clip to [low, high]: a ReLU where it is one."""
    if low > high:
        raise Refusal(f"a clip to [{low:g}, {high:g}], which is empty", "exchange the bounds")
    tensor = t.tensor("self") if tensor is None else tensor
    if low == 0 and high > 0:
        limit = None if high == torch.inf else high
        return t.add(floating.Relu(**t.base(tensor), limit=limit))
    return Computed(t.unary(tensor, "clamp", low, high))


def function(name: str, *parameters: str) -> Callable[[Translation], Value]:
    """A function of :data:`~sigbit.ir.floating.UNARY`, with the names of its parameters."""

    def translate(t: Translation) -> Value:
        values = (t.number(p) for p in parameters)
        return Computed(t.unary(t.tensor("self"), name, *values))

    return translate


def gelu(t: Translation) -> Value:
    """gelu, exact or by tanh."""
    name = "gelu_tanh" if t.argument("approximate") == "tanh" else "gelu"
    return Computed(t.unary(t.tensor("self"), name))


def rrelu(t: Translation) -> Value:
    """rrelu, which is a leaky ReLU of the middle slope."""
    slope = (t.number("lower") + t.number("upper")) / 2
    if t.argument("training"):
        raise Refusal("random slopes", "export in evaluation mode: call model.eval() first")
    return Computed(t.unary(t.tensor("self"), "leaky_relu", slope))


def glu(t: Translation) -> Value:
    """glu over channels or features: one half gated by the other."""
    tensor = t.tensor("self")
    shape, dim = t.shape_of(tensor), t.argument("dim")
    if len(shape) == 2 or dim % (len(shape) + 1) != 1:
        raise Refusal(f"halves along dimension {dim}", "use dim=1: the channels")
    half = shape[0] // 2
    halves = [
        t.build.add(
            floating.Channels(
                **t.base(tensor, shape=(half, *shape[1:]), part=f"half{i}"),
                index=tuple(range(i * half, (i + 1) * half)),
            )
        )
        for i in (0, 1)
    ]
    gate = t.unary(halves[1], "sigmoid", part="gate")
    return t.add(floating.Multiply(**t.base(halves[0], gate)))


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
        tensor = t.tensor(other)
        product = t.affine(tensor, constant * value, None, part="product")
    else:
        first, second = t.tensor("tensor1"), t.tensor("tensor2")
        _same(t, first)
        _same(t, second)
        plain = t.build.add(floating.Multiply(**t.base(first, second, part="product")))
        product = _scaled(t, plain, value)
    whole = t.tensor("self")
    _same(t, product)
    _same(t, whole)
    return t.add(floating.Add(**t.base(whole, product)))


def elu(t: Translation) -> Value:
    """elu, and selu, which is exported as an elu with factors."""
    if t.argument("input_scale") != 1:
        raise Refusal(f"input_scale={t.argument('input_scale')}", "leave it at 1")
    name = t.unary(t.tensor("self"), "elu", float(t.argument("alpha")))
    scale = t.argument("scale")
    return Computed(
        name if scale == 1 else t.affine(name, torch.tensor(scale), None, part="scaled")
    )


def prelu(t: Translation) -> Value:
    """prelu with one slope."""
    slope = t.constant("weight")
    if slope is None or slope.numel() != 1:
        raise Refusal("a slope for every channel", "use num_parameters=1, or LeakyReLU")
    return Computed(t.unary(t.tensor("self"), "leaky_relu", float(slope)))


def dropout(t: Translation) -> Value:
    """dropout that does nothing."""
    if all([t.argument("train"), t.argument("p")]):
        raise Refusal(
            "dropout that stays active in evaluation mode", "use nn.Dropout, or pass self.training"
        )
    return t.computed("input")


def same_type(t: Translation) -> Value:
    """type_as that changes nothing."""
    value, own = t.computed("self"), t.argument("self").meta["val"].dtype
    t.argument("other")  # of which only the type counts
    if t.dtype != own:
        raise Refusal(f"a cast from {own} to {t.dtype}", "compute in one float type")
    return value


def on_host(name: HostFunction) -> Callable[[Translation], Value]:
    """softmax and its like: at the end of the network, on the host."""

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
