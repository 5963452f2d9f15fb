"""The study's recipes are configurations that the training takes."""

import pytest
import torch

from quant.graphs import lstm
from quant.strategies.harness import Training, data, twin
from sigbit.quant import QuantSpec, prepare
from sigbit.quant.strategies import strategies
from sigbit.quant.strategies.study import RECIPES, configurations
from sigbit.training.config import RunConfig


def test_all_runs_are_configurations() -> None:
    runs = dict(configurations())
    assert len(runs) == 3 * 3 * 7
    for table in runs.values():
        config = RunConfig.from_table(table)
        assert config.quantizer.act_bits == 8
        assert len(strategies(table["strategies"])) == (config.quantizer.weights == "inq")


def test_the_twin_is_shared_by_all_bits_of_a_seed() -> None:
    runs = [RunConfig.from_table(t) for _, t in configurations(seeds=(0,))]
    assert len({r.twin_digest for r in runs}) == len(RECIPES) == 3
    assert len({r.digest for r in runs}) == len(runs)


@pytest.mark.parametrize("bits", [5, 3])
def test_recurrent_networks_freeze_by_portions(bits: int) -> None:
    """Steps of a recurrence share what is frozen."""
    spec = QuantSpec(weight_method="inq", weight_bits=bits, act_method="uniform", act_bits=8)
    x = torch.rand(16, 5, 6, dtype=torch.float64)
    model = prepare(lstm(0), spec, (x,))
    training = Training(model, twin(), strategies([{"name": "incremental"}]), 4)
    y = data(1)[0][1] % 3
    losses = [float(training.step(x, y).task_loss.detach()) for _ in range(4)]
    training.finish()
    assert all(loss < 10 for loss in losses)
    assert model(x).shape == (16, 3)
