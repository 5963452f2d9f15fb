"""Cost of a quantized training step: ResNet-20, batch size 128, one CPU thread, compared with the
float step and with the same network in Brevitas, in one run; and of its quantization without
training, from the module to the prepared network.

Seconds are CPU seconds, and the steps of all three alternate, so that other load on the machine
matters little and affects all of them; a ratio is the median of the ratios of adjacent steps. Peak
memory is that of a process that does nothing but such steps.
"""

import importlib.util
import multiprocessing
import resource
import statistics
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from sigbit import zoo
from sigbit.quant import QuantSpec, prepare
from sigbit.quant.post import post_training
from sigbit.zoo.resnet_cifar import CifarResNet, PaddedBlock
from sigbit_tools.stopwatch import Stopwatch

BATCH, STEPS = 128, 12
BITS = 4
CALIBRATION, TIMES = 32, 4
FLOAT, OURS, BREVITAS = "float", "sigbit", "brevitas"


class _BrevitasBlock(nn.Module):
    """A residual block with quantized convolutions and activations."""

    def __init__(self, block: PaddedBlock) -> None:
        super().__init__()
        from brevitas.nn import QuantReLU

        self.conv1, self.conv2 = _convolution(block.conv1, BITS), _convolution(block.conv2, BITS)
        self.bn1, self.bn2, self._shortcut = block.bn1, block.bn2, block.shortcut
        self.inner, self.outer = QuantReLU(bit_width=BITS), QuantReLU(bit_width=BITS)

    def forward(self, x: Tensor) -> Tensor:
        y = self.bn2(self.conv2(self.inner(self.bn1(self.conv1(x)))))
        return self.outer(y + self._shortcut(x))


class _BrevitasResNet(nn.Module):
    """The network in Brevitas: weights of 4 bits per channel, 8 bits in the first and the last
    layer, activations of 4 bits with learned scales."""

    def __init__(self, network: CifarResNet) -> None:
        super().__init__()
        from brevitas.nn import QuantLinear, QuantReLU
        from brevitas.quant import Int8WeightPerChannelFloat

        self.stem = nn.Sequential(
            _convolution(network.conv1, 8), network.bn1, QuantReLU(bit_width=BITS)
        )
        stages = (network.layer1, network.layer2, network.layer3)
        blocks = [b for stage in stages for b in stage if isinstance(b, PaddedBlock)]
        self.body = nn.Sequential(*map(_BrevitasBlock, blocks))
        self.linear = QuantLinear(
            network.linear.in_features,
            network.linear.out_features,
            bias=True,
            weight_quant=Int8WeightPerChannelFloat,
        )

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(self.stem(x))
        return self.linear(F.adaptive_avg_pool2d(x, 1).flatten(1))


def _convolution(like: nn.Conv2d, bits: int) -> nn.Module:
    from brevitas.nn import QuantConv2d
    from brevitas.quant import Int8WeightPerChannelFloat

    module: nn.Module = QuantConv2d(
        like.in_channels,
        like.out_channels,
        like.kernel_size,
        stride=like.stride,
        padding=like.padding,
        bias=False,
        weight_bit_width=bits,
        weight_quant=Int8WeightPerChannelFloat,
    )
    return module


def _network(kind: str, x: Tensor) -> nn.Module:
    torch.manual_seed(0)
    network = zoo.build("resnet20")
    assert isinstance(network, CifarResNet)
    if kind == OURS:
        spec = QuantSpec(weight_scale="learned", act_scale="learned")
        return prepare(network.eval(), spec, (x[:2],), (x,)).train()
    return _BrevitasResNet(network) if kind == BREVITAS else network


def _stepper(kind: str) -> Callable[[], float]:
    """Return a function that does one training step and returns its seconds."""
    random = torch.Generator().manual_seed(0)
    x = torch.randn(BATCH, 3, 32, 32, generator=random)
    y = torch.randint(10, (BATCH,), generator=random)
    model = _network(kind, x).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-3, momentum=0.9)

    def step() -> float:
        begin = time.process_time()
        optimizer.zero_grad(set_to_none=True)
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        return time.process_time() - begin

    return step


def _peak(kind: str) -> float:
    """Mebibytes that a process needs for steps of one kind."""
    torch.set_num_threads(1)
    step = _stepper(kind)
    for _ in range(3):
        step()
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def _peaks(kinds: list[str], tell: Callable[[str, int, int], None]) -> dict[str, float]:
    """Peak memory by kind. Linux counts the peak size of a parent process as that of its child too:
    therefore this runs before any step in this process."""
    peaks = {}
    for number, kind in enumerate(kinds):
        tell("peak memory", number, len(kinds))
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            peaks[kind] = pool.submit(_peak, kind).result()
    return peaks


def speed_row(tell: Callable[[str, int, int], None]) -> dict[str, Any]:
    """The row of step times: seconds, ratios, peak memory."""
    spent = Stopwatch()
    kinds = [FLOAT, OURS]
    if importlib.util.find_spec("brevitas") is not None:
        kinds.append(BREVITAS)
    peaks, threads = _peaks(kinds, tell), torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        seconds = _seconds(kinds, tell)
        quantizing = _quantizing(tell)
    finally:
        torch.set_num_threads(threads)
    row: dict[str, Any] = {
        "group": "speed",
        "method": "esb",
        "strategy": "",
        "dataset": "random",
        "model": "resnet20",
        "accuracy": None,
        "accuracy_float": None,
        "seed": 0,
        "epochs": 0,
        "config": {"batch_size": BATCH, "steps": STEPS},
        "weight_bits": BITS,
        "act_bits": BITS,
        "threads": 1,
        "seconds_quantizing": quantizing,
        "seconds_step": {k: statistics.median(v) for k, v in seconds.items()},
        "peak_mib": peaks,
        "ratio_float": _ratio(seconds[OURS], seconds[FLOAT]),
        "ratio_brevitas": None,
    }
    if BREVITAS in seconds:
        row["ratio_brevitas"] = _ratio(seconds[OURS], seconds[BREVITAS])
        row["brevitas_float"] = _ratio(seconds[BREVITAS], seconds[FLOAT])
    return row | spent.read()


def _seconds(kinds: list[str], tell: Callable[[str, int, int], None]) -> dict[str, list[float]]:
    """CPU seconds of every step, by kind; the first two steps are not counted."""
    steppers = {kind: _stepper(kind) for kind in kinds}
    seconds: dict[str, list[float]] = {kind: [] for kind in kinds}
    for number in range(STEPS + 2):
        tell("steps", number, STEPS + 2)
        for kind, step in steppers.items():
            spent = step()
            if number >= 2:
                seconds[kind].append(spent)
    return seconds


def _quantizing(tell: Callable[[str, int, int], None]) -> float:
    """CPU seconds of post-training quantization to 8 bits on :data:`CALIBRATION` images, the least
    of several times: what else runs on the machine makes them more."""
    torch.manual_seed(0)
    network = zoo.build("resnet20").eval()
    spec = QuantSpec(weight_scale="mse", act_scale="mse", weight_terms=2, act_planes=3)
    x = torch.randn(CALIBRATION, 3, 32, 32)
    spent = []
    for number in range(TIMES):
        tell("quantizing", number, TIMES)
        begin = time.process_time()
        post_training(network, x, spec)
        spent.append(time.process_time() - begin)
    return min(spent)


def _ratio(a: list[float], b: list[float]) -> float:
    return statistics.median(x / y for x, y in zip(a, b, strict=True))
