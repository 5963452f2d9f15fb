"""Comparison of every layer of every image between devices and the integer model."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from sigbit.ir.integer import IntegerGraph
from sigbit.runtime import Device, RunResult
from sigbit_hw.arch.program import Program

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class LayerCheck:
    """Number of codes of a layer compared on a device, and number that differ."""

    layer: str
    codes: int
    mismatches: int


@dataclass(frozen=True)
class DeviceCheck:
    """One device's run, compared layer by layer with the integer model."""

    result: RunResult
    layers: tuple[LayerCheck, ...]
    predictions: Ints

    @property
    def mismatches(self) -> int:
        """Number of codes that differ, in all layers of all images."""
        return sum(row.mismatches for row in self.layers)

    @property
    def codes(self) -> int:
        """Number of codes compared."""
        return sum(row.codes for row in self.layers)


def golden_layers(graph: IntegerGraph, stored: Ints) -> dict[str, Ints]:
    """Stored integers ``[N, C, H, W]`` of every tensor of ``graph``, by name."""
    (port,) = graph.inputs
    with torch.no_grad():
        values = graph.evaluate({port.name: torch.from_numpy(stored)})
    return {name: value.numpy() for name, value in values.items()}


def predictions(graph: IntegerGraph, values: Mapping[str, Ints]) -> Ints:
    """Return the class of every image: the largest of the output's codes, the first one of
    equals."""
    (name,) = graph.outputs
    return values[name].reshape(len(values[name]), -1).argmax(1)


def check_device(
    device: Device,
    program: Program,
    graph: IntegerGraph,
    golden: Mapping[str, Ints],
    on_image: Callable[[int], None] | None = None,
) -> DeviceCheck:
    """Run the images of ``golden`` and compare layers and outputs with it.

    Raises ``ValueError`` if the device did not return every layer of the Program for every image:
    an incomplete comparison must not pass.
    """
    (port,) = program.inputs
    result = device.run(program, golden[port.name], layers=True, on_image=on_image)
    wanted = {info.layer for info in program.execs}
    if set(result.layers) != wanted or set(result.outputs) != {p.name for p in program.outputs}:
        raise ValueError(
            f"{device.name} gave layers {sorted(result.layers)} and outputs "
            f"{sorted(result.outputs)}, the program has {sorted(wanted)}"
        )
    rows = [_check(name, golden[name], result.layers[name]) for name in result.layers]
    rows += [_check(f"output {name}", golden[name], got) for name, got in result.outputs.items()]
    return DeviceCheck(result, tuple(rows), predictions(graph, result.outputs))


def _check(name: str, expected: Ints, got: Ints) -> LayerCheck:
    if expected.shape != got.shape or not got.size:
        raise ValueError(
            f"{name} must have shape {list(expected.shape)} and not be empty, not {list(got.shape)}"
        )
    return LayerCheck(name, got.size, int((expected != got).sum()))
