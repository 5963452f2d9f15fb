"""The results of a demonstration, and its numbers as a JSON document."""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit.flows.demo.checking import DeviceCheck
from sigbit.flows.demo.training import Trained
from sigbit.flows.result import Result
from sigbit.ir.integer import Conv, IntegerGraph
from sigbit.report.metrics import LayerCycles, layer_cycles
from sigbit_hw.arch.isa import Opcode
from sigbit_hw.arch.program import Program

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Utilization:
    """Cycles of the layers of one image.

    Parameters
    ----------
    layers : tuple of LayerCycles
        One per layer, in the order of the Program.
    total : LayerCycles
        From the first ``EXEC`` to the last, including waiting between layers.
    full : tuple of str
        Layers whose channels fill all lanes of the array.
    """

    layers: tuple[LayerCycles, ...]
    total: LayerCycles
    full: tuple[str, ...]

    @property
    def busy_full(self) -> float | None:
        """Share of the cycles of the ``full`` layers in which the array took operands; None if
        there is no such layer."""
        rows = [row for row in self.layers if row.name in self.full]
        cycles = sum(row.cycles for row in rows)
        return sum(row.fed for row in rows) / cycles if cycles else None


@dataclass(frozen=True, kw_only=True)
class Outcome(Result):
    """A trained network on devices.

    Parameters
    ----------
    trained : Trained
    program : Program
    checks : mapping
        By device: its run on images [0, n) of the test split, compared with the integer model.
    integer_predictions : array
        Predictions of the integer model for these images, ``[n]``.
    options : mapping
        Seed, number of images and memory latency.
    steps : mapping
        Seconds of each step.
    """

    trained: Trained
    program: Program
    checks: Mapping[str, DeviceCheck]
    integer_predictions: Ints
    options: Mapping[str, int]
    steps: Mapping[str, float]

    @property
    def images(self) -> int:
        """Number of test images that were run."""
        return len(self.integer_predictions)

    @cached_property
    def deployed(self) -> DeviceCheck:
        """The check of the most physical device: the RTL if it ran."""
        return self.checks["rtl"] if "rtl" in self.checks else self.checks["interp"]

    def accuracy(self, predicted: Ints) -> float:
        """Share of the images whose prediction is their label."""
        return float((predicted == self.trained.labels[: self.images]).mean())

    @property
    def accuracies(self) -> dict[str, float]:
        """Accuracy of the same images at every stage."""
        n = self.images
        return {
            "float": self.accuracy(self.trained.float_predictions[:n]),
            "quantized": self.accuracy(self.trained.quantized_predictions[:n]),
            "deployed": self.accuracy(self.deployed.predictions),
        }

    @property
    def mismatches(self) -> int:
        """Number of codes that differ from the integer model, on all devices."""
        return sum(check.mismatches for check in self.checks.values())

    @property
    def codes(self) -> int:
        """Number of codes compared, on all devices."""
        return sum(check.codes for check in self.checks.values())

    @property
    def predictions_equal(self) -> bool:
        """True if the predictions of the trained quantized model, the integer model and every
        device are equal for every image."""
        wanted = self.trained.quantized_predictions[: self.images]
        return all(
            np.array_equal(wanted, got)
            for got in (self.integer_predictions, *(c.predictions for c in self.checks.values()))
        )

    @property
    def passed(self) -> bool:
        """True if nothing differs."""
        return self.mismatches == 0 and self.predictions_equal

    @cached_property
    def utilization(self) -> Utilization | None:
        """Cycles of the first image; None if no device counts cycles."""
        timeline = self.deployed.result.timeline
        listing = self.program.listing
        execs = {
            e.index: (e.start, e.end) for e in timeline if listing[e.index].opcode == Opcode.EXEC
        }
        if not execs:
            return None
        rows, total = layer_cycles(self.program, execs)
        return Utilization(tuple(rows), total, _full_layers(self.trained.graph, self.program))

    @property
    def cycles_per_image(self) -> float | None:
        """Mean over the images; None if the device does not count."""
        cycles = self.deployed.result.cycles
        return None if cycles is None else float(cycles.mean())

    def to_json(self) -> dict[str, Any]:
        """Return the figures by name."""
        use = self.utilization
        accuracies = self.accuracies
        return {
            "schema_version": self.schema_version,
            "passed": self.passed,
            "images": self.images,
            "images_rtl": self.images if "rtl" in self.checks else 0,
            "mismatches": self.mismatches,
            "codes_compared": {name: check.codes for name, check in self.checks.items()},
            "predictions_equal": self.predictions_equal,
            "accuracy_float": accuracies["float"],
            "accuracy_quantized": accuracies["quantized"],
            "accuracy_deployed": accuracies["deployed"],
            "cycles_per_image": self.cycles_per_image,
            "utilization": use and use.total.utilization,
            "busy": use and use.total.share_fed,
            "busy_full_layers": use and use.busy_full,
            "utilization_by_layer": use and {row.name: row.utilization for row in use.layers},
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
            "seconds_by_step": {**self.steps, "total": self.seconds},
            "arch": self.program.config.name,
            "macs": self.program.config.macs,
            "arch_digest": self.program.config.digest,
            "program_digest": self.program.digest,
            "options": dict(self.options),
            "layers": self._layer_rows(),
        }

    def _layer_rows(self) -> list[dict[str, Any]]:
        use = self.utilization
        cycles = {row.name: row for row in use.layers} if use else {}
        rows = []
        for info in self.program.layers:
            row: dict[str, Any] = {
                "name": info.name,
                "kind": info.kind,
                "shape": list(info.shape),
                "macs": info.macs,
                "source": info.source,
                "codes": self._by_device(info.name, "codes"),
                "mismatches": self._by_device(info.name, "mismatches"),
            }
            if info.name in cycles and use:
                spent = cycles[info.name]
                row |= {
                    "cycles": spent.cycles,
                    "ideal_cycles": spent.ideal,
                    "fed_cycles": spent.fed,
                    "utilization": spent.utilization,
                    "busy": spent.share_fed,
                    "channels_fill_array": info.name in use.full,
                }
            rows.append(row)
        return rows

    def _by_device(self, layer: str, what: str) -> dict[str, int]:
        """Sum of a count of :class:`LayerCheck` over a layer, by device."""
        return {
            device: sum(getattr(c, what) for c in check.layers if c.layer == layer)
            for device, check in self.checks.items()
        }


def _full_layers(graph: IntegerGraph, program: Program) -> tuple[str, ...]:
    """Convolutions whose dense sources' channels are multiples of the array's lanes."""
    config = program.config
    names = {node.name for node in graph.nodes}
    full = []
    for info in program.layers:
        node = graph[info.name] if info.name in names else None
        if not isinstance(node, Conv) or node.type.shape[0] % config.oc_lanes:
            continue
        if all(
            s.groups == 1 and graph[s.tensor].type.shape[0] % config.ic_lanes == 0
            for s in node.sources
            if s.groups == 1 or len(node.sources) == 1
        ):
            full.append(info.name)
    return tuple(full)
