"""Every convolution of the product has row-major operands, whatever network and images it is given:
recorded below autograd, where torch chooses oneDNN's memory layout, forwards and backwards."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from sigbit.bench.quantization.rates import output_error
from sigbit.errors import TrainingError
from sigbit.quant import QuantSpec, convert, prepare
from sigbit.quant.post import plain_rounding, post_training, transform_quantize
from sigbit.quant.quantizers import widen
from sigbit.quant.strategies.attacks import fgsm, robust_accuracy
from sigbit.quant.strategies.distillation import Distillation
from sigbit.quant.strategies.jarn import Jarn
from sigbit.training import Machine
from sigbit.training.loop import Loop, accuracy, evaluate, predict
from sigbit.training.samples import TensorSamples
from sigbit.training.schedule import Schedule
from training.configs import digits, started

LAST = torch.channels_last
SCHEDULE = Schedule(epochs=1, batch_size=8)


def _row_major(x: Tensor) -> bool:
    return x.stride() == torch.empty(x.shape).stride()


def _seems_last(x: Tensor) -> bool:
    """Whether torch may take ``x`` for channels-last. The gradient of a gradient convolves
    transposed operands, which it does not."""
    return x.stride(1) == min(x.stride())


class Seen(TorchDispatchMode):
    """Counts the convolutions, and those of other layouts."""

    def __init__(self) -> None:
        super().__init__()
        self.forward, self.backward, self.others = 0, 0, 0

    def __torch_dispatch__(
        self, func: Any, types: Sequence[type], args: Any = (), kwargs: Any = None
    ) -> Any:
        name = func.__name__.partition(".")[0]
        if name in ("convolution", "convolution_backward"):
            backward = name == "convolution_backward"
            self.backward += backward
            self.forward += not backward
            operands = args[1:3] if backward else args[:2]
            self.others += any(backward or _seems_last(t) for t in operands if not _row_major(t))
        return func(*args, **(kwargs or {}))


@pytest.fixture
def seen() -> Iterator[Seen]:
    """What the test convolves from ``with seen`` on: at least once, and always row-major."""
    found = Seen()
    yield found
    assert found.forward > 0
    assert found.others == 0


class Hostile(nn.Module):
    """All that can lead to another layout: channels-last weights and images, one channel, 1x1 with
    stride 2 of four channels, a permutation on the way."""

    def __init__(self, channels: int = 1) -> None:
        super().__init__()
        self.first = nn.Conv2d(channels, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 8, 1, stride=2)
        self.third = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.head = nn.Linear(8 * 4 * 4, 4)
        self.to(memory_format=LAST)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.first(x.contiguous(memory_format=LAST)))
        x = torch.relu(self.second(x.contiguous(memory_format=LAST)))
        x = F.conv2d(x, self.third.weight, self.third.bias, padding=1, groups=8)
        return self.head(torch.relu(x).flatten(1))


def images(count: int = 16, channels: int = 1) -> Tensor:
    """Images in the order [N, H, W, C], which say so by their strides even of one channel."""
    random = torch.Generator().manual_seed(0)
    return torch.rand(count, 8, 8, channels, generator=random).permute(0, 3, 1, 2)


def samples() -> TensorSamples:
    return TensorSamples(images(), torch.arange(16) % 4, 4)


@pytest.fixture
def net() -> Hostile:
    torch.manual_seed(0)
    return Hostile().eval()


def test_the_recorder_sees_other_layouts(net: Hostile) -> None:
    """In float64, which oneDNN does not compute: in float32 this test would crash."""
    found = Seen()
    with found:
        net.double()(images().double()).sum().backward()
    assert (found.forward, found.backward) == (3, 3)
    assert found.others == 6


def test_training(net: Hostile, seen: Seen) -> None:
    loop = Loop(net, samples(), SCHEDULE)
    with seen:
        assert len([*loop]) == 2
    assert seen.backward == 6


@pytest.mark.parametrize("channels", [1, 4])
def test_training_of_quantized_networks(channels: int, seen: Seen) -> None:
    net, x = Hostile(channels).eval(), images(16, channels)
    prepared = prepare(net, QuantSpec(), (x,), (x,)).to(memory_format=LAST)
    with seen:
        assert len([*Loop(prepared, TensorSamples(x, torch.arange(16) % 4, 4), SCHEDULE)]) == 2
        convert(prepared.double())(x)
    assert seen.backward >= 6


@pytest.mark.parametrize("strategy", [Distillation, lambda: Jarn(active=0.0, every=1, base=4)])
def test_strategies(net: Hostile, seen: Seen, strategy: Callable[[], Any]) -> None:
    """Teacher, adaptor and discriminator, and the networks that they attack."""
    x = images()
    prepared, part = prepare(net, QuantSpec(), (x,), (x,)), strategy()
    with seen:
        assert len([*Loop(prepared, samples(), SCHEDULE, strategies=[part], twin=net)]) == 2
        part.measures(x, torch.arange(16) % 4)


ENTRIES: dict[str, Callable[[Hostile, Tensor], object]] = {
    "predict": predict,
    "accuracy": lambda net, x: accuracy(net, x, torch.arange(16) % 4),
    "evaluate": lambda net, x: evaluate(net, samples(), Machine()),
    "fgsm": lambda net, x: fgsm(net, x, torch.arange(16) % 4, 0.1),
    "robust_accuracy": lambda net, x: robust_accuracy(
        net, x, torch.arange(16) % 4, lambda model, images, labels: images
    ),
    "klt": lambda net, x: transform_quantize(net, x, 3, candidates=2, most_bits=4),
    "elt": lambda net, x: transform_quantize(
        net, x[:2], 3, transform="elt", candidates=2, most_bits=4, blocks=1
    ),
    "plain_rounding": lambda net, x: plain_rounding(net, x, 4),
    "widen": lambda net, x: widen(net, 1, x),
    "output_error": lambda net, x: output_error(net, net, x),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_evaluations(net: Hostile, seen: Seen, entry: str) -> None:
    with seen:
        ENTRIES[entry](net, images())


def test_calibration(net: Hostile, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the float graph; the import itself convolves nothing."""
    from sigbit.frontend import import_model

    graph = import_model(net, images())
    with seen:
        post_training(graph, images(), QuantSpec())


def test_a_run(tmp_path: Path, seen: Seen, monkeypatch: pytest.MonkeyPatch) -> None:
    """From the bundled images of one channel to the integer model."""
    from sigbit.frontend import torch_export

    real = torch.export.export

    def without_recorder(*args: Any, **kwargs: Any) -> Any:  # it traces with fake tensors
        with torch.utils._python_dispatch._disable_current_modes():
            return real(*args, **kwargs)

    monkeypatch.setattr(torch_export.torch.export, "export", without_recorder)
    config = digits(float__epochs=1, train__epochs=1, data__train_samples=64)
    run = started(config, tmp_path / "run")
    with seen:
        summary = run.finish()
    assert seen.backward > 0
    assert np.isfinite(summary["accuracy_deployed"])


def test_compiled_networks_are_refused() -> None:
    with pytest.raises(TrainingError, match=r"^the model is compiled by torch\.jit or"):
        Loop(torch.jit.script(nn.Conv2d(1, 4, 8)), samples(), SCHEDULE)
    with pytest.raises(TrainingError, match="the part '0' of the model is compiled"):
        Loop(nn.Sequential(torch.compile(nn.Conv2d(1, 4, 8))), samples(), SCHEDULE)
