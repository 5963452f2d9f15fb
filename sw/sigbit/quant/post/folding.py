"""Folding of batch norms into the weights before them."""

from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from sigbit.ir.floating import (
    BatchNorm,
    Conv2d,
    ConvTranspose2d,
    FloatGraph,
    Linear,
    Node,
    QuantAnnotation,
)

Weighted = Conv2d | ConvTranspose2d | Linear


def fold_batch_norms(graph: FloatGraph) -> FloatGraph:
    """``graph`` without the batch norms that follow the only use of a weight, and with a bias in
    every layer whose weight is used once. Other batch norms remain; so do, if tensors are
    quantized, those after quantized weights, whose scales are exact without folding."""
    uses = weight_uses(graph)
    if graph.quantizers:
        uses.update(list(graph.parameter_quantizers))
    parameters = dict(graph.parameters)
    quantized = dict(graph.parameter_quantizers)
    norms: dict[str, BatchNorm] = {}
    for node in graph.nodes:
        readers = graph.consumers(node.name)
        if (
            isinstance(node, Weighted)
            and uses[node.weight] == 1
            and len(readers) == 1
            and isinstance(readers[0], BatchNorm)
            and node.name not in graph.outputs
            and node.name not in graph.quantizers
        ):
            norms[node.name] = readers[0]
    gone = {norm.name for norm in norms.values()}
    nodes: list[Node] = []
    for node in graph.nodes:
        if isinstance(node, Weighted) and uses[node.weight] == 1:
            folded = _folded(node, norms.get(node.name), parameters)
            if (found := quantized.get(node.weight)) is not None:
                quantized[folded.weight] = _scaled(found, node, norms.get(node.name), parameters)
            nodes.append(folded)
        elif node.name not in gone:
            nodes.append(node)
    used = {v for n in nodes for v in vars(n).values() if isinstance(v, str)}
    kept = {k: v for k, v in parameters.items() if k in used}
    there = {n.name for n in nodes}
    quantizers = {k: q for k, q in graph.quantizers.items() if k in there}
    quantized = {k: q for k, q in quantized.items() if k in kept}
    return FloatGraph(
        graph.name,
        tuple(nodes),
        kept,
        graph.outputs,
        quantizers,
        graph.host,
        quantized,
        graph.output_names,
        graph.states,
    )


def weight_uses(graph: FloatGraph) -> Counter[str]:
    """Number of nodes that use each weight."""
    return Counter(n.weight for n in graph.nodes if isinstance(n, Weighted))


def _folded(node: Weighted, norm: BatchNorm | None, parameters: dict[str, Tensor]) -> Weighted:
    """``node`` under the name of ``norm``, with its own weight and bias."""
    weight = parameters[node.weight].clone()
    name = node.name if norm is None else norm.name
    bias = weight.new_zeros(node.shape[0])
    if node.bias is not None:
        bias = parameters[node.bias].clone()
    if norm is not None:
        wide = torch.rsqrt(parameters[norm.var].double() + norm.eps)
        factor = wide if norm.weight is None else wide * parameters[norm.weight]
        bias = ((bias - parameters[norm.mean]) * factor).to(weight.dtype)
        if norm.bias is not None:
            bias = bias + parameters[norm.bias]
        weight = (weight * _along_outputs(node, factor, weight)).to(weight.dtype)
    parameters[f"{name}.folded.weight"] = weight
    parameters[f"{name}.folded.bias"] = bias
    return replace(node, name=name, weight=f"{name}.folded.weight", bias=f"{name}.folded.bias")


def _scaled(
    quantizer: QuantAnnotation,
    node: Weighted,
    norm: BatchNorm | None,
    parameters: dict[str, Tensor],
) -> QuantAnnotation:
    """The quantizer of the weight with ``norm`` folded in."""
    if norm is None:
        return quantizer
    weight = parameters[node.weight]
    factor = torch.rsqrt(parameters[norm.var].double() + norm.eps)
    factor = factor if norm.weight is None else factor * parameters[norm.weight]
    scale = quantizer.scale
    wide = scale if scale.numel() > 1 else scale.reshape([1] * weight.dim())
    return replace(quantizer, scale=wide * _along_outputs(node, factor, weight).double())


def _along_outputs(node: Weighted, factor: Tensor, weight: Tensor) -> Tensor:
    """``factor`` ``[out]`` so that it broadcasts over ``weight``."""
    if isinstance(node, ConvTranspose2d):
        each = weight.shape[0] // node.groups
        return factor.view(node.groups, -1).repeat_interleave(each, 0)[:, :, None, None]
    return factor.view(-1, *[1] * (weight.dim() - 1))
