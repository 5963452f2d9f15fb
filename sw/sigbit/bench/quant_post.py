"""Post-training quantization of trained ImageNet networks on real images."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from sigbit.bench.cases import CALIBRATION, CASES, Case, material
from sigbit.bench.nets import PRECISION, accuracy
from sigbit.quant import QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit_hw.arch.config import PRESETS


def post_cases() -> list[Case]:
    """The ImageNet networks with trained weights, in 4 and in 8 bits."""
    return [case for case in CASES if case.checkpoint and case.dataset == "imagenet"]


def post_name(case: Case) -> str:
    """For people, and what ``--only`` looks in."""
    return f"post-training: {case.net}, {case.bits} bits"


def post_digest(case: Case, images: int) -> str:
    """What tells rows apart."""
    return f"post-training {case.net} {case.bits} {images}"


def post_row(
    case: Case, data: Path, images: int, tell: Callable[[str, int, int], None]
) -> dict[str, Any]:
    """Top-1 accuracy of the float and of the integer network, and how often they agree."""
    found = material(case, data, images)
    spec = QuantSpec.from_arch(
        PRESETS[case.preset], weight_scale="mse", act_scale="mse", **PRECISION[case.bits]
    )
    tell("quantizing", 0, 1)
    deployed = convert(post_training(found.model, torch.from_numpy(found.calibration), spec))
    scores = accuracy(found, deployed, tell)
    return {
        "group": "post-training",
        "method": "esb",
        "strategy": "post-training",
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
        "digest": post_digest(case, images),
    }
