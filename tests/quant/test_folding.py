"""Real weights and biases of a layer: kernels, windows, batch norms folded in or of the batch."""

from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.ir.floating import BatchNorm
from sigbit.quant.layers.integers import exact_bias, norm_factor
from sigbit.quant.layers.normalization import normalize, normalized_by
from sigbit.quant.layers.real import RealLayer
from sigbit.quant.layers.sources import accumulate, kernel, window
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.numbers.scales import scale_rule
from sigbit.quant.plan.plans import (
    BiasPlan,
    Blocks,
    LayerPlan,
    Ones,
    Picks,
    Separable,
    SourcePlan,
)
from sigbit.quant.quantizers import Quantizer, side

DOUBLE = torch.float64


def numbers(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=DOUBLE)


def norm(name: str, channels: int, values: dict[str, Tensor], *, affine: bool = True) -> BatchNorm:
    """A batch norm; factors of both signs."""
    keys = {k: f"{name}.{k}" for k in ("weight", "bias", "mean", "var")}
    for i, key in enumerate(keys.values()):
        values[key] = numbers(channels, seed=i + len(values))
    values[keys["var"]] = values[keys["var"]].abs() + 0.2
    if not affine:
        keys |= {"weight": None, "bias": None}
    return BatchNorm(name=name, shape=(channels, 1, 1), inputs=("x",), eps=0.01, **keys)


def normed(x: Tensor, one: BatchNorm, values: dict[str, Tensor]) -> Tensor:
    weight, bias = (None if n is None else values[n] for n in (one.weight, one.bias))
    return F.batch_norm(x, values[one.mean], values[one.var], weight, bias, eps=one.eps)


def layer(
    sources: tuple[SourcePlan, ...], biases: tuple[BiasPlan, ...], channels: int
) -> LayerPlan:
    return LayerPlan("l", (channels, 1, 1), sources, biases, None, 1, "conv", "here")


def made(
    plan: LayerPlan, values: dict[str, Tensor], weight_quantizer: Quantizer | None = None
) -> RealLayer:
    grid = LevelGrid.uniform(-7, 7)
    return RealLayer(plan, values, weight_quantizer, Quantizer(grid, scale_rule("mse")))


def test_kernels() -> None:
    """Of groups, transposed ones, some rows, with a factor."""
    w = numbers(6, 2, 3, 1)
    source = SourcePlan(tensor="x", channels=4, groups=2, kernel=(3, 1), weight="w")
    assert torch.equal(kernel(source, w), w)
    assert torch.equal(kernel(source, w.flatten()), w)
    some = replace(source, rows=(5, 0), scale=-0.5)
    assert torch.equal(kernel(some, w), w[[5, 0]] * -0.5)
    x, t = numbers(2, 4, 5, 6), numbers(4, 3, 2, 3)
    source = SourcePlan(
        tensor="x", channels=4, groups=2, kernel=(2, 3), weight="w", transposed=True,
        padding=(1, 2, 1, 2),
    )  # fmt: skip
    got = accumulate(None, x, kernel(source, t), source)
    assert torch.allclose(got, F.conv_transpose2d(x, t, groups=2))


def test_windows() -> None:
    """Ones, a product of lines and columns, pixels and channels exchanged, sums and choices of
    channels."""
    x = torch.arange(2 * 4 * 4 * 6, dtype=DOUBLE).view(2, 4, 4, 6)

    def sums(channels: int = 4, **fields: object) -> Tensor:
        source = SourcePlan(tensor="x", channels=channels, **fields)
        w = window(source)
        assert w.dtype == DOUBLE
        return accumulate(None, x, w, source)

    average = sums(kernel=(2, 3), stride=(2, 3), groups=4)
    assert torch.equal(average, F.avg_pool2d(x, (2, 3)) * 6)
    got = sums(kernel=(2, 3), groups=4, taps=Separable((1, 2), (1, 3, 5)))
    one = torch.tensor([[1.0, 3, 5], [2, 6, 10]], dtype=DOUBLE).repeat(4, 1, 1, 1)
    assert torch.equal(got, F.conv2d(x, one, groups=4))
    got = sums(kernel=(2, 2), groups=1, upsampling=(2, 2), padding=(1, 1, 1, 1), taps=Blocks(True))
    assert torch.equal(got, F.pixel_shuffle(x, 2))
    got = sums(kernel=(2, 3), groups=4, stride=(2, 3), taps=Blocks(False))
    wide = x.unflatten(3, (2, 3)).unflatten(2, (2, 2))  # [N, C, h, 2, w, 3]
    assert torch.equal(got, wide.permute(0, 1, 3, 5, 2, 4).flatten(1, 3))
    pairs = x.unflatten(1, (2, 2))
    assert torch.equal(sums(groups=2, taps=Ones(3)), pairs.sum(2).repeat_interleave(3, 1))
    assert torch.equal(sums(groups=2, taps=Picks(1, 1)), pairs[:, :, 1])
    assert torch.equal(sums(groups=1, taps=Picks(1, 2)), x[:, 1:3])


@pytest.mark.parametrize("padding", [(1, 0, 1, 0), (0, 1, 2, 0), (-1, 0, -1, 0), (0, -1, 0, -1)])
def test_sums_of_sources(padding: tuple[int, int, int, int]) -> None:
    x, w, acc = numbers(2, 4, 5, 6), numbers(3, 4, 2, 2), numbers(2, 3, 1, 1)
    source = SourcePlan(
        tensor="x", channels=4, kernel=(2, 2), weight="w", padding=padding, stride=(2, 1),
        dilation=(1, 2),
    )  # fmt: skip
    top, left, bottom, right = padding
    wanted = F.conv2d(F.pad(x, (left, right, top, bottom)), w, None, (2, 1), 0, (1, 2))
    assert torch.allclose(accumulate(None, x, w, source), wanted)
    assert torch.allclose(accumulate(acc, x, w, source), acc + wanted)
    spread = replace(source, upsampling=(2, 3), stride=(1, 1), dilation=(1, 1))
    wide = torch.zeros(2, 4, 9, 16, dtype=DOUBLE)
    wide[:, :, ::2, ::3] = x
    wanted = F.conv2d(F.pad(wide, (left, right, top, bottom)), w)
    assert torch.allclose(accumulate(None, x, w, spread), wanted)
    plain = SourcePlan(tensor="x", channels=4, groups=4)
    factors = numbers(4, 1, 1, 1, seed=2)
    wanted = x * factors.view(1, 4, 1, 1)
    assert torch.equal(accumulate(None, x, factors, plain), wanted)
    assert torch.allclose(accumulate(x, x, factors, plain), x + wanted)


def test_norms_are_folded() -> None:
    """A convolution with a bias, a norm after it, and one after the sum with another tensor."""
    values = {"w": numbers(4, 3, 1, 1), "b": numbers(4, seed=1)}
    first = norm("first", 4, values)
    last = norm("last", 4, values, affine=False)
    conv = SourcePlan(tensor="x", channels=3, weight="w", norms=(first, last))
    other = SourcePlan(tensor="y", channels=4, groups=4, scale=-0.5, norms=(last,))
    biases = (
        BiasPlan("b", (first, last)),
        BiasPlan(first, (last,)),
        BiasPlan(last),
        BiasPlan("b", (), 3.0, (3, 2, 1, 0)),
    )
    plan = layer((conv, other), biases, 4)
    real = made(plan, values)
    x, y = numbers(2, 3, 5, 5), numbers(2, 4, 5, 5)
    inner = normed(F.conv2d(x, values["w"], values["b"]), first, values)
    wanted = normed(inner - 0.5 * y, last, values) + 3 * values["b"].flip(0).view(-1, 1, 1)
    weights, bias = real.real_weights(), real.real_bias()
    got = accumulate(
        accumulate(None, x, weights[0], conv), y, weights[1], replace(other, taps=Ones(1))
    )
    assert torch.allclose(got + bias.view(-1, 1, 1), wanted)
    assert torch.allclose(exact_bias(plan, values, bias), bias, rtol=1e-13)
    assert bias.dtype == DOUBLE
    only = real.real_bias(lambda b: b.term == "b")
    rest = real.real_bias(lambda b: b.term != "b")
    assert torch.allclose(only + rest, bias)
    factor = norm_factor((first, last), values)
    own = (values[n] for n in (first.weight, first.var, last.var))
    scale, *spreads = own
    assert torch.allclose(factor, scale / torch.sqrt((spreads[0] + 0.01) * (spreads[1] + 0.01)))
    assert norm_factor((), values) is None
    assert real.real_weights()[0].dtype == DOUBLE


def test_kernels_that_a_method_quantizes() -> None:
    """Before the norm's factor, or with it: the method decides."""
    values = {"w": numbers(4, 3, 1, 1)}
    one = norm("n", 4, values)
    plan = layer((SourcePlan(tensor="x", channels=3, weight="w", norms=(one,)),), (), 4)
    factor = norm_factor((one,), values).view(-1, 1, 1, 1)
    folded = side("esb", "weights", None).make(LevelGrid.uniform(-7, 7), scale_rule("mse"), 4, 4)
    plain = side("wrpn", "weights", 3).make(LevelGrid.uniform(-3, 3), scale_rule("mse"), 4, 3)
    assert folded.folded
    assert not plain.folded
    assert torch.allclose(made(plan, values, folded).kernel_of_method(), values["w"] * factor)
    assert torch.equal(made(plan, values, plain).kernel_of_method(), values["w"])
    assert torch.allclose(made(plan, values).kernel_of_method(), values["w"] * factor)
    transformed = plain.transform(values["w"])
    assert torch.allclose(made(plan, values, plain).real_weights()[0], transformed * factor)
    assert torch.allclose(made(plan, values, folded).real_weights()[0], values["w"] * factor)


def test_norms_of_the_batch_are_those_of_whole_sums() -> None:
    """Norms that others follow, of a part of a source only, or after which something is scaled
    keep their running statistics."""
    values: dict[str, Tensor] = {}
    a, b = (norm(name, 4, values) for name in "ab")

    def source(*norms: BatchNorm) -> SourcePlan:
        return SourcePlan(tensor="x", channels=4, groups=4, norms=norms)

    def found(sources: list[SourcePlan], *biases: BiasPlan) -> tuple[BatchNorm, ...]:
        return normalized_by(layer(tuple(sources), biases, 4))

    assert found([source(a)]) == found([source(a), source()], BiasPlan(a)) == (a,)
    assert found([source(a), source(b)], BiasPlan(a), BiasPlan("x", (a,))) == (a, b)
    assert found([source(a, b)]) == ()
    assert found([source(a), source(a, b)]) == ()
    assert found([source(a), source(b)], BiasPlan(a, (b,))) == ()
    assert found([source(a), source(b)], BiasPlan(a, (), 2.0)) == (b,)
    assert found([source(a)], BiasPlan("x", (), 2.0)) == (a,)
    assert found([source()]) == ()


def test_sums_before_a_norm() -> None:
    """What is added there, with its factor: biases that only this norm follows."""
    values = {"b": numbers(4, seed=1)}
    one, other = (norm(name, 4, values) for name in "mn")
    biases = (
        BiasPlan("b", (one,), 2.5),
        BiasPlan("b", (one,), -1.0, (3, 2, 1, 0)),
        BiasPlan("b", (other,), 3.0),
        BiasPlan("b", (one, other)),
        BiasPlan(other, (one,)),
        BiasPlan("b"),
    )
    real = made(layer((), biases, 4), values)
    assert torch.equal(real._offset(one), values["b"] * 2.5 - values["b"].flip(0))
    assert torch.equal(real._offset(other), values["b"] * 3)
    assert made(layer((), biases[4:], 4), values)._offset(one) == 0


@pytest.mark.parametrize("affine", [True, False])
@pytest.mark.parametrize("shape", [(2, 4, 1, 1), (3, 4, 2, 5)])
def test_statistics_of_the_batch(shape: tuple[int, ...], affine: bool) -> None:
    values: dict[str, Tensor] = {}
    one = norm("n", 4, values, affine=affine)
    factor = norm_factor((one,), values)
    if affine:
        values["n.weight"][2] = factor[2] = 0
    offset, step = numbers(4, seed=9), numbers(4, seed=8).abs() + 0.1
    acc = (numbers(*shape, seed=7) * 1000).round()
    before = {k: v.clone() for k, v in values.items()}
    got = normalize(acc, one, factor, step, offset, values) * step.view(-1, 1, 1)

    gain = torch.where(factor == 0, 1.0, factor)
    z = acc * (step / gain).view(-1, 1, 1) + offset.view(-1, 1, 1)
    mean, var = before["n.mean"].clone(), before["n.var"].clone()
    weight, bias = (before[n] if affine else None for n in ("n.weight", "n.bias"))
    wanted = F.batch_norm(z, mean, var, weight, bias, training=True, momentum=0.1, eps=1e-12)
    alive = factor != 0
    assert int(alive.sum()) == (3 if affine else 4)
    assert torch.allclose(got[:, alive], wanted[:, alive], rtol=1e-6, atol=1e-6)
    if affine:
        assert torch.allclose(got[:, 2], before["n.bias"][2].expand_as(got[:, 2]))
    for key, new in (("n.mean", mean), ("n.var", var)):
        new = torch.where(alive, new, before[key])
        assert torch.allclose(values[key], new, rtol=1e-6)
        assert not torch.allclose(values[key][alive], before[key][alive])


def test_one_value_has_no_variance() -> None:
    """The running statistics are used, and stay."""
    values: dict[str, Tensor] = {}
    one = norm("n", 4, values)
    factor, before = norm_factor((one,), values), {k: v.clone() for k, v in values.items()}
    offset, step, acc = numbers(4, seed=9), numbers(4, seed=8).abs() + 0.1, numbers(1, 4, 1, 1)
    got = normalize(acc, one, factor, step, offset, values) * step.view(-1, 1, 1)
    z = acc * (step / factor).view(-1, 1, 1) + offset.view(-1, 1, 1)
    assert torch.allclose(got, normed(z, one, before))
    assert all(torch.equal(values[k], v) for k, v in before.items())
