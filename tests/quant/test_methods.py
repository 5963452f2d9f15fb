"""Every method in a network: trained a little, the prepared model, the integer model and the
accelerator give the same integers."""

import math
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.compiler import compile_graph
from sigbit.frontend import import_model
from sigbit.ir.floating import FloatGraph
from sigbit.quant import PreparedModel, QuantizationError, QuantSpec, convert, prepare
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.quantizers import METHODS
from sigbit.quant.quantizers.nearest import PENALTY
from sigbit.quant.quantizers.qn import QuantizationNetwork
from sigbit.runtime import compare
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.formats import EsbFormat, LevelFormat
from sigbit_sim.interp.device import Interp

CASES = [(m.name, b) for m in METHODS.values() for b in m.weights.bits if b <= 4]


class Net(nn.Module):
    """A residual network with batch norms of any sign."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a = nn.Conv2d(1, 6, 3, padding=1), nn.Conv2d(6, 6, 3, padding=1)
        self.b, self.c = nn.Conv2d(6, 6, 3, padding=1), nn.Conv2d(6, 8, 3, stride=2)
        self.n, self.m = nn.BatchNorm2d(6), nn.BatchNorm2d(6)
        self.out = nn.Linear(8, 4)
        for norm in (self.n, self.m):
            nn.init.uniform_(norm.weight, -1.5, 1.5)
            nn.init.uniform_(norm.running_var, 0.3, 2.0)
            nn.init.uniform_(norm.running_mean, -0.3, 0.3)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(self.m(self.b(F.relu(self.n(self.a(x))))) + x)
        return self.out(F.relu(self.c(x)).mean((2, 3)))


def spec(name: str, width: int, **changes: object) -> QuantSpec:
    acts = name if METHODS[name].acts is not None else "lsq"
    return QuantSpec.from_arch(
        PRESETS["nano"],
        **(
            {
                "weight_method": name,
                "weight_bits": width,
                "act_method": acts,
                "act_bits": max(2, width),
            }
            | changes
        ),
    )


@cache
def graph() -> FloatGraph:
    torch.manual_seed(0)
    return import_model(Net().double(), batch()[:1])


def batch() -> Tensor:
    return torch.rand(8, 1, 8, 8, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


Change = Callable[[dict[str, Tensor]], object]


def prepared(
    of: QuantSpec, change: Change = lambda values: None, samples: int = 8
) -> tuple[PreparedModel, Tensor]:
    torch.manual_seed(0)
    values = {key: value.clone() for key, value in graph().parameters.items()}
    change(values)
    x = batch()
    return prepare(replace(graph(), parameters=values), of, (x[:samples],)), x


def trained(model: PreparedModel, x: Tensor, batch_statistics: bool = False) -> PreparedModel:
    """Two steps far enough that nothing is where calibration left it."""
    model.train()
    model.use_batch_statistics(batch_statistics)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    assert all(p.grad is None or bool(torch.isfinite(p.grad).all()) for p in model.parameters())
    return model.eval()


def equal(model: PreparedModel, x: Tensor) -> bool:
    fresh = torch.cat([x, torch.randn_like(x) * 2])
    a, b = model.stored(fresh), convert(model).stored(fresh)
    return all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize(("name", "bits"), CASES)
def test_prepared_equals_converted(name: str, bits: int) -> None:
    model, x = prepared(spec(name, bits, per_channel=bits != 3))
    before = {k: v.clone() for k, v in model.named_parameters()}
    assert equal(trained(model, x, batch_statistics=bits == 3), x)
    for key, value in model.named_parameters():
        learns = value.grad is not None and bool(value.grad.any())
        assert not (learns and torch.equal(value, before[key])), key
    layer = model.quant_module("relu_2")
    assert isinstance(layer, QuantLayer)
    assert layer.weight_quantizer is not None
    weights = convert(model).graph.nodes[2].sources[0].weights
    assert len(set(weights.ravel().tolist())) <= 6 * 2**bits
    if name != "lq-nets":
        table = {layer.weight_factor * v for v in layer.weight_quantizer.grid.values}
        table |= {-v for v in table}  # a negative factor of a batch norm
        assert set(weights.ravel().tolist()) <= table | {0}


@pytest.mark.network
@pytest.mark.parametrize(
    ("name", "bits"),
    [("lsq", 2), ("dorefa", 2), ("apot", 3), ("qn", 3), ("qil", 3), ("lq-nets", 2), ("inq", 4)],
)
def test_the_accelerator_gives_the_same_codes(name: str, bits: int) -> None:
    model, x = prepared(spec(name, bits))
    integer, arch = convert(trained(model, x)), PRESETS["nano"]
    program = compile_graph(integer.graph, arch)
    golden = {key: value.numpy() for key, value in integer.levels(x[:2]).items()}
    (port,) = integer.graph.inputs
    result = Interp(arch, strict=True).run(program, golden[port.name], layers=True)
    assert set(result.layers) == {layer.name for layer in program.layers}
    assert not compare(golden, result.layers)
    assert not compare(golden, result.outputs)
    assert sum(value.size for value in result.layers.values()) > 1000


def odd(values: dict[str, Tensor]) -> None:
    values["a.weight"][1].zero_()
    values["a.weight"][2].fill_(0.2)
    values["n.weight"][3].zero_()


def empty(values: dict[str, Tensor]) -> None:
    values["a.weight"].zero_()


@pytest.mark.parametrize("change", [odd, empty])
@pytest.mark.parametrize("name", METHODS)
def test_empty_and_constant_channels(name: str, change: Change) -> None:
    model, x = prepared(spec(name, 2), change)
    first = convert(model.eval()).graph.nodes[2].sources[0].weights
    assert not first[[1, 3]].any() if change is odd else not first.any()
    if change is odd:
        assert len(set(first[2].ravel().tolist())) == 1
    assert equal(trained(model, x), x)


@pytest.mark.parametrize("name", METHODS)
def test_one_sample_calibrates(name: str) -> None:
    model, x = prepared(spec(name, 2), samples=1)
    assert equal(trained(model, x, batch_statistics=True), x)


def test_grids_of_activations_fit_the_native_format() -> None:
    def stored(name: str, bits: int) -> tuple[int, int]:
        model, _ = prepared(spec("lsq", 2, act_method=name, act_bits=bits))
        grid = model.quant_module("relu_2").grid
        return grid.planes, len(grid.levels.values)

    assert stored("lsq", 2) == (1, 4)
    assert stored("pact", 3) == (1, 8)
    assert stored("lsq", 4) == (1, 15), "one level less than 16, in one plane"
    assert stored("apot", 3) == (1, 8)
    assert stored("dorefa", 5) == (2, 32)


def test_single_layers_and_ends_keep_their_precision() -> None:
    model, x = prepared(spec("wrpn", 3, layer_bits={"relu_2": (2, 4)}, bits={"relu_4": (2, 1)}))
    terms = {
        p.name: model.quant_module(p.name).terms[0]
        for p in model.plan.layers
        if isinstance(model.quant_module(p.name), QuantLayer)
    }
    assert terms["relu"] == terms["out"] == 2
    layer = model.quant_module("relu_2")
    assert layer.weight_quantizer.grid.values == (-1, 0, 1)
    assert len(layer.grid.levels.values) == 15
    assert model.quant_module("relu_4").weight_quantizer.folded
    assert model.quant_module("relu_3").weight_quantizer.grid.values == tuple(range(-3, 4))
    assert equal(trained(model, x), x)
    with pytest.raises(QuantizationError, match="layer_bits names 'nothing'"):
        prepared(spec("wrpn", 3, layer_bits={"nothing": (2, 4)}))


@pytest.mark.parametrize("name", ["qil", "lq-nets", "qn"])
def test_methods_for_positive_values_refuse_others(name: str) -> None:
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.ReLU(),
                        nn.Conv2d(4, 2, 3))  # fmt: skip
    of = spec(name, 2)
    with pytest.raises(QuantizationError, match="is defined for values from 0 on, behind a ReLU"):
        prepare(net, of, (torch.rand(4, 1, 8, 8),))


@pytest.mark.network
@pytest.mark.parametrize("name", ["lsq+", "pact", "apot", "uniform"])
def test_functions_with_negative_values(name: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.SiLU(), nn.Conv2d(4, 4, 3), nn.Tanh(),
                        nn.Conv2d(4, 2, 3)).double()  # fmt: skip
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    model = trained(prepare(net, spec(name, 3, wide_head=False), (x,)), x)
    assert equal(model, x)
    silu, tanh = (p.name for p in model.plan.layers[1:3])
    silu, tanh = (model.quant_module(n).grid.levels for n in (silu, tanh))
    assert silu.min < 0
    assert tanh.min == -tanh.max


@pytest.mark.network
@pytest.mark.parametrize("width", [2, 4])
def test_the_offset_of_lsq_plus_is_learned_and_deployed(width: int) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.SiLU(),
                        nn.Conv2d(4, 4, 3, padding=1), nn.SiLU(),
                        nn.Conv2d(4, 2, 3)).double()  # fmt: skip
    x = torch.rand(4, 1, 8, 8, dtype=torch.float64)
    model = prepare(net, spec("lsq+", width, wide_head=False), (x,))
    layers = [model.quant_module(p.name) for p in model.plan.layers[1:3]]
    for start in (-1.4, -(2.0 ** (width - 1)), 0.0):
        for layer in layers:
            layer.out_quantizer.offset.data.fill_(start)
            window = layer.out_quantizer.window
            assert (window.min, len(window.values)) == (round(start), 2**width)
        assert equal(model, x)
        for layer in layers:
            found = model.levels(x)[layer.plan.name].levels.unique()
            assert set(found.tolist()) <= set(layer.out_quantizer.window.values)
    before = [layer.out_quantizer.offset.item() for layer in layers]
    assert equal(trained(model, x), x)
    assert [layer.out_quantizer.offset.item() for layer in layers] != before


def saturating(method: str, function: nn.Module) -> tuple[QuantLayer, Tensor, Tensor, Tensor]:
    """A layer behind ``function`` many of whose results its quantizer clips: the layer, its levels
    with their gradient, the real results in levels, and the scale of these."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 1, 1), function, nn.Conv2d(1, 2, 1)).double()
    nn.init.ones_(net[0].weight)
    nn.init.zeros_(net[0].bias)
    x = torch.linspace(-3, 3, 64, dtype=torch.float64).view(1, 1, 8, 8)
    model = prepare(net, spec(method, 2, wide_head=False), (x,))
    layer = model.quant_module(model.plan.layers[1].name)
    layer.out_quantizer.log_scale.data.sub_(1)
    levels = model.train().levels(x)[layer.plan.name].levels
    with torch.no_grad():
        inputs = [model.levels(x)[model.plan.layers[0].name]]
        a = layer.arithmetic([inputs[0].scale])
        y = a.requantization(layer.sums(a, inputs), a.bias, a.step, a.y_scale)
        real = function(y * a.y_scale) / a.out_scale
    return layer, levels, real, a.out_scale


def test_the_gradient_of_the_offset_is_that_of_values_outside() -> None:
    layer, levels, real, _ = saturating("lsq+", nn.SiLU())
    quantizer = layer.out_quantizer
    upstream = torch.randn(levels.shape, dtype=torch.float64)
    (g,) = torch.autograd.grad((levels * upstream).sum(), quantizer.offset)
    outside = (real < quantizer.window.min) | (real > quantizer.window.max)
    assert 0 < int(outside.sum()) < outside.numel()
    wanted = (upstream * outside).sum() * quantizer.gradient_factor
    assert torch.allclose(g, wanted)


def test_the_clip_of_pact_behind_other_functions() -> None:
    layer, levels, real, scale = saturating("pact", nn.Sigmoid())
    quantizer = layer.out_quantizer
    upstream = torch.randn(levels.shape, dtype=torch.float64)
    (g,) = torch.autograd.grad((levels * upstream).sum(), quantizer.log_scale)
    clipped = real > quantizer.grid.max
    assert 0 < int(clipped.sum()) < clipped.numel()
    # of the levels: the real value's, over the scale
    of_real = (upstream * clipped).sum() * quantizer.grid.max / scale
    wanted = of_real + PENALTY * quantizer.grid.max**2 * scale
    assert torch.allclose(g, wanted * scale * math.log(2) * quantizer.gradient_factor)


def test_formats_of_any_levels() -> None:
    native = LevelFormat((0, 1, 2, 3, 6, 8, 12, 16))
    model, x = prepared(
        QuantSpec(
            weight_format=native,
            act_format=EsbFormat(2, 1, False),
            radix_bits=2,
            weight_method="apot",
            weight_bits=3,
            act_method="pact",
            act_bits=2,
        )
    )
    layer = model.quant_module("relu_2")
    assert (layer.weight_factor, layer.terms[0]) == (3, 1)
    assert (layer.grid.planes, layer.grid.zero) == (1, 0)
    assert equal(trained(model, x), x)


def test_soft_staircases_train_and_hard_ones_deploy() -> None:
    model, x = prepared(spec("qn", 2))
    staircases = [m for m in model.modules() if isinstance(m, QuantizationNetwork)]
    assert len(staircases) > 3
    model.train()
    gaps = []
    for temperature in (2.0, 20.0, 2000.0):
        for staircase in staircases:
            staircase.temperature.fill_(temperature)
        soft = model.train().levels(x)["relu_2"].levels
        hard = model.eval().levels(x)["relu_2"].levels
        gaps.append(float((soft - hard).detach().abs().mean()))
    assert gaps[0] > gaps[1] > gaps[2]


FINE = QuantSpec(
    weight_format=EsbFormat(8, 5), act_format=EsbFormat(8, 6), residual_terms=2,
    first_last_terms=1, acc_bits=32, weight_scale="mse",
)  # fmt: skip


def test_batch_statistics_are_those_of_the_float_model() -> None:
    torch.manual_seed(0)
    net, x = Net().double().train(), batch()
    for norm in (net.n, net.m):
        norm.momentum = 1.0
    net(x)  # calibration then sees what training sees
    model = prepare(net, FINE, (x,))
    for norm in (net.n, net.m):
        norm.momentum = 0.1
    with torch.no_grad():
        for values in (net.get_buffer, model.parameter_of):
            values("n.running_mean").add_(0.2)
            values("n.running_var").mul_(1.5)
            values("m.running_var").mul_(0.7)
    model.train()
    model.use_batch_statistics(True)
    upstream = torch.randn(8, 4, dtype=torch.float64)
    wanted, got = net.train()(x), model(x)
    assert float(((wanted - got).norm() / wanted.norm()).detach()) < 0.05
    (wanted * upstream).sum().backward()
    (got * upstream).sum().backward()
    for name, parameter in net.named_parameters():
        mine = model.parameter_of(name).grad
        if name in ("a.bias", "b.bias"):  # no effect before a batch norm
            continue
        cosine = (mine * parameter.grad).sum() / (mine.norm() * parameter.grad.norm())
        assert float(cosine) > 0.85, (name, float(cosine))
        assert 0.7 < float(mine.norm() / parameter.grad.norm()) < 1.4, name
    for norm in ("n", "m"):
        for what in ("running_mean", "running_var"):
            theirs = net.get_buffer(f"{norm}.{what}")
            mine = model.parameter_of(f"{norm}.{what}")
            assert float((theirs - mine).abs().max()) < 0.02 * float(theirs.abs().max())
    assert equal(model.eval(), x)


def test_statistics_stay_unless_asked_for() -> None:
    model, x = prepared(spec("lsq", 2))
    before = model.parameter_of("n.running_var").clone()
    exact = model.train()(x)
    assert torch.equal(exact, model.eval()(x))
    assert torch.equal(model.parameter_of("n.running_var"), before)
    model.use_batch_statistics(True)
    model(x)
    assert torch.equal(model.parameter_of("n.running_var"), before), "evaluation changes nothing"
    model.train()(x)
    assert not torch.equal(model.parameter_of("n.running_var"), before)
