"""Equalized activations: the channels of a tensor are divided by individual factors, and the
weights that read them multiplied, until every channel uses the levels equally well.

This follows cross-layer equalization (Nagel et al. 2019, arXiv 1906.04721) and SmoothQuant (Xiao et
al. 2022, arXiv 2211.10438), which moves difficulty from activations to weights by an exponent. Here
the ranges are those in which a channel has the least squared error on the tensor's grid. The
exponent is chosen for every tensor by the error of the layers that read it, with both sides
quantized; before depthwise layers it is 1, since every weight there has its own scale.

A channel whose ReLU has a limit is clipped at the end of its range. The float values for comparison
remain those of the original network, divided by the factors.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from sigbit.ir.evaluation import apply
from sigbit.ir.floating import Conv2d, FloatGraph, Linear, Relu
from sigbit.quant.calibration.reference import Reference
from sigbit.quant.calibration.samples import Part, SampleChunks, micro_batches
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.numbers.grid import LevelGrid, quantize
from sigbit.quant.numbers.scales import mse_scale
from sigbit.quant.post.equalization import divide_outputs, multiply_inputs
from sigbit.quant.post.folding import weight_uses
from sigbit.quant.prepared import PreparedModel

SAMPLES = 32
"""Number of samples from which ranges are determined."""
PLACES = 2048
"""Maximum number of positions of each channel that are used, over all samples."""
EXPONENTS = (0.0, 0.25, 0.5, 0.75, 1.0)
_MOST = 64.0
"""Largest factor."""

Weighted = Conv2d | Linear


@dataclass(frozen=True)
class _Site:
    """A layer with its own ReLU, and the layers that read it exclusively."""

    layer: Weighted
    relu: Relu
    readers: tuple[Weighted, ...]

    @property
    def depthwise(self) -> bool:
        return all(isinstance(r, Conv2d) and r.groups > 1 for r in self.readers)


@torch.no_grad()
def equalize_activations(
    graph: FloatGraph, prepared: PreparedModel, samples: SampleChunks
) -> Reference | None:
    """``graph`` with equalized tensors, as a :class:`Reference` for the network from which
    ``prepared`` was made: its graph has the new parameters, its divisors those of all tensors. None
    if there is nothing to equalize."""
    sites = list(_sites(graph))
    if not sites:
        return None
    part = Part(samples, 0, min(SAMPLES, len(samples)))
    places = _places(graph, sites, part)
    first = Reference(graph).of(next(micro_batches(part)))
    parameters = {k: v.clone() for k, v in graph.parameters.items()}
    divisors: dict[str, Tensor] = {}
    for site in sites:
        grid = _grid_of(prepared, site.relu.name)
        if grid is None:
            continue
        ratio = _ratio(places[site.relu.name], grid, site.relu.limit)
        exponent = 1.0
        if not site.depthwise:
            exponent = _exponent(site, ratio, first[site.relu.name], grid, prepared, parameters)
        factor = ratio**exponent
        divide_outputs(site.layer, parameters, factor)
        for reader in site.readers:
            multiply_inputs(reader, parameters, factor)
        divisors[site.layer.name] = divisors[site.relu.name] = factor
    equal = FloatGraph(
        graph.name,
        graph.nodes,
        parameters,
        graph.outputs,
        host=graph.host,
        quantizers=graph.quantizers,
        parameter_quantizers=graph.parameter_quantizers,
        output_names=graph.output_names,
        states=graph.states,
    )
    return Reference(equal, divisors)


def _sites(graph: FloatGraph) -> Iterator[_Site]:
    uses = weight_uses(graph)
    for node in graph.nodes:
        if not isinstance(node, Weighted) or not _own(graph, node, uses):
            continue
        relus = graph.consumers(node.name)
        if len(relus) != 1 or not isinstance(relus[0], Relu) or node.name in graph.outputs:
            continue
        relu = relus[0]
        readers = graph.consumers(relu.name)
        kinds = {isinstance(r, Conv2d) and r.groups > 1 for r in readers}
        fit = [r for r in readers if isinstance(r, Weighted) and _own(graph, r, uses)]
        if readers and len(fit) == len(readers) and len(kinds) == 1 and _free(graph, relu):
            yield _Site(node, relu, tuple(fit))


def _free(graph: FloatGraph, relu: Relu) -> bool:
    return relu.name not in graph.outputs and relu.name not in graph.quantizers


def _own(graph: FloatGraph, node: Weighted, uses: Counter[str]) -> bool:
    """True if a layer's weights are used by it alone, not quantized, and dense or depthwise."""
    if uses[node.weight] != 1 or node.weight in graph.parameter_quantizers:
        return False
    if isinstance(node, Linear):
        return True
    return node.groups == 1 or graph.parameters[node.weight].shape[1] == 1


def _places(graph: FloatGraph, sites: list[_Site], samples: SampleChunks) -> dict[str, Tensor]:
    """Values ``[C, n]`` of every tensor, at positions that differ from sample to sample."""
    reference = Reference(graph)
    found: dict[str, list[Tensor]] = {s.relu.name: [] for s in sites}
    share = max(1, PLACES // len(samples))
    random = torch.Generator().manual_seed(0)
    for batch in micro_batches(samples):
        values = reference.of(batch)
        for name, kept in found.items():
            x = values[name].flatten(2) if values[name].dim() > 2 else values[name][..., None]
            for image in x:
                chosen = torch.randperm(image.shape[1], generator=random)[:share]
                kept.append(image[:, chosen])
    return {name: torch.cat(kept, 1) for name, kept in found.items()}


def _grid_of(prepared: PreparedModel, name: str) -> LevelGrid | None:
    """The grid of a tensor that the prepared model has under its name."""
    if name not in {p.name for p in prepared.plan.layers}:
        return None
    module = prepared.quant_module(name)
    return module.grid.levels if isinstance(module, QuantLayer) else None


def _ratio(values: Tensor, grid: LevelGrid, limit: float | None) -> Tensor:
    """Range of every channel ``[C]`` (float64), relative to the limit or the largest range."""
    ranges = grid.max * mse_scale(values, grid, True)
    top = limit if limit is not None else float(ranges.max())
    ranges = torch.where(ranges > 0, ranges, ranges.new_tensor(top)).clamp(max=top)
    return (ranges / top).clamp(min=1 / _MOST)


def _exponent(
    site: _Site,
    ratio: Tensor,
    x: Tensor,
    grid: LevelGrid,
    prepared: PreparedModel,
    parameters: dict[str, Tensor],
) -> float:
    """The exponent with the smallest error of the layers that read the tensor ``x``, relative to
    the variance, without the means of channels, which biases absorb."""
    weights = prepared.spec.weight_grid(prepared.spec.weight_terms)
    errors = {}
    for exponent in EXPONENTS:
        factor = (ratio**exponent).to(x.dtype)
        divided = x / factor.view(1, -1, *[1] * (x.dim() - 2))
        scale = mse_scale(divided, grid).to(x.dtype)
        rounded = quantize(divided, scale, grid) * scale
        errors[exponent] = sum(
            _error(reader, divided, rounded, factor, weights, parameters) for reader in site.readers
        )
    return min(errors, key=lambda e: errors[e])


def _error(
    reader: Weighted,
    x: Tensor,
    rounded: Tensor,
    factor: Tensor,
    grid: LevelGrid,
    parameters: dict[str, Tensor],
) -> float:
    weight = parameters[reader.weight]
    weight = weight * factor.view(1, -1, *[1] * (weight.dim() - 2))
    scale = mse_scale(weight, grid, True).to(weight.dtype)
    wide = scale.view(-1, *[1] * (weight.dim() - 1))
    wanted = apply(reader, [x], {**parameters, reader.weight: weight})
    low = {**parameters, reader.weight: quantize(weight, scale, grid) * wide}
    error = apply(reader, [rounded], low) - wanted
    others = [d for d in range(error.dim()) if d != 1]
    error = error - error.mean(others, keepdim=True)
    return float(error.square().mean() / wanted.var())
