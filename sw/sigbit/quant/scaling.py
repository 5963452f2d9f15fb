"""Scales of a prepared model: from calibration, and those of a quantized model."""

import math
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from sigbit.errors import QuantizationError
from sigbit.ir.floating import Relu, Unary
from sigbit.quant.calibration.statistics import Statistics
from sigbit.quant.layers.given import GivenCodes
from sigbit.quant.layers.integers import GivenSource
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.pairs import QuantPair
from sigbit.quant.layers.plain import QuantInput, QuantState
from sigbit.quant.layers.products import QuantProduct
from sigbit.quant.plan.annotated import annotated_scale
from sigbit.quant.plan.plans import (
    LayerPlan,
    inherited,
)
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.quantized import Tensors

Module = TypeVar("Module", bound=nn.Module)


def set_scales(prepared: PreparedModel, found: Statistics) -> None:
    """Set the scales from the float model's tensors, shared scales from all tensors that share
    them; tensors with the levels of the quantized model take its scales."""
    layers: list[QuantLayer] = []
    scaled: list[QuantLayer | QuantProduct | QuantPair] = []
    scales = {
        name: annotated_scale(quantizer, prepared.quant_module(name).grid.levels)
        for name, quantizer in prepared.quantized.quantizers.items()
    }
    for p in prepared.plan.layers:
        module = prepared.quant_module(p.name)
        if isinstance(module, QuantInput) and (given := scales.get(p.name)) is not None:
            module.scale.copy_(given)
        if isinstance(module, QuantLayer):
            layers.append(module)
        if isinstance(module, QuantLayer | QuantProduct | QuantPair):
            scaled.append(module)
    for group in _groups(layers, lambda m: m.weight_quantizer):
        first, quantizer = group[0], group[0].weight_quantizer
        assert quantizer is not None
        weight = first.kernel_of_method()
        quantizer.initialize(
            weight, weight[0].numel() if prepared.spec.per_channel else weight.numel()
        )
    for writers in _groups(scaled, lambda m: m.out_quantizer):
        wanted = [scales.get(m.plan.name) for m in writers]
        if wanted[0] is not None and all(s is not None and s == wanted[0] for s in wanted):
            writers[0].out_quantizer.give(wanted[0])
            continue
        if (ends := _logarithm(writers[0].plan.activation)) is not None:
            top = math.log(ends[1] / ends[0]) / writers[0].grid.high
            writers[0].out_quantizer.give(torch.tensor(top, dtype=torch.float64))
            continue
        if (scale := _input_scale(prepared, writers)) is not None:
            writers[0].out_quantizer.give(scale)
            continue
        spreads = [found.results[m.plan.name] for m in writers]
        low, high = min(s.low for s in spreads), max(s.high for s in spreads)
        if not (high > 0 or (low < 0 and writers[0].grid.low < 0)):
            plan = writers[0].plan
            raise QuantizationError(
                f"{plan.name} ({plan.location}) is 0 on the whole calibration batch of "
                f"{found.samples} samples: give a larger one, or remove the layer"
            )
        x = torch.cat([s.values for s in spreads])
        writers[0].out_quantizer.initialize(x, spreads[0].size)
    for group in _groups(layers, lambda m: m.preactivation):
        first, pre = group[0], group[0].preactivation
        function = first.plan.activation
        assert pre is not None
        assert isinstance(function, Unary)
        ranges = [found.before[m.plan.name] for m in group]
        low, high = min(r[0] for r in ranges), max(r[1] for r in ranges)
        if (known := _logarithm(function)) is not None:
            low, high = 0.0, known[1]  # whatever the calibration reaches
        pre.initialize(low, high, function, first.out_quantizer.scale(), first.grid)


def _input_scale(
    prepared: PreparedModel, writers: Sequence[QuantLayer | QuantProduct | QuantPair]
) -> Tensor | None:
    """Return the scale of an input that a state keeps, and nothing else on its grid, so that it
    keeps the codes; None for other tensors."""
    plan = writers[0].plan
    if len(writers) > 1 or not isinstance(plan, LayerPlan) or not plan.unit or plan.activation:
        return None
    (source,) = plan.sources if len(plan.sources) == 1 else (None,)
    if source is None or not source.pointwise or source.scale != 1 or not prepared.keeps(plan.name):
        return None
    module = prepared.quant_module(source.tensor)
    same = isinstance(module, QuantInput) and module.grid.levels == writers[0].grid.levels
    return module.scale if isinstance(module, QuantInput) and same else None


def _logarithm(function: Relu | Unary | None) -> tuple[float, float] | None:
    """Return the ends of a logarithm that is looked up between them."""
    if isinstance(function, Unary) and function.function == "log_between":
        low, high = function.parameters
        return low, high
    return None


def give_codes(prepared: PreparedModel) -> None:
    """Assign codes and scales of a quantized model: its codes to layers whose inputs and result
    have its scales; to its outputs, which it does not quantize, a scale that distinguishes their
    sums; to the other layers the scales of their weights."""
    quantized, tensors = prepared.quantized, dict[str, Tensors]()
    for p in prepared.plan.layers:
        module, name = prepared.quant_module(p.name), p.name
        above = [tensors.get(t) for t in inherited(p)]
        if isinstance(module, QuantInput | QuantState):
            tensors[name] = (float(module.scale), module.grid)
        elif above and above[0] is not None and all(t and t[0] == above[0][0] for t in above):
            tensors[name] = (above[0][0], module.grid)
        if not isinstance(module, QuantLayer) or not isinstance(p, LayerPlan):
            continue
        _give_weights(module, quantized.sources.get(name, ""))
        if name in quantized.quantizers:
            quantizer = quantized.quantizers[name]
            found = quantized.codes(p, module, tensors)
            if isinstance(found, GivenCodes):
                module.given = found
            elif getattr(quantizer, "thresholds", None) is not None:
                raise QuantizationError(
                    f"{name} ({p.location}): its thresholds have no other form, but {found}"
                )
            else:
                prepared.inexact[name] = found
            if (scale := annotated_scale(quantizer, module.grid.levels)) is not None:
                tensors[name] = (float(scale), module.grid)
        elif prepared.plan.is_output(name) and quantized.quantizers:
            scale = quantized.output_scale(p, module, tensors)
            if scale is not None and not prepared.plan.readers(name):
                module.out_quantizer.give(scale)


def _give_weights(module: QuantLayer, sources: tuple[GivenSource, ...] | str) -> None:
    """Set the scale with which weights were quantized in their quantizer, if its grid includes
    them."""
    quantizer = module.weight_quantizer
    if quantizer is None or isinstance(sources, str):
        return
    weights, rows = sources[0].weights, torch.tensor([float(s) for s in sources[0].scales]).double()
    magnitudes = torch.tensor(quantizer.grid.magnitudes, dtype=torch.float64)
    if not bool(torch.isin(weights.abs(), magnitudes).all()):
        return
    if quantizer.channels or bool((rows == rows[0]).all()):
        quantizer.give(rows if quantizer.channels else rows[0])


def _groups(
    layers: list[Module], shared: Callable[[Module], nn.Module | None]
) -> list[list[Module]]:
    """Group the layers by the module that ``shared`` returns for them; leave out those without
    one."""
    groups: dict[int, list[Module]] = {}
    for layer in layers:
        if (module := shared(layer)) is not None:
            groups.setdefault(id(module), []).append(layer)
    return list(groups.values())
