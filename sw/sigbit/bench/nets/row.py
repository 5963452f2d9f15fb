"""One row of ``sigbit bench nets``: a network quantized, compiled, run and compared."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from sigbit.bench.nets.cases import Case, Material, material
from sigbit.compiler import compile_graph
from sigbit.ir.convolution import row_major_convolutions
from sigbit.ir.integer import Conv, IntegerGraph, macs
from sigbit.quant import IntegerModel, QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit.report.metrics import CLOCK
from sigbit.runtime import Device, compare
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_tools.stopwatch import Stopwatch

Ints = NDArray[np.int64]
Progress = Callable[[str, int, int], None]
"""Called with the current activity, the number of steps done and their total number."""

PRECISION: Mapping[int, Mapping[str, int]] = MappingProxyType(
    {4: MappingProxyType({}), 8: MappingProxyType({"weight_terms": 2, "act_planes": 3})}
)
"""Options of QuantSpec by the bits of weights and activations."""
SAMPLES = 2
"""Number of calibration inputs if only cycles are measured."""
BATCH = 8
"""Number of images that the integer model evaluates at a time."""


class Prediction(Protocol):
    """Predicted cycles of a run, and the cycle in which each instruction retires."""

    @property
    def cycles(self) -> int:
        """Cycles of the whole run."""

    @property
    def retires(self) -> Ints:
        """Cycle of retirement by instruction, -1 for those that do not retire."""


class Simulators(Protocol):
    """Interface of the simulators that a row needs; this package does not import them."""

    def devices(self, config: ArchConfig) -> list[Device]:
        """Interpreter and RTL of an accelerator."""

    @property
    def memory(self) -> str | None:
        """Name of the simulated memory, None for the plain one."""

    def predict(self, program: Program) -> Prediction:
        """Prediction of the cycle model for a run."""

    def slower(self, program: Program) -> dict[str, int]:
        """Predicted cycles with slower memories, by their names."""

    def netlist(self, config: ArchConfig) -> str:
        """SHA-256 of the accelerator's Verilog."""


@dataclass(frozen=True)
class Quantized:
    """A network ready to compile, with its accuracy."""

    graph: IntegerGraph
    stored: Ints
    accuracy: dict[str, float | int | None]


def quantized(case: Case, config: ArchConfig, found: Material, progress: Progress) -> Quantized:
    """Post-training quantization of ``found`` to the accelerator's formats, with the first and the
    last layer at 8 bits, and the accuracy of both models if there are labels."""
    spec = _spec(config, **PRECISION[case.bits])
    calibration = torch.from_numpy(found.calibration)
    progress("quantizing", 0, 1)
    prepared = post_training(found.model, calibration, spec)
    deployed = convert(prepared)
    (port,) = deployed.graph.inputs
    with torch.no_grad():
        stored = deployed.levels(torch.from_numpy(found.inputs[:1]))[port.name].numpy()
    return Quantized(deployed.graph, stored, accuracy(found, deployed, progress))


def _spec(config: ArchConfig, **changes: object) -> QuantSpec:
    """Native formats, first and last layer at 8 bits, scales of least squared error."""
    return QuantSpec.from_arch(config, weight_scale="mse", act_scale="mse", **changes)


def accuracy(
    found: Material, deployed: IntegerModel, progress: Progress
) -> dict[str, float | int | None]:
    """Top-1 accuracy of the float and the integer network, and the fraction of inputs on which they
    agree; None without labels."""
    if found.labels is None:
        return {
            "accuracy_float": None,
            "accuracy_deployed": None,
            "agreement": None,
            "accuracy_images": 0,
        }
    right = {"float": 0, "deployed": 0}
    agree, count = 0, len(found.labels)
    for start in range(0, count, BATCH):
        progress("accuracy", start, count)
        x = torch.from_numpy(found.inputs[start : start + BATCH])
        wanted = found.labels[start : start + BATCH]
        with torch.no_grad(), row_major_convolutions():
            classes = {
                "float": found.model(x).flatten(1).argmax(1).numpy(),
                "deployed": deployed(x).flatten(1).argmax(1).numpy(),
            }
        for name, got in classes.items():
            right[name] += int((got == wanted).sum())
        agree += int((classes["float"] == classes["deployed"]).sum())
    return {
        "accuracy_float": right["float"] / count,
        "accuracy_deployed": right["deployed"] / count,
        "agreement": agree / count,
        "accuracy_images": count,
    }


def ideal_cycles(graph: IntegerGraph, config: ArchConfig) -> int:
    """Cycles of all multiplications, with terms counted, if the array were always full."""
    return -(-sum(macs(graph, node) for node in graph.nodes) // config.macs)


def _spatial_utilization(program: Program, model: Prediction) -> float:
    """Ratio of ideal to total cycles up to the last layer whose output is larger than one pixel,
    that is, without the linear layers at the end."""
    spatial = {x.name for x in program.layers if x.shape[1:] != (1, 1)}
    ends = [int(model.retires[e.index]) for e in program.execs if e.layer in spatial]
    macs = program.images * sum(x.macs for x in program.layers if x.name in spatial)
    return macs / program.config.macs / (max(ends) + 1) if ends else 0.0


def run_case(
    case: Case,
    config: ArchConfig,
    folder: Path | None,
    images: int,
    simulators: Simulators,
    progress: Progress,
) -> dict[str, Any]:
    """Row of ``case``: one image through interpreter and RTL, with every layer compared with the
    integer model; on the large accelerators, the cycle model alone, for one image and for eight."""
    spent = Stopwatch()
    found = material(case, folder, images)
    network = quantized(case, config, found, progress)
    progress("compiling", 0, 1)
    program, row = _compiled(case, network.graph, config, 1, simulators)
    row |= {"dataset": found.dataset, **network.accuracy}
    row |= _on_devices(program, network, row["ideal_cycles"], simulators, progress)
    return row | spent.read()


def _compiled(
    case: Case, graph: IntegerGraph, config: ArchConfig, images: int, simulators: Simulators
) -> tuple[Program, dict[str, Any]]:
    """``graph`` compiled for a batch of ``images``, and the columns common to all rows."""
    start = time.perf_counter()
    program = compile_graph(graph, config, name=case.net, images=images)
    seconds = time.perf_counter() - start
    model = simulators.predict(program)
    return program, {
        "net": case.net,
        "input": list(graph.inputs[0].type.shape),
        "bits": case.bits,
        "preset": config.name,
        "arch_digest": config.digest,
        "shape": [config.pixels, config.oc_lanes, config.ic_lanes, config.post_lanes],
        "macs": config.macs,
        "ideal_cycles": images * ideal_cycles(graph, config),
        "model_cycles": model.cycles,
        "utilization_images": _spatial_utilization(program, model),
        "compile_seconds": seconds,
        "instructions": len(program.listing),
        "images": images,
        "memory": simulators.memory,
        "weights": case.weights,
        "program_sha256": program.digest,
        "netlist_sha256": simulators.netlist(config),
    }


def _on_devices(
    program: Program, network: Quantized, ideal: int, simulators: Simulators, progress: Progress
) -> dict[str, Any]:
    (port,) = network.graph.inputs
    progress("integer model", 0, 1)
    with torch.no_grad():
        values = network.graph.evaluate({port.name: torch.from_numpy(network.stored)})
    golden = {name: value.numpy() for name, value in values.items()}
    found: dict[str, Any] = {"mismatches": 0, "codes_compared": 0}
    for device in simulators.devices(program.config):
        progress(f"running on {device.name}", 0, 1)
        start = time.perf_counter()
        result = device.run(program, network.stored, layers=True)
        seconds = time.perf_counter() - start
        _compare(golden, program, result.layers, result.outputs, found)
        found["layers_compared"] = len(result.layers)
        found[f"{device.name}_seconds"] = seconds
        if result.cycles is not None:
            cycles = int(result.cycles[0])
            found |= {
                "cycles": cycles,
                "utilization": ideal / cycles,
                "frames_per_second": CLOCK / cycles,
                "counters": result.counters[0],
            }
    return found


def _compare(
    golden: Mapping[str, Ints],
    program: Program,
    layers: Mapping[str, Ints],
    outputs: Mapping[str, Ints],
    found: dict[str, Any],
) -> None:
    wanted = {layer.name for layer in program.layers}
    if set(layers) != wanted or set(outputs) != {p.name for p in program.outputs}:
        raise ValueError(f"{sorted(wanted ^ set(layers))} of {program.name} were not compared")
    for got in (layers, outputs):
        found["mismatches"] += sum(m.count for m in compare(golden, got))
        found["codes_compared"] += sum(v.size for v in got.values())


def model_case(
    case: Case, config: ArchConfig, folder: Path | None, simulators: Simulators, progress: Progress
) -> list[dict[str, Any]]:
    """Rows of ``case`` from the cycle model alone: batches of 1 and 8; first and last layer with
    weights and activations of 8 bits, and with 8 bits on one side only, that is, the input and the
    classifier's weights."""
    rows = []
    found = material(case, folder, 1)
    first: dict[str, tuple[int, int]] = {}
    for terms in (2, 1):
        progress(f"quantizing, {terms} terms in the first layer", 0, 1)
        spec = _spec(config, bits=first, wide_head=terms == 2)
        graph = convert(
            post_training(found.model, torch.from_numpy(found.calibration[:SAMPLES]), spec)
        ).graph
        (port,) = graph.inputs
        first = {
            node.name: (1, 1)
            for node in graph.nodes
            if isinstance(node, Conv) and port.name in (s.tensor for s in node.sources)
        }
        for images in (1, BATCH):
            spent = Stopwatch()
            progress(f"compiling for {images} images", 0, 1)
            program, row = _compiled(case, graph, config, images, simulators)
            cycles = row["model_cycles"]
            rows.append(
                row
                | {
                    "first_layer_terms": terms,
                    **{f"cycles_{k}": n for k, n in simulators.slower(program).items()},
                    "cycles": None,
                    "utilization": row["ideal_cycles"] / cycles,
                    "frames_per_second": images * CLOCK / cycles,
                    "mismatches": None,
                    "layers_compared": 0,
                    "rtl_seconds": None,
                    "accuracy_float": None,
                    "accuracy_deployed": None,
                    **spent.read(),
                }
            )
    return rows
