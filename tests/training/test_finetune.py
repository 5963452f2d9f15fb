"""Fine-tuning from post-training quantization: nearer to the float network, exact, refused by
name."""

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from quant.strategies.harness import data, graph
from sigbit.errors import TrainingError
from sigbit.frontend import import_model
from sigbit.quant import PreparedModel, QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit.training.finetune import FineTuning, fine_tune

X, Y = (torch.cat(part) for part in zip(*data(8), strict=True))
SPEC = QuantSpec(
    input_range=(0.0, 1.0), weight_scale="learned", act_scale="learned", first_last_terms=1
)
SETTINGS = FineTuning(epochs=6, lr=1e-3, batch_size=16)


@pytest.fixture(scope="module")
def start() -> PreparedModel:
    return post_training(graph(), X, SPEC)


def same(a: PreparedModel, b: PreparedModel) -> bool:
    return all(torch.equal(v, b.state_dict()[k]) for k, v in a.state_dict().items())


def test_the_network_learns_without_labels_and_converts_exactly(start: PreparedModel) -> None:
    before = {k: v.clone() for k, v in start.state_dict().items()}
    done: list[tuple[str, int, int]] = []
    found = fine_tune(start, graph(), X, SETTINGS, tell=lambda *at: done.append(at))
    assert found.after.error < found.before.error
    assert found.kept == found.after.beats(found.before)
    assert done[-1] == ("fine-tuning", 6 * 6, 6 * 6)
    assert all(torch.equal(v, before[k]) for k, v in start.state_dict().items())
    assert not found.prepared.training
    assert torch.equal(convert(found.prepared)(X), found.prepared(X))
    again = fine_tune(start, graph(), X, SETTINGS)
    assert same(found.prepared, again.prepared)


def test_labels_count_if_they_are_wanted(start: PreparedModel) -> None:
    labels = Y.numpy()
    alone = fine_tune(start, graph(), X, SETTINGS, labels=labels)
    assert same(alone.prepared, fine_tune(start, graph(), X, SETTINGS).prepared)
    wanted = FineTuning(epochs=6, lr=1e-3, batch_size=16, labels=True)
    taught = fine_tune(start, graph(), X, wanted, labels=labels)
    assert taught.after != alone.after


def test_what_does_not_help_is_not_kept(start: PreparedModel) -> None:
    found = fine_tune(start, graph(), X, FineTuning(epochs=2, lr=1.0))
    assert not found.kept
    assert found.prepared is start


class Two(nn.Module):
    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        y = x.relu()
        return y, y.mean((2, 3))


def test_refusals(start: PreparedModel) -> None:
    two = import_model(Two(), X)
    with pytest.raises(TrainingError, match="Two has 2 outputs: cut it to one"):
        fine_tune(start, two, X, SETTINGS)
    with pytest.raises(TrainingError, match=r"at least 2 samples.*not 1"):
        fine_tune(start, graph(), X[:1], SETTINGS)
    labelled = FineTuning(epochs=1, labels=True)
    with pytest.raises(TrainingError, match="one label for each sample"):
        fine_tune(start, graph(), X, labelled)
    with pytest.raises(TrainingError, match=r"labels of a sample have shape \[3\]"):
        fine_tune(start, graph(), X, labelled, labels=np.zeros((len(X), 3), np.int64))
    with pytest.raises(TrainingError, match="epochs of a fine-tuning must be at least 1, not 0"):
        FineTuning(epochs=0)
