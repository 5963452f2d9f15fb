"""Attention and norms over features: the float graph is the network, prepared and converted models
and the interpreter agree in every code, and the error against float is that of 8 bits."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit.compiler import compile_graph
from sigbit.frontend import UnsupportedModel, import_model
from sigbit.ir.integer import Constant, Matmul
from sigbit.quant import IntegerModel, PreparedModel, QuantSpec, convert, prepare
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.interp.device import Interp

pytestmark = pytest.mark.network

NANO = PRESETS["nano"]
WIDE = {"weight_terms": 2, "act_planes": 3}


class Attention(nn.Module):
    """Self-attention of two heads, as most networks write it."""

    def __init__(self, width: int = 8, *, causal: bool = False, mask: Tensor | None = None) -> None:
        super().__init__()
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.causal, self.mask = causal, mask

    def heads(self, x: Tensor) -> Tensor:
        samples, steps, width = x.shape
        return self.qkv(x).reshape(samples, steps, 3, 2, width // 2).permute(2, 0, 3, 1, 4)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x)
        y = F.scaled_dot_product_attention(q, k, v, self.mask, is_causal=self.causal)
        return self.out(y.transpose(1, 2).flatten(2))


class Plain(Attention):
    """The same in single operations."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x).unbind(0)
        scores = (q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1)
        return self.out((scores.softmax(-1) @ v).transpose(1, 2).flatten(2))


class Cross(nn.Module):
    """Attention of one head from pixels to a few constant queries, by bmm."""

    def __init__(self) -> None:
        super().__init__()
        self.keys, self.queries = nn.Conv2d(3, 4, 2, 2), nn.Conv2d(3, 4, 4, 4)

    def forward(self, x: Tensor) -> Tensor:
        k = self.keys(x).flatten(2)
        q = self.queries(x).flatten(2).transpose(1, 2)
        return torch.bmm(torch.softmax(torch.bmm(q, k), 2), k.transpose(1, 2))


class Tokens(nn.Module):
    """Patches, a class token, positions, a norm, and the class token's features."""

    def __init__(self) -> None:
        super().__init__()
        self.patches, self.norm = nn.Conv2d(3, 8, 2, 2), nn.LayerNorm(8)
        self.token = nn.Parameter(torch.randn(1, 1, 8))
        self.places = nn.Parameter(torch.randn(1, 7, 8))
        self.mix = Attention()

    def forward(self, x: Tensor) -> Tensor:
        x = self.patches(x).flatten(2).transpose(1, 2)
        x = torch.cat([self.token.expand(len(x), -1, -1), x], 1) + self.places
        return (x + self.mix(self.norm(x)))[:, 0]


class Multihead(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.attention = nn.MultiheadAttention(8, 2, batch_first=True)

    def forward(self, x: Tensor) -> Tensor:
        found: Tensor = self.attention(x, x, x, need_weights=False)[0]
        return found


def masked() -> Attention:
    bias = torch.zeros(5, 5, dtype=torch.float64).masked_fill(torch.eye(5) > 0, -math.inf)
    return Attention(mask=bias + torch.linspace(-1, 1, 5, dtype=torch.float64))


def after_linear(norm: nn.Module) -> nn.Module:
    return nn.Sequential(nn.Linear(8, 8), norm)


def encoder() -> nn.Module:
    layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True, activation="gelu")
    return nn.TransformerEncoder(layer, 1)


SEQUENCE, IMAGE = (5, 8), (3, 4, 6)
MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float]] = {
    "attention": (Attention, SEQUENCE, 24),
    "causal": (lambda: Attention(causal=True), SEQUENCE, 24),
    "masked": (masked, SEQUENCE, 24),
    "plain": (Plain, SEQUENCE, 24),
    "cross": (Cross, (3, 4, 8), 20),
    "tokens": (Tokens, IMAGE, 20),
    "multihead": (Multihead, SEQUENCE, 24),
    "layer norm": (lambda: after_linear(nn.LayerNorm(8)), SEQUENCE, 26),
    "RMS norm": (lambda: after_linear(nn.RMSNorm(8)), SEQUENCE, 26),
}
"""Network, shape of a sample, and the least ratio of signal to error at 8 bits in dB."""


def decibels(found: Tensor, wanted: Tensor) -> float:
    error = (found - wanted).square().sum()
    return float(10 * torch.log10(wanted.square().sum() / error))


def network(name: str, seed: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(seed)
    make, shape, _ = MODELS[name]
    return make().double().eval(), torch.randn(8, *shape, dtype=torch.float64)


def agree(prepared: PreparedModel, x: Tensor) -> IntegerModel:
    """Compare all codes of the prepared model, its integer model and the interpreter."""
    model = convert(prepared)
    stored, levels = prepared.stored(x), model.stored(x)
    for name, value in stored.items():
        assert torch.equal(value, levels[name]), name
    program = compile_graph(model.graph, NANO)
    given = {n.name: levels[n.name][:1].numpy() for n in model.graph.inputs}
    result = Interp(NANO, strict=True).run(program, given, layers=True)
    assert result.layers
    for name, got in [*result.layers.items(), *result.outputs.items()]:
        assert np.array_equal(got, levels[name][:1].numpy()), name
    return model


def all_agree(model: nn.Module, x: Tensor, least: float) -> list[IntegerModel]:
    """The integer models of 4 and of 8 bits, which all others agree with; the latter at least
    ``least`` decibels from the float model."""
    graph = import_model(model, (x[:2],))
    with torch.no_grad():
        wanted = model(x)
        found = graph.results({graph.inputs[0].name: x})[0].reshape(wanted.shape)
    assert torch.allclose(found, wanted, atol=1e-4)  # masked keys keep exp(-16)
    narrow, wide = (prepare(graph, QuantSpec.from_arch(NANO, **more), (x,)) for more in ({}, WIDE))
    with torch.no_grad():
        got = wide(x).reshape(wanted.shape)
    assert decibels(got, wanted) >= least
    return [agree(prepared, x) for prepared in (narrow, wide)]


@pytest.mark.parametrize("name", MODELS)
def test_codes_agree(name: str, seed: int) -> None:
    for integer in all_agree(*network(name, seed), MODELS[name][2]):
        products = sum(isinstance(n, Matmul) for n in integer.graph.nodes)
        assert products or "norm" in name


def test_training_keeps_codes_equal(seed: int) -> None:
    """Gradients reach all parameters, positions and tokens too; masks are not trained."""
    model, x = network("tokens", seed)
    prepared = prepare(import_model(model, (x[:2],)), QuantSpec.from_arch(NANO, **WIDE), (x,))
    prepared.train()
    optimizer = torch.optim.SGD(prepared.parameters(), 1e-3)
    prepared(x).square().mean().backward()
    values = {n: p for n, p in prepared.named_parameters() if n.startswith("value_")}
    assert all(p.grad is not None and bool(p.grad.any()) for p in values.values())
    optimizer.step()
    prepared.eval()
    integer = agree(prepared, x)
    assert sum(isinstance(n, Constant) for n in integer.graph.nodes) > 2


def test_masks_are_fixed(seed: int) -> None:
    model, x = network("causal", seed)
    prepared = prepare(import_model(model, (x[:2],)), QuantSpec.from_arch(NANO), (x,))
    assert not any("keep" in n or "mask" in n for n, _ in prepared.named_parameters())


@pytest.mark.parametrize(
    ("forward", "reason"),
    [
        (lambda x: x @ x.reshape(8, 2, 5).transpose(0, 1), "mixes the samples"),
        (lambda x: x.softmax(0) @ torch.ones(8, 8), "a softmax over the samples"),
        (lambda x: F.layer_norm(x, (5, 8)), "over 2 dimensions"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, x @ x.mT), "a mask that the network"),
        (lambda x: F.scaled_dot_product_attention(x, x, x, dropout_p=0.5), "dropout"),
    ],
)
def test_refused_by_name(forward: Callable[[Tensor], Tensor], reason: str) -> None:
    class Refused(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return forward(x)

    with pytest.raises(UnsupportedModel, match=reason):
        import_model(Refused(), (torch.randn(2, *SEQUENCE),))
