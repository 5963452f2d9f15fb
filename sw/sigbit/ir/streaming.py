"""Networks with states, step by step."""

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

from sigbit.ir.integer import IntegerGraph


def stream(graph: IntegerGraph, steps: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stored integers ``[steps, C, H, W]`` of every tensor of ``graph`` in consecutive runs, the
    first of which has the initial states; from those of the other inputs, one sample a step."""
    first = {s.input: torch.from_numpy(s.initial)[None] for s in graph.states}

    def step(inputs: dict[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
        values = graph.evaluate(inputs)
        return values, {name: values[tensor] for name, tensor in graph.kept}

    return unroll(step, steps, first)


Step = Callable[[dict[str, Tensor]], tuple[dict[str, Tensor], dict[str, Tensor]]]
"""Tensors and next states by name, of all inputs by name, for one sample."""


def unroll(
    step: Step, inputs: Mapping[str, Tensor], first: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors of :data:`Step` ``[steps, ...]``, carried out for one sample of ``inputs``
    after the other, from the states ``first`` on."""
    found: dict[str, list[Tensor]] = {}
    states = dict(first)
    for index in range(len(next(iter(inputs.values())))):
        given = {name: x[index : index + 1] for name, x in inputs.items()}
        values, states = step(given | states)
        for name, value in values.items():
            found.setdefault(name, []).append(value)
    return {name: torch.cat(values) for name, values in found.items()}
