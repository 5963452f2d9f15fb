"""Cross-layer equalization (Nagel et al. 2019, arXiv 1906.04721): because ``relu(x / s) = relu(x) /
s``, a channel can be scaled down by one layer and up by the next, until both have weights of equal
range."""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from sigbit.ir.floating import AvgPool2d, Conv2d, FloatGraph, Linear, MaxPool2d, Node, Relu
from sigbit.quant.calibration.reference import Reference
from sigbit.quant.calibration.samples import Calibration, as_chunks, micro_batches
from sigbit.quant.post.folding import weight_uses

_ROUNDS = 40
_SETTLED = 1e-3
_MOST = 64.0
"""Largest total factor of a channel."""


@dataclass(frozen=True)
class _Pair:
    """Two layers with channels that no other layer reads; ``limit``: the clip between them."""

    first: Conv2d | Linear
    second: Conv2d | Linear
    before: str
    limit: float | None


@torch.no_grad()
def equalize(graph: FloatGraph, calibration: Calibration) -> FloatGraph:
    """``graph`` with equalized weights.

    Pairs are convolutions or linear layers, dense or depthwise, with a ReLU or poolings between
    them. If the ReLU has a limit, a channel is scaled only if it stays below the limit on the
    calibration samples, before and after.
    """
    parameters = {k: v.clone() for k, v in graph.parameters.items()}
    pairs = list(_pairs(graph))
    total = [torch.ones(p.first.shape[0], dtype=torch.float64) for p in pairs]
    peaks = _peaks(graph, pairs, calibration)
    for _ in range(_ROUNDS):
        change = 0.0
        for i, p in enumerate(pairs):
            s = _factor(p, parameters, peaks[i] / total[i]).clamp(
                total[i].reciprocal() / _MOST, _MOST / total[i]
            )
            total[i] = total[i] * s
            divide_outputs(p.first, parameters, s)
            multiply_inputs(p.second, parameters, s)
            change = max(change, float(s.log2().abs().max()))
        if change < _SETTLED:
            break
    return replace(graph, parameters=parameters, quantizers={}, parameter_quantizers={})


def _pairs(graph: FloatGraph) -> list[_Pair]:
    uses = weight_uses(graph)
    pairs = []
    for node in graph.nodes:
        if not (isinstance(node, Conv2d | Linear) and uses[node.weight] == 1):
            continue
        limit, here = None, node.name
        while (reader := _only_reader(graph, here)) is not None:
            if isinstance(reader, Conv2d | Linear):
                if uses[reader.weight] == 1 and _separable(graph, reader):
                    pairs.append(_Pair(node, reader, node.name, limit))
                break
            if isinstance(reader, Relu):
                limit = reader.limit if limit is None else limit
            elif not isinstance(reader, MaxPool2d | AvgPool2d):
                break
            here = reader.name
    return pairs


def _only_reader(graph: FloatGraph, name: str) -> Node | None:
    readers = graph.consumers(name)
    return readers[0] if len(readers) == 1 and name not in graph.outputs else None


def _separable(graph: FloatGraph, node: Conv2d | Linear) -> bool:
    """True if the weights of each input channel can be distinguished: dense or depthwise."""
    if isinstance(node, Linear):
        return True
    return node.groups == 1 or graph.parameters[node.weight].shape[:2] == (node.groups, 1)


def _peaks(graph: FloatGraph, pairs: list[_Pair], calibration: Calibration) -> list[Tensor]:
    """Largest value of every channel between the layers of a pair, before the ReLU."""
    reference, found = Reference(graph), [torch.empty(0) for _ in pairs]
    for batch in micro_batches(as_chunks(calibration)):
        values = reference.of(batch)
        for i, p in enumerate(pairs):
            x = values[p.before].double().transpose(0, 1).flatten(1).amax(1)
            found[i] = torch.maximum(found[i], x) if len(found[i]) else x
    return found


def _factor(p: _Pair, parameters: Mapping[str, Tensor], peak: Tensor) -> Tensor:
    """Divisors of the first layer's outputs, ``[C]``; ``peak`` holds the largest values before the
    activation function."""
    first = parameters[p.first.weight].double().flatten(1).abs().amax(1)
    weight = parameters[p.second.weight].double().abs()
    if isinstance(p.second, Conv2d) and p.second.groups > 1:
        second = weight.flatten(1).amax(1)
    else:
        second = weight.transpose(0, 1).flatten(1).amax(1)
    alive = (first > 0) & (second > 0)
    s = torch.where(alive, (first / torch.where(alive, second, 1.0)).sqrt(), 1.0)
    if p.limit is None:
        return s
    s = torch.maximum(s, peak / p.limit)
    return torch.where(peak < p.limit, s, 1.0)


def divide_outputs(node: Conv2d | Linear, parameters: dict[str, Tensor], s: Tensor) -> None:
    weight = parameters[node.weight]
    weight.div_(s.to(weight.dtype).view(-1, *[1] * (weight.dim() - 1)))
    if node.bias is not None:
        parameters[node.bias].div_(s.to(weight.dtype))


def multiply_inputs(node: Conv2d | Linear, parameters: dict[str, Tensor], s: Tensor) -> None:
    weight = parameters[node.weight]
    s = s.to(weight.dtype)
    if isinstance(node, Conv2d) and node.groups > 1:
        weight.mul_(s.view(-1, 1, 1, 1))
    else:
        weight.mul_(s.view(1, -1, *[1] * (weight.dim() - 2)))
