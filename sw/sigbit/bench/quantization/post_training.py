"""Post-training quantization of trained ImageNet networks on real images."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from sigbit.bench.nets.cases import CALIBRATION, CASES, Case, material
from sigbit.bench.nets.row import PRECISION, accuracy
from sigbit.quant import QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit_hw.arch.config import PRESETS
from sigbit_tools.stopwatch import Stopwatch


@dataclass(frozen=True)
class PostCase:
    """A network and its bits; ``aware``: scales of weights searched for the least error of the
    layers' results, instead of the weights'."""

    case: Case
    aware: bool

    @property
    def strategy(self) -> str:
        """How scales of weights are found."""
        return "activation-aware" if self.aware else "post-training"

    @property
    def name(self) -> str:
        """For people, and what ``--only`` looks in."""
        return f"post-training: {self.strategy} on {self.case.net}, {self.case.bits} bits"

    def digest(self, images: int) -> str:
        """What tells rows apart."""
        return f"{self.strategy} {self.case.net} {self.case.bits} {images}"


def post_cases() -> list[PostCase]:
    """The ImageNet networks with trained weights, in 4 and in 8 bits; both searches at 4."""
    trained = [case for case in CASES if case.checkpoint and case.dataset == "imagenet"]
    return [
        PostCase(c, aware) for c in trained for aware in (False, True) if c.bits == 4 or not aware
    ]


def post_row(
    post: PostCase, data: Path, images: int, tell: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Top-1 accuracy of the float and of the integer network, and how often they agree."""
    case, spent = post.case, Stopwatch()
    found = material(case, data, images)
    spec = QuantSpec.from_arch(
        PRESETS[case.preset], weight_scale="mse", act_scale="mse", **PRECISION[case.bits]
    )
    tell("quantizing", 0, 1)
    calibration = torch.from_numpy(found.calibration)
    prepared = post_training(found.model, calibration, spec, activation_aware=post.aware)
    deployed = convert(prepared)
    scores = accuracy(found, deployed, tell)
    return {
        "group": "post-training",
        "method": "esb",
        "strategy": post.strategy,
        "dataset": found.dataset,
        "model": case.net,
        "weight_bits": case.bits,
        "act_bits": case.bits,
        "accuracy": scores["accuracy_deployed"],
        "accuracy_float": scores["accuracy_float"],
        "agreement": scores["agreement"],
        "seed": 0,
        "epochs": 0,
        "test_samples": scores["accuracy_images"],
        "config": {
            "checkpoint": case.checkpoint,
            "preset": case.preset,
            "calibration": CALIBRATION,
        },
        "digest": post.digest(images),
        **spent.read(),
    }
