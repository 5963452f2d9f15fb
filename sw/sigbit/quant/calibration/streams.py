"""Calibration of networks with states: samples are steps in time, and the float network's own
states are its further inputs."""

from collections.abc import Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from sigbit.ir.floating import FloatGraph
from sigbit.ir.streaming import unroll
from sigbit.quant.calibration.samples import Calibration, SampleChunks, as_chunks


@torch.no_grad()
def states_of(graph: FloatGraph, steps: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the states ``[steps, ...]`` of ``graph`` before each of consecutive ``steps``, samples
    of its other inputs by name."""
    first = {s.input: s.initial[None].to(next(iter(steps.values()))) for s in graph.states}

    def step(inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        values = graph.evaluate(inputs)
        following = {
            name: values[tensor].reshape(inputs[name].shape) for name, tensor in graph.kept
        }
        return {name: inputs[name] for name in first}, following

    return unroll(step, steps, first)


@dataclass
class Stream:
    """Samples ``steps`` of the inputs that are no states, as samples of all inputs."""

    graph: FloatGraph
    steps: SampleChunks
    _whole: tuple[Tensor, ...] = field(init=False)

    def __post_init__(self) -> None:
        given = [node.name for node in self.graph.given]
        joined = map(torch.cat, zip(*self.steps, strict=True))
        steps = dict(zip(given, joined, strict=True))
        known = steps | states_of(self.graph, steps)
        self._whole = tuple(known[node.name] for node in self.graph.inputs)

    def __len__(self) -> int:
        return len(self.steps)

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        yield self._whole


def with_states(graph: FloatGraph, calibration: Calibration) -> SampleChunks:
    """Return samples of all inputs of ``graph``: as given or, without states, as a stream."""
    samples = as_chunks(calibration)
    if not graph.states:
        return samples
    found = len(next(iter(samples), ()))
    return Stream(graph, samples) if found == len(graph.given) else samples
