"""Products of tensors of few levels, by a table of all pairs: rounded once, equal everywhere."""

from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn

from quant.test_attention import NANO, WIDE, agree
from sigbit.frontend import import_model
from sigbit.quant import PreparedModel, QuantSpec, prepare
from sigbit.quant.numbers.grid import quantize
from sigbit.quant.plan.maxima import ALIGNED
from sigbit.quant.plan.pairs import pair_width
from sigbit.quant.plan.plans import PairPlan, SquarePlan
from sigbit.quant.spec import act_grid


class Gated(nn.Module):
    """Products of two signs, of one, of none, of numbers a channel, in a sum and before a norm."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Conv2d(3, 6, 3), nn.Conv2d(3, 6, 3)
        self.norm, self.out = nn.BatchNorm2d(6), nn.Conv2d(6, 4, 1)
        nn.init.uniform_(self.norm.weight, -2, 2)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.a(x), self.b(x)
        signed = a.tanh() * b.tanh()
        gate = a.mean((2, 3), keepdim=True).sigmoid()
        positive = a.relu() * b.sigmoid()
        mixed = self.norm(b.tanh() * a.sigmoid()) + signed * gate
        return self.out((positive + mixed).relu() + signed)


def gated(seed: int, **fields: object) -> tuple[PreparedModel, Tensor]:
    torch.manual_seed(seed)
    model, x = Gated().double().eval(), torch.randn(6, 3, 6, 7, dtype=torch.float64)
    spec = QuantSpec.from_arch(NANO, **fields)
    return prepare(import_model(model, (x[:2],)), spec, (x,)), x


def test_products_are_rounded_once(seed: int) -> None:
    prepared, x = gated(seed)
    pairs = [p for p in prepared.plan.layers if isinstance(p, PairPlan)]
    assert len(pairs) == 4
    assert {p.inner for p in pairs} == {True, False}
    assert {p.negative for p in pairs} == {0.0, 1.0}
    values = prepared.levels(x)
    for p in pairs:
        (a, b), out = (values[s.tensor] for s in p.sources), values[p.name]
        grid = prepared.quant_module(p.name).grid.levels
        real = a.levels * b.levels * (a.scale * b.scale)
        assert torch.equal(out.levels, quantize(real, out.scale.detach(), grid)), p.name
    agree(prepared, x)


def test_values_between_and_beyond_levels(seed: int) -> None:
    """Block learning reads float values in places: their own product is rounded."""
    prepared, x = gated(seed)
    values = prepared.levels(x)
    p = next(p for p in prepared.plan.layers if isinstance(p, PairPlan))
    module = prepared.quant_module(p.name)
    a, b = (values[s.tensor] for s in p.sources)
    moved = replace(a, levels=torch.where(torch.rand_like(a.levels) < 0.5, a.levels, 30.4))
    out = module([moved, b])
    real = moved.levels * b.levels * (a.scale * b.scale)
    assert torch.equal(out.levels, quantize(real, out.scale.detach(), module.grid.levels))


def test_many_levels_take_squares(seed: int) -> None:
    prepared, x = gated(seed, **WIDE)
    assert not any(isinstance(p, PairPlan) for p in prepared.plan.layers)
    assert sum(isinstance(p, SquarePlan) for p in prepared.plan.layers) == 8
    agree(prepared, x)


def test_training_reaches_both_operands(seed: int) -> None:
    prepared, x = gated(seed)
    prepared.train()
    prepared(x).square().mean().backward()
    weights = {n: p for n, p in prepared.named_parameters() if n.endswith("weight")}
    assert len(weights) >= 3
    assert all(p.grad is not None and bool(p.grad.any()) for p in weights.values())
    prepared.eval()
    agree(prepared, x)


def test_pairs_fill_a_table() -> None:
    signed, positive = (act_grid(QuantSpec.from_arch(NANO), n, 1) for n in (1.0, 0.0))
    wide = act_grid(QuantSpec.from_arch(NANO), 1.0, 2)
    assert pair_width(signed, positive) == 15
    assert pair_width(signed, wide) is None


class Below(nn.Module):
    """A softmax over many columns, those of a product."""

    def __init__(self, keys: int) -> None:
        super().__init__()
        self.keys, self.queries = nn.Linear(4, 4), nn.Linear(4, 4)
        self.count = keys

    def forward(self, x: Tensor) -> Tensor:
        scores = self.queries(x[:, :3]) @ self.keys(x[:, : self.count]).mT
        return scores.softmax(-1) @ x[:, : self.count]


@pytest.mark.parametrize("keys", [2 * ALIGNED, 3 * ALIGNED + 5])
@pytest.mark.parametrize("fields", [{}, WIDE], ids=["4 bits", "8 bits"])
def test_maxima_of_many_channels(keys: int, fields: dict[str, int], seed: int) -> None:
    """Halves that are whole slots, and a rest."""
    torch.manual_seed(seed)
    model, x = Below(keys).double().eval(), torch.randn(3, keys, 4, dtype=torch.float64)
    prepared = prepare(import_model(model, (x[:2],)), QuantSpec.from_arch(NANO, **fields), (x,))
    values = prepared.levels(x)
    below = next(p for p in prepared.plan.layers if getattr(p, "kind", "") == "below")
    scores = values[below.sources[1].tensor].levels
    assert scores.shape[1] == keys
    assert torch.equal(values[below.name].levels, scores.amax(1, keepdim=True) - scores)
    agree(prepared, x)
