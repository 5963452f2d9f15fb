"""Training on real digits: reproducible, and as accurate deployed as prepared."""

import copy

import pytest
import torch
from torch import nn

from sigbit.data import Split, load_digits
from sigbit.quant import IntegerModel, PreparedModel, QuantSpec, convert, prepare
from sigbit.training import Progress, Schedule, TrainingError, accuracy, predict, train
from sigbit.zoo import DigitsResNet
from sigbit_hw.arch.config import PRESETS


@pytest.fixture(scope="module")
def digits() -> Split:
    return load_digits()


@pytest.fixture(scope="module")
def trained(digits: Split) -> nn.Module:
    torch.manual_seed(0)
    model = DigitsResNet()
    train(model, digits.train_x, digits.train_y, Schedule(epochs=16))
    return model


def quantized(model: nn.Module, digits: Split, epochs: int, **changes: str) -> PreparedModel:
    spec = QuantSpec.from_arch(PRESETS["nano"], input_range=digits.input_range, **changes)
    prepared = prepare(model, spec, (digits.train_x[:2],), (digits.train_x[:256],))
    train(prepared, digits.train_x, digits.train_y, Schedule(epochs=epochs, lr=1e-3))
    return prepared


def identical(a: IntegerModel, b: IntegerModel) -> bool:
    left, right = a.state_dict(), b.state_dict()
    return (
        left.keys() == right.keys()
        and all(torch.equal(left[k], right[k]) for k in left)
        and [n.type for n in a.graph.nodes] == [n.type for n in b.graph.nodes]
    )


def test_split_is_fixed_and_disjoint(digits: Split) -> None:
    again = load_digits()
    assert torch.equal(digits.test_x, again.test_x)
    assert (len(digits.train_x), len(digits.test_x)) == (1437, 360)
    assert len(set(digits.test_y.tolist())) == 10
    assert float(digits.train_x.min()) == 0
    assert float(digits.train_x.max()) == 1
    train_images = {x.numpy().tobytes() for x in digits.train_x}
    assert not any(x.numpy().tobytes() in train_images for x in digits.test_x)


@pytest.mark.parametrize(
    "rules", [{}, {"weight_scale": "learned", "act_scale": "learned"}], ids=["dda", "learned"]
)
def test_four_bits_reach_the_accuracy(
    trained: nn.Module, digits: Split, rules: dict[str, str]
) -> None:
    assert accuracy(trained, digits.test_x, digits.test_y) >= 0.98
    prepared = quantized(trained, digits, 8, **rules)
    integer = convert(prepared)
    expected, stored = prepared.stored(digits.test_x), integer.stored(digits.test_x)
    assert all(torch.equal(expected[k], stored[k]) for k in stored)
    assert torch.equal(
        predict(prepared, digits.test_x).argmax(1), predict(integer, digits.test_x).argmax(1)
    )
    assert accuracy(integer, digits.test_x, digits.test_y) >= 0.97


def test_the_same_seed_gives_the_same_network(digits: Split) -> None:
    torch.manual_seed(0)
    model = DigitsResNet()
    first, second = (convert(quantized(copy.deepcopy(model), digits, 1)) for _ in range(2))
    assert identical(first, second)
    assert not identical(first, convert(quantized(model, digits, 2)))


def test_state_survives_saving(digits: Split, seed: int) -> None:
    torch.manual_seed(seed)
    prepared = quantized(DigitsResNet(), digits, 1, act_scale="learned")
    spec = prepared.spec
    fresh = prepare(DigitsResNet(), spec, (digits.train_x[:2],), (digits.train_x[:16],))
    fresh.load_state_dict(prepared.state_dict())
    assert identical(convert(prepared), convert(fresh))


def test_progress_and_errors(digits: Split) -> None:
    steps: list[Progress] = []
    model = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    config = Schedule(epochs=2, batch_size=500)
    train(model, digits.train_x, digits.train_y, config, steps.append)
    assert [(p.step, p.steps, p.epoch, p.epochs) for p in steps] == [
        (1, 4, 1, 2),
        (2, 4, 1, 2),
        (3, 4, 2, 2),
        (4, 4, 2, 2),
    ]
    assert steps[-1].loss < steps[0].loss
    assert not model.training
    with pytest.raises(TrainingError, match="batch_size 2000 is larger"):
        train(model, digits.train_x, digits.train_y, Schedule(epochs=1, batch_size=2000))
    with pytest.raises(TrainingError, match="lower the learning rate"):
        train(model, digits.train_x * torch.inf, digits.train_y, config)
