"""A network of pixel shuffles, mosaics, interpolation, and inputs and outputs with their channels
last, and one of attention: integer model, interpreter and RTL give the same codes in every layer,
and the cycle model the same cycles as the RTL."""

import pytest
import torch

from e2e.coverage import Coverage
from e2e.fuzz import CONFIGS, Case, Devices, check
from quant.graphs import rearranged
from quant.test_attention import encoder
from sigbit.quant import QuantSpec, convert, prepare
from sigbit_hw.arch.config import PRESETS


@pytest.mark.sim
@pytest.mark.parametrize("bits", [4, 8])
def test_rearranged(bits: int, seed: int) -> None:
    torch.manual_seed(seed)
    config, graph = CONFIGS["nano"], rearranged(seed)
    x = tuple(torch.randn(6, *n.shape, dtype=torch.float64) for n in graph.inputs)
    wide = {} if bits == 4 else {"weight_terms": 2, "act_planes": 3}
    integer = convert(prepare(graph, QuantSpec.from_arch(config, **wide), x))
    coverage = Coverage()
    case = Case(integer.graph, images=1, runs=2, data=seed, steady=True)
    check(case, config, Devices(config, seed), coverage)
    assert (coverage.networks, coverage.refused, coverage.exact_cycles) == (1, 0, 1)
    for name in ("depth to space", "space to depth", "mosaic"):
        assert coverage.counts[f"op {name}"] == 1


@pytest.mark.sim
@pytest.mark.parametrize("bits", [4, 8])
def test_encoder(bits: int, seed: int) -> None:
    """``nn.TransformerEncoder`` on a sequence."""
    torch.manual_seed(seed)
    config = PRESETS["nano"]
    x = torch.randn(4, 5, 8, dtype=torch.float64)
    wide = {} if bits == 4 else {"weight_terms": 2, "act_planes": 3}
    model = encoder().double().eval()
    integer = convert(prepare(model, QuantSpec.from_arch(config, **wide), x))
    coverage = Coverage()
    case = Case(integer.graph, images=1, runs=1, data=seed, steady=True)
    check(case, config, Devices(config, seed), coverage)
    assert (coverage.networks, coverage.refused, coverage.exact_cycles) == (1, 0, 1)
