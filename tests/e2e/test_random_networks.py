"""Random networks over all operations: integer model, interpreter and RTL give the same codes.

The short form is part of the test suite. ``pytest tests/e2e --hours 8 -n 0 -s`` draws for eight
hours, prints what was covered, and fails if a corner was never reached.
"""

import time
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import seed as hypothesis_seed
from hypothesis import strategies as st

from e2e.coverage import Coverage
from e2e.graphs import graphs
from sigbit.compiler import CompileError, compile_graph
from sigbit.ir.integer import Conv, IntegerGraph, MaxPool
from sigbit_hw.arch import numerics
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_sim.interp import Interp
from sigbit_sim.rtl import RtlDevice

NANO = PRESETS["nano"]
CONFIGS = {
    "nano": replace(NANO, act_slots=8192),
    "small memories": replace(NANO, name="small", act_slots=1024, weight_words=64, param_groups=16,
                              tables=4, segments=4, queue_depth=2),
    "several drained pixels": replace(NANO, name="drain", pixels=8, post_lanes=16, act_slots=8192),
    "power of two, two ports": replace(
        NANO, name="pot", weight_format=EsbFormat(4, 0), act_format=EsbFormat(4, 1), oc_lanes=8,
        act_slots=8192, acc_bits=28, bus_bits=128, ports=2),
    "linear, few bits": replace(
        NANO, name="linear", weight_format=EsbFormat(2, 0), act_format=EsbFormat(2, 0, False),
        ic_lanes=4, oc_lanes=8, term_radix_bits=2, act_slots=8192),
}
EXAMPLES = 12
"""Networks of a configuration in the short form."""
BATCH = 100
"""Networks between two looks at the clock in the long form."""


def check(graph: IntegerGraph, config: ArchConfig, images: int, device: RtlDevice,
          rng: np.random.Generator, coverage: Coverage) -> None:
    """Compile ``graph`` and compare every layer of every image on both devices."""
    try:
        program = compile_graph(graph, config, images=images)
    except CompileError:
        return
    stored = {n.name: rng.integers(n.low, n.high + 1, (images, *n.type.shape))
              for n in graph.inputs}
    golden = graph.evaluate({k: torch.from_numpy(v) for k, v in stored.items()})
    values = {name: value.numpy() for name, value in golden.items()}
    layers = {n.name for n in graph.nodes if isinstance(n, Conv | MaxPool)}
    for runner in (Interp(config, strict=True), device):
        result = runner.run(program, stored, layers=True)
        assert set(result.layers) == layers
        assert set(result.outputs) == set(graph.outputs)
        for name, got in [*result.layers.items(), *result.outputs.items()]:
            assert np.array_equal(got, values[name]), f"{runner.name}: {name}"
            coverage.codes += got.size
    for node in graph.nodes:
        if isinstance(node, Conv):
            sums = graph.accumulate(node, golden).numpy()
            params = (a[:, None, None] for a in (node.bias, node.mantissa, node.shift))
            values[f"{node.name} pre-activation"] = numerics.requantize(sums, *params)
    coverage.add(graph, program, values)


def campaign(config: ArchConfig, coverage: Coverage, examples: int, seed: int,
             device: RtlDevice) -> None:
    """Draw ``examples`` networks; a failing one is shrunk."""

    @hypothesis_seed(seed)
    @settings(max_examples=examples, deadline=None, database=None, print_blob=True,
              phases=(Phase.generate, Phase.shrink), suppress_health_check=list(HealthCheck))
    @given(graph=graphs(config), images=st.sampled_from((1, 1, 1, 2)), data=st.integers(0, 1 << 32))
    def draw(graph: IntegerGraph, images: int, data: int) -> None:
        check(graph, config, images, device, np.random.default_rng(data), coverage)

    draw()


@pytest.mark.parametrize("which", CONFIGS)
def test_random_networks(which: str, seed: int, hours: float) -> None:
    """Every configuration for its share of the time; no network differs anywhere."""
    coverage, config = Coverage(), CONFIGS[which]
    device = RtlDevice(config, latency=7, stalls=0.1, seed=seed)
    if not hours:
        campaign(config, coverage, EXAMPLES, seed, device)
        assert coverage.networks >= EXAMPLES // 2
        assert coverage.codes > 0
        return
    end = time.monotonic() + 3600 * hours / len(CONFIGS)
    while time.monotonic() < end:
        campaign(config, coverage, BATCH, seed, device)
        seed += 1
        print(f"\n{which}: {coverage.table()}")
    assert not coverage.missing, coverage.missing
