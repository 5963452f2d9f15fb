"""Prepared model, integer model and integer graph hold the same integers in every tensor."""

import zlib
from collections.abc import Callable
from dataclasses import replace
from functools import cache

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.frontend import import_model
from sigbit.ir.floating import FloatGraph
from sigbit.ir.integer import Conv
from sigbit.quant import QuantSpec, convert, prepare
from sigbit.zoo import DigitsResNet
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.formats import EsbFormat


class Classic(nn.Module):
    """Pooling before and after ReLU, a flattened image, hidden linear layers, ReLU6."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 5, padding=2), nn.Conv2d(6, 8, 3, stride=2)
        self.c, self.d = nn.Linear(8 * 9, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(F.max_pool2d(self.a(x), 2))
        x = F.max_pool2d(F.relu6(self.b(x)), 3, 1, 1)
        return self.d(F.relu(self.c(x.flatten(1))))


class Odd(nn.Module):
    """Plain sums, batch norm on a tensor, linear bottlenecks, averages, outputs, a shared layer."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.c = (
            nn.Conv2d(2, 4, 3, padding=1),
            nn.Conv2d(4, 4, 1),
            nn.Conv2d(4, 4, 3, padding=1),
        )
        self.n, self.m, self.out = (
            nn.BatchNorm2d(4),
            nn.BatchNorm2d(4),
            nn.Conv2d(4, 3, 3, padding=1),
        )

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = self.a(x)  # negative values: read twice, so it is stored
        z = F.relu(self.b(y))
        s = y + z
        t = F.relu(self.n(s))
        u = F.relu(self.m(self.c(t) + t) + s)
        v = F.avg_pool2d(self.b(u), 2, 1, 1) + F.avg_pool2d(u, 2, 1, 1)
        return self.out(F.avg_pool2d(v, 2)), (u + u).mean((2, 3))


NETS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "digits": (lambda: DigitsResNet(8), (1, 8, 8)),
    "classic": (Classic, (3, 16, 16)),
    "odd": (Odd, (2, 7, 7)),
    "pooled input": (
        lambda: nn.Sequential(nn.MaxPool2d(2), nn.Conv2d(2, 3, 3), nn.Flatten(), nn.Linear(3, 4)),
        (2, 6, 6),
    ),
    "vector": (
        lambda: nn.Sequential(nn.Linear(9, 7), nn.BatchNorm1d(7), nn.ReLU(), nn.Linear(7, 3)),
        (9,),
    ),
}
SPECS = {
    "default": QuantSpec(),
    "learned": QuantSpec(weight_scale="learned", act_scale="learned", wide_head=False),
    "mse per tensor": QuantSpec(weight_scale="mse", act_scale="dda", per_channel=False),
    "nonuniform": QuantSpec(act_format=EsbFormat(4, 1), residual_terms=3),
    "bytes": QuantSpec(
        weight_format=EsbFormat(8, 5),
        act_format=EsbFormat(8, 6),
        radix_bits=3,
        residual_terms=1,
        first_last_terms=1,
        acc_bits=32,
    ),
    "bytes of one digit": QuantSpec(
        weight_format=EsbFormat(8, 6), act_format=EsbFormat(8, 6), radix_bits=7, acc_bits=32
    ),
    "two bits, unsigned": QuantSpec(
        weight_format=EsbFormat(2, 0), act_format=EsbFormat(2, 1, False), radix_bits=2
    ),
    "powers of two": QuantSpec(
        weight_format=EsbFormat(4, 0), act_format=EsbFormat(4, 2), acc_bits=28
    ),
    "ternary": QuantSpec.from_arch(
        PRESETS["nano"], weight_format=EsbFormat(2, 0), residual_terms=3
    ),
}


def network(name: str, dtype: torch.dtype = torch.float64) -> tuple[nn.Module, Tensor]:
    """A network with random batch norms, and images of both signs where its input is no picture."""
    make, shape = NETS[name]
    model = make().to(dtype)
    for module in model.modules():
        if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)):
            with torch.no_grad():
                module.running_mean.uniform_(-0.3, 0.3)
                module.running_var.uniform_(0.3, 2)
                module.weight.uniform_(-1.5, 1.5)
                module.bias.uniform_(-0.5, 0.5)
    x = (
        torch.rand(16, *shape, dtype=dtype)
        if name == "digits"
        else torch.randn(16, *shape, dtype=dtype)
    )
    return model, x


def disturb(model: nn.Module, x: Tensor) -> None:
    """A few training steps with a high rate, so that nothing is where calibration left it."""
    optimizer = torch.optim.SGD(model.parameters(), lr=0.02)
    for _ in range(2):
        outputs = model(x)
        loss = sum(
            o.square().mean() for o in (outputs if isinstance(outputs, tuple) else (outputs,))
        )
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()


@cache
def imported(name: str, dtype: torch.dtype) -> tuple[FloatGraph, Tensor]:
    """A network's graph, and samples."""
    torch.manual_seed(zlib.crc32(name.encode()))
    model, x = network(name, dtype)
    return import_model(model, (x[:2],)), x


CASES = [(spec, torch.float64) for spec in SPECS] + [
    ("default", torch.float32),
    ("learned", torch.float32),
]


@pytest.mark.parametrize(("spec_name", "dtype"), CASES, ids=str)
@pytest.mark.parametrize("name", NETS)
def test_every_tensor_is_equal(name: str, spec_name: str, dtype: torch.dtype, seed: int) -> None:
    graph, x = imported(name, dtype)
    torch.manual_seed(seed)
    prepared = prepare(graph, SPECS[spec_name], (x,))
    disturb(prepared, x)
    integer = convert(prepared)
    fresh = torch.cat([x, torch.randn_like(x) * 2])
    expected, outputs = prepared.stored(fresh), prepared(fresh)
    stored = integer.stored(fresh)
    evaluated = integer.graph.evaluate({i.name: stored[i.name] for i in integer.graph.inputs})
    assert list(expected) == list(stored) == list(evaluated)
    for tensor in expected:
        assert torch.equal(expected[tensor], stored[tensor]), tensor
        assert torch.equal(stored[tensor], evaluated[tensor]), tensor
    deployed = integer(fresh)
    for a, b in zip(
        *((o if isinstance(o, tuple) else (o,)) for o in (outputs, deployed)), strict=True
    ):
        assert torch.equal(a, b)
    assert any(len(v.unique()) > 3 for v in stored.values())


@pytest.mark.parametrize("name", NETS)
def test_eight_bits_follow_the_float_model(name: str, seed: int) -> None:
    torch.manual_seed(seed)
    model, x = network(name)
    prepared = prepare(model, SPECS["bytes"], (x,))
    want, got = model.eval()(x), prepared(x)
    for a, b in zip(*((o if isinstance(o, tuple) else (o,)) for o in (want, got)), strict=True):
        assert a.shape == b.shape
        assert float(((a - b).norm() / a.norm()).detach()) < 0.06


def test_residuals_are_sources_and_averages_are_ones(seed: int) -> None:
    torch.manual_seed(seed)
    model, x = network("digits")
    graph = convert(prepare(model, QuantSpec(), (x,))).graph
    layers = {n.name: n for n in graph.nodes if isinstance(n, Conv)}
    assert [n.kind for n in layers.values()] == ["conv"] * 7 + ["avgpool", "linear"]
    identity, projection = layers["block1.relu_2"].sources[1], layers["block2.relu_2"].sources[1]
    assert (identity.groups, identity.terms, identity.weights.shape) == (8, 2, (8, 1, 1, 1))
    assert (projection.groups, projection.terms, projection.stride) == (1, 2, (2, 2))
    assert (layers["pool"].sources[0].weights == 1).all()
    assert [s.terms for n in ("stem.2", "classifier") for s in layers[n].sources] == [2, 2]
    assert layers["block1.relu"].sources[0].terms == 1
    assert (graph["stem.2"].type.zero, graph["stem.2"].type.planes) == (7, 1)
    assert (
        graph["pool"].type.planes,
        graph["classifier"].type.planes,
        graph["classifier"].type.zero,
    ) == (3, 3, 0)
    odd = convert(prepare(*(lambda m, x: (m, QuantSpec(), (x,)))(*network("odd")))).graph
    sums = [n for n in odd.nodes if isinstance(n, Conv) and n.kind == "add"]
    assert any(len(n.sources) == 2 and all(s.groups == 4 for s in n.sources) for n in sums)


def test_gradients_reach_every_parameter(seed: int) -> None:
    torch.manual_seed(seed)
    model, x = network("digits")
    prepared = prepare(model, SPECS["learned"], (x,))
    prepared(x).square().mean().backward()
    missing = [
        n
        for n, p in prepared.named_parameters()
        if p.grad is None or not bool(p.grad.abs().sum() > 0)
    ]
    assert not missing
    assert sum("log_scale" in n for n, _ in prepared.named_parameters()) == 8 + 7, (
        "weights, tensors"
    )


def test_gradients_are_those_of_the_float_model_at_eight_bits(seed: int) -> None:
    torch.manual_seed(seed)
    model, x = network("digits")
    prepared = prepare(model, replace(SPECS["bytes"], act_scale="range"), (x,))
    target = torch.randn(16, 10, dtype=torch.float64)
    (prepared(x) * target).sum().backward()
    (model.eval()(x) * target).sum().backward()
    got = dict(prepared.named_parameters())
    for name, parameter in model.named_parameters():
        key = "value_" + name.replace("_", "__").replace(".", "_")
        cosine = F.cosine_similarity(parameter.grad.flatten(), got[key].grad.flatten(), dim=0)
        assert float(cosine) > 0.9, name
        assert 0.8 < float(got[key].grad.norm() / parameter.grad.norm()) < 1.25, name


def test_networks_without_parameters(seed: int) -> None:
    torch.manual_seed(seed)
    x = torch.rand(4, 2, 8, 8)
    prepared = prepare(nn.Sequential(nn.AvgPool2d(2), nn.MaxPool2d(2)), QuantSpec(), (x,))
    integer = convert(prepared)
    stored = integer.stored(x)
    assert all(torch.equal(v, stored[k]) for k, v in prepared.stored(x).items())
    assert float((integer(x) - F.max_pool2d(F.avg_pool2d(x, 2), 2)).abs().max()) < 0.1
