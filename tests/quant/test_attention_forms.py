"""Attention and norms as networks write them: einsum, masks before a softmax, norms over groups and
channels. Float graph, prepared and converted models and the interpreter agree."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from quant.test_attention import Attention, all_agree

pytestmark = pytest.mark.network

SEQUENCE, IMAGE = (5, 8), (4, 5, 6)
CAUSAL = torch.ones(5, 5, dtype=torch.bool).tril()
ADDEND = torch.zeros(5, 5, dtype=torch.float64).masked_fill(~CAUSAL, -1e9)
COLUMN = torch.tensor([0, 0, -math.inf, 0, 0], dtype=torch.float64)
RAMP = torch.linspace(-1, 1, 5, dtype=torch.float64)


class Scores(Attention):
    """Self-attention with a mask written by hand: ``masked`` maps the scores."""

    def __init__(self, masked: Callable[[Tensor], Tensor], dim: int = -1) -> None:
        super().__init__()
        self.masked, self.dim = masked, dim

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.heads(x).unbind(0)
        scores = self.masked((q * q.shape[-1] ** -0.5) @ k.transpose(-2, -1))
        weights = scores.softmax(self.dim)
        return self.out((weights @ v).transpose(1, 2).flatten(2))


class Einsum(Attention):
    """Attention by einsum, its projections too."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(8, 3, 2, 4) / 3)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = torch.einsum("bnd,dthe->bnthe", x, self.weight).unbind(2)
        weights = (torch.einsum("bnhe,bmhe->bhnm", q, k) / 2).softmax(-1)
        y = torch.einsum("...hnm, ...mhe -> ...nhe", weights, v)
        return torch.einsum("bnhe,dhe->bnd", y, self.out.weight.view(8, 2, 4))


class Norm(nn.Module):
    def __init__(self, norm: nn.Module) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(4, 8, 3), norm
        if getattr(norm, "affine", False):
            nn.init.normal_(norm.weight, 1, 0.5)
            nn.init.normal_(norm.bias)

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = self.norm(self.conv(x))
        return y


MODELS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], float]] = {
    "added": (lambda: Scores(lambda s: s + ADDEND), SEQUENCE, 24),
    "bias and mask": (
        lambda: Scores(lambda s: (s + RAMP).masked_fill(~CAUSAL, -math.inf)),
        SEQUENCE,
        22,
    ),
    "masked twice": (
        lambda: Scores(lambda s: s.masked_fill(~CAUSAL, -1e9) + COLUMN),
        SEQUENCE,
        22,
    ),
    "where": (lambda: Scores(lambda s: torch.where(CAUSAL, s, -math.inf)), SEQUENCE, 24),
    "where not": (lambda: Scores(lambda s: torch.where(~CAUSAL, -1e9, s)), SEQUENCE, 24),
    "over queries": (lambda: Scores(lambda s: s, dim=-2), SEQUENCE, 24),
    "einsum": (Einsum, SEQUENCE, 22),
    "group norm": (lambda: Norm(nn.GroupNorm(2, 8)), IMAGE, 24),
    "instance norm": (lambda: Norm(nn.InstanceNorm2d(8, affine=True)), IMAGE, 22),
    "plain instance norm": (lambda: Norm(nn.InstanceNorm2d(8)), IMAGE, 22),
    "norm over all": (lambda: Norm(nn.GroupNorm(1, 8)), IMAGE, 24),
}
"""Network, shape of a sample, and the least ratio of signal to error at 8 bits in dB."""


def network(name: str, seed: int) -> tuple[nn.Module, Tensor]:
    torch.manual_seed(seed)
    make, shape, _ = MODELS[name]
    return make().double().eval(), torch.randn(8, *shape, dtype=torch.float64)


@pytest.mark.parametrize("name", MODELS)
def test_codes_agree(name: str, seed: int) -> None:
    all_agree(*network(name, seed), MODELS[name][2])
