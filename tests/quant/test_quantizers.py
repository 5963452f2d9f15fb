"""Level tables, gradients in closed form, and the numbers of the methods' publications."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from sigbit.quant import QuantizationError
from sigbit.quant.layers.requant import Requantization
from sigbit.quant.numbers.grid import LevelGrid, per_channel, round_to_grid
from sigbit.quant.numbers.scales import scale_rule
from sigbit.quant.quantizers import METHODS, Quantizer, embed, side, widen
from sigbit.quant.quantizers.inq import Inq
from sigbit.quant.quantizers.lq_nets import LqNets, combinations, integer_bases, qem
from sigbit.quant.quantizers.nearest import PENALTY
from sigbit.quant.quantizers.qil import Qil
from sigbit.quant.quantizers.qn import QuantizationNetwork
from sigbit.quant.quantizers.registry import additive_powers
from sigbit.quant.quantizers.ternary import THRESHOLD
from sigbit.quant.spec import QuantSpec, method_grid
from sigbit_hw.arch.formats import EsbFormat, TermGrid

RULE = scale_rule("mse")
WEIGHTS = [(m.name, b) for m in METHODS.values() if m.weights for b in m.weights.bits if b <= 5]
ACTIVATIONS = [(m.name, b) for m in METHODS.values() if m.acts for b in m.acts.bits if b <= 5]
NATIVES = [LevelGrid.of(TermGrid(EsbFormat(4, 1), 3, t)) for t in (1, 2, 3, 4)]
CHANNELS = [pytest.param(6, id="per channel"), pytest.param(None, id="per tensor")]


def weights(seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(6, 8, 3, 3, generator=generator, dtype=torch.float64) * 0.1


def weight_quantizer(name: str, bits: int, channels: int | None, w: Tensor) -> Quantizer:
    chosen = side(name, "weights", bits)
    levels = NATIVES[1] if chosen.learns_levels else chosen.levels(bits)
    quantizer = chosen.make(levels, RULE, channels, bits)
    quantizer.initialize(w, w[0].numel())
    return quantizer.eval()


def act_quantizer(name: str, bits: int, x: Tensor) -> Quantizer:
    chosen = side(name, "activations", bits)
    levels = LevelGrid.uniform(0, 14) if chosen.learns_levels else chosen.levels(bits)
    quantizer = chosen.make(levels, RULE, None, bits)
    quantizer.initialize(x, x.numel())
    return quantizer.eval()


def integers(quantizer: Quantizer, w: Tensor) -> Tensor:
    v = quantizer.transform(w)
    return quantizer.quantize(v, quantizer.scale(v))


def real(quantizer: Quantizer, w: Tensor) -> Tensor:
    """The quantized weights with gradients, as a layer takes them."""
    v = quantizer.transform(w)
    scale = quantizer.scale(v)
    return quantizer.quantize(v, scale) * per_channel(scale.detach(), v)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize(("name", "bits"), WEIGHTS)
def test_weights_take_values_of_the_level_table(name: str, bits: int, channels: int | None) -> None:
    w = weights()
    quantizer = weight_quantizer(name, bits, channels, w)
    n = integers(quantizer, w).detach()
    if isinstance(quantizer, LqNets):
        table = quantizer.levels()
        for row, own in zip(n, table.expand(6, -1), strict=True):
            assert set(row.unique().tolist()) <= set(own.tolist())
            assert len(own.unique()) <= 2**bits
    else:
        assert set(n.unique().tolist()) <= set(map(float, quantizer.grid.values))
        assert len(quantizer.grid.values) <= 2**bits
    assert len(n.unique()) > 1
    assert n.dtype == w.dtype
    if name != "qn" and (name, bits) != ("apot", 2):  # their starts are far off until trained
        error = (real(quantizer, w) - quantizer.transform(w)).detach().norm() / w.norm()
        assert float(error) < {1: 0.7, 2: 0.75, 3: 0.5}.get(bits, 0.35)


@pytest.mark.parametrize(("name", "bits"), ACTIVATIONS)
def test_activations_take_values_of_the_level_table(name: str, bits: int) -> None:
    x = weights().abs() * 10
    quantizer = act_quantizer(name, bits, x)
    scale = quantizer.scale().detach()
    n = quantizer.round(x / scale).detach()
    table = quantizer.levels()[0].tolist() if isinstance(quantizer, LqNets) else None
    assert set(n.unique().tolist()) <= set(table or map(float, quantizer.grid.values))
    assert len(n.unique()) == min(2**bits, len(n.unique().tolist())) > 1
    assert torch.equal(quantizer.round(-x / scale), torch.zeros_like(x))


def test_level_tables() -> None:
    def table(name: str, bits: int, what: str = "weights") -> tuple[int, ...]:
        return side(name, what, bits).levels(bits).values

    assert table("esb", 2) == (-1, 0, 1)
    assert table("esb", 4) == (-12, -8, -6, -4, -3, -2, -1, 0, 1, 2, 3, 4, 6, 8, 12)
    assert table("lsq", 2) == (-2, -1, 0, 1)
    assert table("dorefa", 1) == (-1, 1)
    assert table("dorefa", 3) == (-7, -5, -3, -1, 1, 3, 5, 7)
    assert table("wrpn", 3) == table("qil", 3) == (-3, -2, -1, 0, 1, 2, 3)
    assert table("inq", 3) == (-2, -1, 0, 1, 2)
    assert table("inq", 5)[-1] == 128
    assert table("apot", 2) == table("qn", 2) == table("ternary", 2) == (-1, 0, 1)
    assert table("apot", 4)[8:] == (1, 2, 3, 4, 6, 8, 10)
    assert table("qn", 1) == (-1, 1)
    assert table("qn", 3) == (-4, -2, -1, 0, 1, 2, 4)
    assert table("qn", 5) == tuple(range(-15, 16))
    assert table("pact", 4, "activations") == tuple(range(16))
    assert [len(additive_powers(b)) for b in range(2, 7)] == [4, 8, 16, 32, 64]


@pytest.mark.parametrize(
    ("name", "bits", "place"),
    [
        ("uniform", 4, (2, 1)),
        ("lsq", 3, (1, 1)),
        ("dorefa", 2, (1, 1)),
        ("dorefa", 3, (2, 1)),
        ("inq", 4, (1, 1)),
        ("qn", 3, (1, 1)),
        ("apot", 3, (1, 1)),
        ("apot", 4, (2, 1)),
    ],
)
def test_terms_that_hold_a_table(name: str, bits: int, place: tuple[int, int]) -> None:
    assert embed(side(name, "weights", bits).levels(bits), NATIVES) == place


def test_factors_that_hold_a_table() -> None:
    assert embed(LevelGrid((0, 1, 3), True), [LevelGrid((0, 2, 5, 6), True)]) == (1, 2)
    assert embed(LevelGrid((0, 1, 2), True), [LevelGrid((0, 1, 3), True)]) is None


IDENTITY = ("dorefa", "apot", "ternary", "pact", "lq-nets")


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("name", ["lsq", "lsq+", "esb", "uniform", "wrpn", *IDENTITY])
def test_gradients_of_weights(name: str, channels: int | None) -> None:
    w = weights().requires_grad_()
    bits = 2 if name == "ternary" else 3
    quantizer = weight_quantizer(name, bits, channels, w.detach())
    if name == "wrpn":  # its clip is where clamping begins
        quantizer.log_scale -= 1
    upstream = weights(1)
    (real(quantizer, w) * upstream).sum().backward()
    v = quantizer.transform(w).detach()
    scale = per_channel(quantizer.scale(v).detach(), v)
    ratio = v / scale
    inside = (ratio > quantizer.grid.min) & (ratio < quantizer.grid.max)
    if name in ("dorefa", "pact"):
        wanted = upstream * (1 - torch.tanh(w.detach()) ** 2)
    elif name == "apot":
        rows = (lambda t: t.flatten(1)) if channels else (lambda t: t.reshape(1, -1))
        data, g = rows(w.detach()), rows(upstream)
        z = (data - data.mean(1, keepdim=True)) / data.std(1, correction=0, keepdim=True)
        wanted = g - g.mean(1, keepdim=True) - z * (g * z).mean(1, keepdim=True)
        wanted = wanted.view_as(w)
    elif name in IDENTITY:
        wanted = upstream
    else:
        wanted = upstream * inside
    assert torch.allclose(w.grad, wanted, rtol=1e-9, atol=1e-12)
    if quantizer.rule.learned and name != "apot":
        n = round_to_grid(ratio, quantizer.grid)
        slope = upstream * torch.where(inside, n - ratio, n)
        total = (slope.flatten(1).sum(1) if channels else slope.sum()) * quantizer.gradient_factor
        in_logarithm = total * quantizer.scale().detach() * math.log(2)
        assert torch.allclose(quantizer.log_scale.grad, in_logarithm, rtol=1e-9)


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_dorefa_is_the_published_formula(bits: int) -> None:
    w = weights()
    got = real(weight_quantizer("dorefa", bits, None, w), w)
    if bits == 1:
        assert torch.allclose(got, w.sign() * w.abs().mean())
    else:
        top, steps = torch.tanh(w).abs().max(), 2**bits - 1
        q = torch.round((torch.tanh(w) / (2 * top) + 0.5) * steps) / steps
        assert torch.allclose(got, (2 * q - 1) * top)


def test_lsq_starts_and_scales_gradients_as_published() -> None:
    w = weights()
    quantizer = weight_quantizer("lsq", 3, None, w)
    assert float(quantizer.scale().detach()) == pytest.approx(
        2 * float(w.abs().mean()) / math.sqrt(3)
    )
    assert float(quantizer.gradient_factor) == pytest.approx(1 / math.sqrt(w[0].numel() * 3))
    plus = weight_quantizer("lsq+", 3, None, w)
    assert float(plus.scale().detach()) == pytest.approx(
        3 * float(w.std(correction=0)) / 4, rel=0.05
    )


def apply(quantizer: Quantizer, x: Tensor) -> Tensor:
    """Real activations of two bits as a layer makes them, from fine accumulators."""
    grid = method_grid(QuantSpec(act_method="lsq", act_bits=2), 2, 0)
    one, scale = torch.ones(1, dtype=torch.float64), quantizer.scale()
    unit = 2.0 ** (20 - grid.pre_shift)
    base = one * (0.5 - grid.centre - grid.offset) * unit
    r = Requantization(base, one * unit, grid, None, True, False, quantizer)
    step = scale.detach() * 2.0**-20
    return r(x / step, one * 0, one * step, scale) * scale.detach()


@pytest.mark.parametrize("name", ["lsq", "pact", "qil"])
def test_gradients_of_activations(name: str) -> None:
    generator = torch.Generator().manual_seed(2)
    x = torch.randn(2, 1, 40, 40, generator=generator, dtype=torch.float64).requires_grad_()
    quantizer = act_quantizer(name, 2, x.detach().clamp(min=0))
    upstream = torch.randn(x.shape, generator=generator, dtype=torch.float64)
    result = apply(quantizer, x)
    (result * upstream).sum().backward()
    scale, top = quantizer.scale().detach(), 3
    near = ((x.detach() / scale).abs() < 1e-2) | ((x.detach() / scale - top).abs() < 1e-2)
    if isinstance(quantizer, Qil):
        c, d = (v.detach() for v in quantizer.interval())
        inside = (x > c - d) & (x < c + d)
        # real = (c + d) t with a constant first factor
        assert torch.allclose(
            x.grad[~near], (upstream * inside * (c + d) * 0.5 / d)[~near], rtol=1e-6
        )
        slope_c = (upstream * inside * -0.5 / d * (c + d)).sum() * c * math.log(2)
        assert float(quantizer.log_center.grad) == pytest.approx(
            float(slope_c * quantizer.gradient_factor), rel=1e-6, abs=1e-9
        ) or bool(near.any())
        return
    inside = (x > 0) & (x < top * scale)
    assert torch.allclose(x.grad[~near], (upstream * inside)[~near], rtol=1e-6)
    v = (x / scale).detach()
    n = (result / scale).detach()
    assert float((n - v.clamp(0, top)).abs().max()) < 0.51
    if name == "pact":
        wanted = (upstream * (v >= top) * top).sum() + PENALTY * top**2 * scale
    else:
        wanted = (upstream * torch.where(inside, n - v, n)).sum()
    wanted = wanted * scale * math.log(2) * quantizer.gradient_factor
    assert float(quantizer.log_scale.grad) == pytest.approx(float(wanted), rel=0.02)


def test_the_clip_of_pact_decays() -> None:
    """Whatever its unit: a clip below 1 does not grow."""
    for size in (1e-3, 1.0, 1e3):
        quantizer = act_quantizer("pact", 2, weights().abs() * size)
        (quantizer.scale() * 0).sum().backward()
        alpha = 3 * float(quantizer.scale().detach())
        wanted = PENALTY * alpha**2 * math.log(2) * float(quantizer.gradient_factor)
        assert float(quantizer.log_scale.grad) == pytest.approx(wanted)
        assert not quantizer.parameter_groups()[0]["weight_decay"]


@pytest.mark.parametrize("channels", CHANNELS)
def test_qil_gradients(channels: int | None) -> None:
    w = weights().requires_grad_()
    quantizer = weight_quantizer("qil", 3, channels, w.detach())
    with torch.no_grad():
        quantizer.log_distance -= 0.5
    upstream = weights(1)
    (quantizer.normalized(w) * upstream).sum().backward()
    quantizer.gradient_factor.fill_(1.0)
    c, d = (per_channel(v.detach(), w) for v in quantizer.interval())
    size = w.detach().abs()
    inside = (size > c - d) & (size < c + d)
    assert 0.1 < float(inside.double().mean()) < 0.95
    assert torch.allclose(w.grad, upstream * inside * 0.5 / d * w.detach().sign())

    def total(t: Tensor) -> Tensor:
        return t.flatten(1).sum(1) if channels else t.sum()

    factor = 1 / math.sqrt(w[0].numel() * quantizer.grid.max) * math.log(2)
    to_c = total(upstream * inside * -0.5 / d * c) * factor
    to_d = total(upstream * inside * -0.5 * (size - c) / d**2 * d) * factor
    assert torch.allclose(quantizer.log_center.grad, to_c)
    assert torch.allclose(quantizer.log_distance.grad, to_d)


@pytest.mark.parametrize("channels", CHANNELS)
@pytest.mark.parametrize("bits", [1, 2, 3])
def test_quantization_networks(bits: int, channels: int | None) -> None:
    w = weights().requires_grad_()
    quantizer = weight_quantizer("qn", bits, channels, w.detach()).train()
    assert isinstance(quantizer, QuantizationNetwork)
    quantizer.temperature.fill_(3.0)
    upstream = weights(1)
    (real(quantizer, w) * upstream).sum().backward()
    values = torch.tensor(quantizer.grid.values, dtype=torch.float64)
    steps, alpha = values.diff(), per_channel(quantizer.scale().detach(), w)
    beta = per_channel(torch.exp2(quantizer.log_beta).detach(), w)
    x, t = w.detach(), 3.0
    g = torch.sigmoid(t * ((beta * x)[..., None] - quantizer.thresholds))
    n = (steps * g).sum(-1) - 0.5 * steps.sum()
    if bits == 1:  # binary weights: gradients at T = 1
        t, g = 1.0, torch.sigmoid((beta * x)[..., None] - quantizer.thresholds)
    slope = t * (steps * g * (1 - g)).sum(-1)
    assert torch.allclose(w.grad, upstream * alpha * beta * slope, rtol=1e-2, atol=1e-5)

    def total(v: Tensor) -> Tensor:
        return v.flatten(1).sum(1) if channels else v.sum()

    to_beta = total(upstream * alpha * x * slope * beta * math.log(2))
    to_alpha = total(upstream * n * alpha * math.log(2)) * quantizer.gradient_factor
    assert torch.allclose(quantizer.log_beta.grad, to_beta, rtol=1e-2, atol=1e-5)
    assert torch.allclose(quantizer.log_scale.grad, to_alpha, rtol=1e-3, atol=1e-6)

    gaps = []
    hard = integers(quantizer.eval(), w.detach()).detach()
    for t in (2.0, 20.0, 200.0, 2000.0):
        quantizer.train().temperature.fill_(t)
        gaps.append(float((integers(quantizer, w.detach()).detach() - hard).abs().mean()))
    assert gaps == sorted(gaps, reverse=True)
    assert gaps[-1] < 0.05 * gaps[0]


def test_binary_weights_keep_their_gradients_at_any_temperature() -> None:
    """And their values are those of the temperature; activations of one bit follow it in both."""
    w, gradients, values = weights(), [], []
    quantizer = weight_quantizer("qn", 1, None, w).train()
    for t in (1.0, 20.0, 2000.0):
        quantizer.temperature.fill_(t)
        x = w.clone().requires_grad_()
        n = integers(quantizer, x)
        (gradient,) = torch.autograd.grad(n.sum(), x)
        gradients.append(gradient)
        values.append(n.detach())
    assert float(gradients[0].abs().min()) > 0
    assert all(torch.equal(g, gradients[0]) for g in gradients)
    assert float((values[1] - values[0]).abs().max()) > 0.1
    assert torch.allclose(values[2], w.sign(), atol=0.1)
    found = side("qn", "activations", 1)
    acts = found.make(found.levels(1), RULE, None, 1).train()
    acts.initialize(w.abs(), w.numel())
    acts.temperature.fill_(2000.0)
    x = w.abs().requires_grad_()
    acts.curve(x / acts.scale().detach().to(w.dtype)).sum().backward()
    assert not bool(x.grad.all())


def test_quantization_networks_thresholds() -> None:
    w = weights()
    two = weight_quantizer("qn", 2, None, w)
    assert two.thresholds.tolist() == [-0.05, 0.05]
    assert weight_quantizer("qn", 1, None, w).thresholds.tolist() == [0.0]
    beta = float(torch.exp2(two.log_beta.detach()))
    assert beta == pytest.approx(1.25 / float(w.abs().max()))
    assert float(two.scale().detach()) == pytest.approx(1 / beta)


def test_inq_levels_and_freezing() -> None:
    w = weights().requires_grad_()
    quantizer = weight_quantizer("inq", 4, None, w.detach())
    assert isinstance(quantizer, Inq)
    top = 2.0 ** math.floor(math.log2(4 * float(w.detach().abs().max()) / 3))
    assert float(quantizer.scale() * quantizer.grid.max) == top
    quantizer.train()
    assert torch.allclose(real(quantizer, w), w), "weights that learn are not rounded"
    quantizer.freeze(w, 0.5)
    assert int(quantizer.frozen.sum()) == w.numel() // 2
    sizes = w.detach().abs()
    assert float(sizes[quantizer.frozen].min()) >= float(sizes[~quantizer.frozen].max())
    fixed = integers(quantizer, w)[quantizer.frozen].detach().clone()
    (real(quantizer, w) * weights(1)).sum().backward()
    assert not w.grad[quantizer.frozen].any()
    assert torch.allclose(w.grad[~quantizer.frozen], weights(1)[~quantizer.frozen])
    with torch.no_grad():
        w += weights(3)
    assert torch.equal(integers(quantizer, w)[quantizer.frozen], fixed)
    quantizer.freeze(w, 0.5)
    assert int(quantizer.frozen.sum()) == w.numel() // 2
    quantizer.freeze(w, 1.0)
    assert torch.equal(integers(quantizer, w), integers(quantizer.eval(), w))
    with pytest.raises(ValueError, match="portion must be in"):
        quantizer.freeze(w, 1.5)


@pytest.mark.parametrize("channels", CHANNELS)
def test_ternary_clusters(channels: int | None) -> None:
    w = weights()
    quantizer = weight_quantizer("ternary", 2, channels, w)
    rows = w.flatten(1) if channels else w.reshape(1, -1)
    bound = THRESHOLD * rows.abs().mean(1, keepdim=True)
    above = rows.abs() > bound
    magnitude = (rows.abs() * above).sum(1) / above.sum(1)
    wanted = torch.where(above, rows.sign() * magnitude[:, None], 0.0).view_as(w)
    assert torch.allclose(real(quantizer, w), wanted)


@pytest.mark.parametrize("signed", [True, False])
def test_qem_is_least_squares(signed: bool) -> None:
    basis = torch.tensor([[2.0, 1.0], [0.5, 0.2]], dtype=torch.float64)
    b = combinations(2, signed)
    generator = torch.Generator().manual_seed(0)
    rows = torch.randint(4, (2, 400), generator=generator)
    x = torch.stack([(b @ v)[i] for v, i in zip(basis, rows, strict=True)])
    noisy = x + torch.randn(x.shape, generator=generator, dtype=torch.float64) * 0.01
    assert torch.allclose(qem(x, basis, signed, 0.0), basis)
    found = qem(noisy, basis * 1.02, signed, 0.0)
    for row in range(2):
        matrix = b[rows[row]]
        wanted = torch.linalg.lstsq(matrix, noisy[row][:, None]).solution[:, 0]
        assert torch.allclose(found[row], wanted, atol=1e-2)


def test_lq_nets_bases_are_integers_with_a_known_error() -> None:
    w = weights()
    for bits, native, most in ((2, NATIVES[0], 0.02), (3, NATIVES[1], 0.002)):
        quantizer = side("lq-nets", "weights", bits).make(native, RULE, 6, bits)
        quantizer.initialize(w, 72)
        assert isinstance(quantizer, LqNets)
        table = set(map(float, native.values))
        assert set(quantizer.levels().unique().tolist()) <= table
        n, scale = quantizer.integers()
        error = (quantizer.basis - n * scale[:, None]).norm() / quantizer.basis.norm()
        assert quantizer.basis_error() == pytest.approx(float(error) ** 2)
        assert 0 < quantizer.basis_error() < most
        before = quantizer.basis.clone()
        quantizer.observe(w * 2)
        grown = quantizer.basis / before
        assert bool((grown > 1).all())
        assert bool((grown < 1.5).all())
    assert len(integer_bases(NATIVES[0], 2, True)) > 20


def test_wrpn_widens() -> None:
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=4), nn.ReLU(),
        nn.Conv2d(4, 6, 1), nn.Flatten(), nn.Linear(6 * 16, 5),
    )  # fmt: skip
    x = torch.randn(2, 3, 8, 8)
    wide = widen(model.eval(), 2, x)
    shapes = [tuple(p.shape) for n, p in wide.named_parameters() if n.endswith("weight")]
    assert shapes == [(8, 3, 3, 3), (8,), (8, 1, 3, 3), (12, 8, 1, 1), (5, 192)]
    assert wide(x).shape == (2, 5)
    assert all(bool(torch.isfinite(p).all()) for p in wide.state_dict().values())
    with pytest.raises(QuantizationError, match="factor must be"):
        widen(model, 0, x)

    class Fixed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a, self.b = nn.Conv2d(3, 4, 1), nn.Conv2d(4, 2, 1)

        def forward(self, x: Tensor) -> Tensor:
            return self.b(self.a(x).reshape(-1, 4, 8, 8))

    with pytest.raises(QuantizationError, match="widen"):
        widen(Fixed(), 2, x)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: side("best", "weights", 2), r"method must be one of \['apot', 'dorefa', 'esb'"),
        (lambda: side("inq", "activations", 2), "'inq' quantizes weights only: choose a method"),
        (lambda: side("lsq", "weights", None), "'lsq' needs the number of bits of weights"),
        (lambda: side("wrpn", "weights", 1), "bits of weights with 'wrpn' must be in"),
        (lambda: QuantSpec(weight_method="nope", weight_bits=2), "method must be one of"),
        (
            lambda: QuantSpec(bits={"a": (1, 1)}, layer_bits={"a": (4, 4)}),
            "'a' is in bits and in layer_bits",
        ),
        (
            lambda: QuantSpec(
                weight_format=EsbFormat(2, 0), radix_bits=1, weight_method="uniform", weight_bits=8
            ),
            "no sum of up to 4 terms of",
        ),
    ],
)
def test_refusals(call: Callable[[], object], message: str) -> None:
    with pytest.raises(QuantizationError, match=message):
        call()
