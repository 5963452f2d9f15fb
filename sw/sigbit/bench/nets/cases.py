"""The networks of ``sigbit bench nets``: size, accelerator, weights and data of every row."""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from sigbit import zoo
from sigbit.data import Dataset, load

CALIBRATION = 32
"""Number of inputs used for calibration; they do not count for accuracy."""


@dataclass(frozen=True)
class Case:
    """One network on one accelerator.

    Parameters
    ----------
    net : str
        Name in the zoo, at its full input size.
    preset : str
        Accelerator whose shape suits the network.
    dataset, split : str
        Source of its inputs; "" if there is none, in which case they are seeded random numbers.
    checkpoint : str
        File in the folder ``checkpoints``; "" for seeded random weights.
    bits : int
        Width of weights and activations between the first and the last layer: 4 (native) or 8 (two
        terms, three planes).
    """

    net: str
    preset: str
    dataset: str = ""
    split: str = "val"
    checkpoint: str = ""
    bits: int = 4

    @property
    def weights(self) -> str:
        """ "real" or "random"."""
        return "real" if self.checkpoint else "random"


_NATIVE = (
    Case("alexnet", "mid", "imagenet"),
    Case("vgg11", "mid", "imagenet"),
    Case("resnet18", "mid", "imagenet"),
    Case("resnet50", "mid", "imagenet"),
    Case("densenet121", "mid", "imagenet"),
    Case("squeezenet1_0_caffe", "mid", "imagenet", checkpoint="squeezenet1_0.safetensors"),
    Case("mobilenet_v1", "mobile", "imagenet"),
    Case(
        "mobilenet_v1_050_160", "mobile", "imagenet", checkpoint="mobilenet_v1_050_160.safetensors"
    ),
    Case("mobilenet_v2_tf", "mobile", "imagenet", checkpoint="mobilenet_v2.safetensors"),
    Case("resnet20", "mobile", "cifar10-jpeg", "test", "resnet20_cifar10.safetensors"),
    Case("resnet8", "mobile", "cifar10-jpeg", "test", "mlperf_tiny_resnet8.safetensors"),
    Case("cifarnet", "mid", "cifar10-jpeg", "test"),
    Case("svhnnet", "mid"),
    Case("ds_cnn", "mobile", "keywords", "test", "mlperf_tiny_dscnn_kws.safetensors"),
    Case("deit_tiny", "mid", "imagenet"),
    Case("vit_32", "mobile", "cifar10-jpeg", "test"),
    Case("unet", "mid", "membrane", "test"),
    Case("unet_nearest", "mid", "membrane", "test"),
    Case("lstm", "mid", "spoken-digits", "test"),
    Case("gru", "mid", "spoken-digits", "test"),
)
_BYTES = ("squeezenet1_0_caffe", "mobilenet_v1_050_160", "mobilenet_v2_tf", "resnet20", "ds_cnn")
CASES = (*_NATIVE, *(replace(c, bits=8) for c in _NATIVE if c.net in _BYTES))
"""Networks that run through the RTL: all of them at 4 bits, some with trained weights at 8."""

_DENSE = ("resnet18", "resnet50", "vgg11", "alexnet", "squeezenet1_0_caffe", "densenet121")
_MOBILE = ("mobilenet_v1", "mobilenet_v2_tf")
_LARGE = {
    "zcu102": (*_DENSE, "unet", "deit_tiny", *_MOBILE),
    "dense": (*_DENSE, "unet"),
    "kv260": (*_DENSE, *_MOBILE),
}
MODELLED = tuple(
    Case(c.net, preset, c.dataset, c.split, c.checkpoint)
    for preset, nets in _LARGE.items()
    for c in _NATIVE
    if c.net in nets
)
"""Networks whose frames per second on the large accelerators are predicted by the cycle model."""


@dataclass(frozen=True)
class Material:
    """A network in evaluation mode with its inputs: float32 ``[N, ...]``, and their labels."""

    model: nn.Module
    calibration: NDArray[np.float32]
    inputs: NDArray[np.float32]
    labels: NDArray[np.int64] | None
    dataset: str


def material(case: Case, folder: Path | None, images: int) -> Material:
    """Weights and ``images`` inputs of ``case``; real ones are read from ``folder``."""
    torch.manual_seed(0)
    entry = zoo.entry(case.net)
    model = zoo.build(case.net).eval()
    if case.checkpoint:
        zoo.load_checkpoint(model, (folder or Path()) / "checkpoints" / case.checkpoint)
    if not case.dataset:
        shape = (CALIBRATION + images, *entry.input_shape)
        inputs = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        return Material(model, inputs[images:], inputs[:images], None, "random")
    data = load(case.dataset, case.split, folder)
    order = np.random.default_rng(0).permutation(len(data))
    seen = min(CALIBRATION, len(data) // 2)
    first, last = data.take(order[: len(data) - seen][:images]), data.take(order[-seen:])
    labels = first.labels.astype(np.int64) if case.checkpoint else None
    return Material(model, _prepare(entry, last), _prepare(entry, first), labels, data.name)


def _prepare(entry: zoo.Entry, data: Dataset) -> NDArray[np.float32]:
    return entry.preprocessing(np.asarray(data.inputs))
