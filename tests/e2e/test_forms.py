"""A network of pixel shuffles, mosaics, interpolation, and inputs and outputs with their channels
last: integer model, interpreter and RTL give the same codes in every layer, and the cycle model the
same cycles as the RTL."""

import pytest
import torch

from e2e.coverage import Coverage
from e2e.fuzz import CONFIGS, Case, Devices, check
from quant.graphs import rearranged
from sigbit.quant import QuantSpec, convert, prepare


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
