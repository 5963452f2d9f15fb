"""Quantization as a regularizer: recipes for three kinds of tasks, after "Quantization of Deep
Neural Networks for Accurate Edge Computing" (Chen et al., ACM JETC 2021, arXiv 2104.12046) and its
predecessor for segmentation (Xu et al., CVPR 2018, arXiv 1803.04907).

Testable aspects: little data, on which a float network overfits; weights quantized by INQ (powers
of two, frozen in portions) at several bit widths; the difference to the float twin that was trained
in the same run, with the same total number of epochs. The publications' numbers, bits of the
convolutional and the recurrent network, and data are not reproduced, because they are only partly
known.

Two departures: activations have 8 bits, as the accelerator requires, rather than being real; and
INQ stops at 5 bits (8 powers of two of each sign), since those of 7 bits span 2^31, wider than any
accumulator. Above that, and as a second quantizer, weights are uniform.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

INQ_BITS = (5, 4, 3)
UNIFORM_BITS = (7, 5, 4, 3)


@dataclass(frozen=True)
class Recipe:
    """One kind of task.

    Parameters
    ----------
    task : str
        "classification", "segmentation" or "recurrent".
    data, model, float_schedule, schedule : dict
        Tables of a run's configuration: data set, network, training of the float twin, training of
        the quantized network.
    """

    task: str
    data: dict[str, Any]
    model: dict[str, Any]
    float_schedule: dict[str, Any]
    schedule: dict[str, Any]

    def configuration(self, method: str, bits: int, seed: int) -> dict[str, Any]:
        """The run's table for weights of ``bits`` bits with ``method``."""
        frozen = [{"name": "incremental"}] if method == "inq" else []
        quantizer = {
            "weights": method,
            "weight_bits": bits,
            "activations": "uniform",
            "act_bits": 8,
        }
        return {
            "seed": seed,
            "data": dict(self.data),
            "model": dict(self.model),
            "float": dict(self.float_schedule),
            "quantizer": quantizer,
            "train": dict(self.schedule),
            "strategies": frozen,
        }


RECIPES = {
    recipe.task: recipe
    for recipe in (
        Recipe(
            "classification",
            {"name": "fashion-mnist", "train_samples": 2000},
            {"name": "fashion"},
            {"epochs": 40, "batch_size": 50, "lr": 4e-3},
            {"epochs": 20, "batch_size": 50, "lr": 1e-3},
        ),
        Recipe(
            "segmentation",
            {"name": "membrane", "calibration": 8},
            {"name": "unet_nearest", "options": {"width": 8, "depth": 3}},
            {"epochs": 40, "batch_size": 4},
            {"epochs": 20, "batch_size": 4, "lr": 1e-3},
        ),
        Recipe(
            "recurrent",
            {"name": "spoken-digits", "train_samples": 1000, "calibration": 128},
            {"name": "gru", "options": {"hidden": 32}},
            {"epochs": 40, "batch_size": 50},
            {"epochs": 20, "batch_size": 50, "lr": 1e-3},
        ),
    )
}
"""The study's three kinds of tasks."""


def configurations(seeds: tuple[int, ...] = (0, 1, 2)) -> Iterator[tuple[str, dict[str, Any]]]:
    """(name, table) of all runs of the study."""
    for task, recipe in RECIPES.items():
        for seed in seeds:
            for method, widths in (("inq", INQ_BITS), ("uniform", UNIFORM_BITS)):
                for bits in widths:
                    name = f"{task}: {method}, {bits} bits, seed {seed}"
                    yield name, recipe.configuration(method, bits, seed)
