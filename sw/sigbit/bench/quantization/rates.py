"""Rate-distortion curves of weights: Transform Quantization compared with plain rounding, on the
trained float twin of the committed Fashion-MNIST configuration.

Plain rounding gives every weight of the network the same number of bits, at the step of least
squared error of its tensor. Transform Quantization may spend the same total number of bits,
including bases. Both are measured on test images that neither has seen; activations remain real.
"""

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from sigbit import zoo
from sigbit.bench.quantization.cases import QuantCase, quant_cases
from sigbit.errors import TrainingError
from sigbit.ir.convolution import row_major_convolutions
from sigbit.quant.post import collapse, plain_rounding, transform_quantize
from sigbit.quant.post.transform import Pair, Side
from sigbit.training import Machine, Splits, load_splits
from sigbit.training.loop import evaluate
from sigbit_tools.stopwatch import Stopwatch

RATES = (4, 3, 2)
"""Bits per weight."""
VARIANTS: dict[str, tuple[Side, bool]] = {
    "where it pays": ("row", False),
    "rows": ("row", True),
    "columns": ("column", True),
}
"""Side of the transform, and whether every layer is transformed, regardless of the size of its
basis."""
IMAGES, TESTED = 64, 2048
"""Number of images from which steps and rates are chosen, and of test images on which errors are
measured."""
BLOCKS, CANDIDATES, MOST_BITS = 4, 6, 6
"""Granularity of the search for rates and steps."""

Row = dict[str, Any]
Tell = Callable[[str, int, int], None]


def rate_case() -> QuantCase:
    """The run whose float twin is quantized."""
    return quant_cases("quantizers: esb on fashion, 4 bits, seed 0")[0]


def rate_row(
    case: QuantCase, bits: int, variant: str, data: Path | None, work: Path, tell: Tell
) -> Row:
    """Row of one rate and variant, for the twin that a run of ``case`` has left in ``work``; raises
    :class:`~sigbit.errors.TrainingError` if there is none."""
    torch.set_num_threads(1)
    config = case.config
    weights = work / config.digest / "float.safetensors"
    if not weights.exists():
        raise TrainingError(
            f"there is no float twin {weights}: the run {case.name!r} has not ended"
        )
    tell("transforming", 0, 1)
    splits = load_splits(config.data, config.model, data)
    twin = zoo.build(config.model.name, **config.model.options)
    twin.load_state_dict(load_file(weights))
    return {
        **compared(twin.eval(), splits, bits, variant),
        "model": config.model.name,
        "seed": config.seed,
        "digest": rate_digest(case, bits, variant),
    }


def rate_digest(case: QuantCase, bits: int, variant: str) -> str:
    """Key that distinguishes rows."""
    return f"rates {variant} {bits} {case.config.twin_digest}"


def compared(twin: nn.Module, splits: Splits, bits: int, variant: str) -> Row:
    """Row of a trained float network at one rate."""
    spent = Stopwatch()
    inputs, _ = splits.train.batch(torch.arange(min(IMAGES, len(splits.train))))
    tested, _ = splits.test.batch(torch.arange(min(TESTED, len(splits.test))))
    plain, _ = plain_rounding(twin, inputs, bits)
    side, always = VARIANTS[variant]
    found = transform_quantize(
        twin,
        inputs,
        bits,
        side=side,
        always=always,
        blocks=BLOCKS,
        candidates=CANDIDATES,
        most_bits=MOST_BITS,
    )
    model = collapse(copy.deepcopy(found.model))
    return {
        "group": "rates",
        "method": "transform",
        "strategy": variant,
        "dataset": splits.name,
        "weight_bits": bits,
        "act_bits": None,
        "layers": sum(isinstance(m, Pair) for m in found.model.modules()),
        "bits_per_weight": found.bits_per_weight,
        "accuracy": evaluate(model, splits.test, Machine()).accuracy,
        "accuracy_plain": evaluate(plain, splits.test, Machine()).accuracy,
        "accuracy_float": evaluate(twin, splits.test, Machine()).accuracy,
        "error": output_error(model, twin, tested),
        "error_plain": output_error(plain, twin, tested),
        "epochs": 0,
        "test_samples": len(splits.test),
        "config": {
            "images": IMAGES,
            "blocks": BLOCKS,
            "candidates": CANDIDATES,
            "most_bits": MOST_BITS,
        },
        **spent.read(),
    }


@torch.no_grad()
@row_major_convolutions()
def output_error(model: nn.Module, reference: nn.Module, inputs: Tensor) -> float:
    """Mean squared difference of the outputs, relative to the mean square of the reference's."""
    wanted = reference(inputs)
    return float((model(inputs) - wanted).square().mean() / wanted.square().mean())
