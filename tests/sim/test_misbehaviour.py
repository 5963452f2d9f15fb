"""Memories that break AXI, in the native harness: never done with a wrong output, always a cause,
always recovered by a soft reset."""

from collections import Counter

import numpy as np
import pytest

from sigbit_sim.rtl.native.model import Misbehaviour
from verify.configs import CONFIGS
from verify.slaves import KINDS, opened, provoke

pytestmark = pytest.mark.sim

TRIES = {"nano": 25, "four ports": 8}
"""Tries of every kind on every port."""


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
@pytest.mark.parametrize("name", ["nano", pytest.param("four ports", marks=pytest.mark.long)])
def test_misbehaviour(name: str, kind: Misbehaviour, rng: np.random.Generator) -> None:
    outcomes: Counter[str] = Counter()
    for port in range(CONFIGS[name].ports):
        device = opened(name, port, rng)
        model = device.model
        for _ in range(TRIES[name]):
            outcomes[provoke(device, kind, port, rng)] += 1
        assert device.model is model, "the bus did not become idle after a soft reset"
        assert model.violations == []
    assert outcomes["stopped"] > 2, outcomes
