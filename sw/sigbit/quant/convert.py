"""``convert``: the integer graph of a prepared model, with proof that no accumulator overflows."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigbit.ir.integer import Conv, Input, IntegerGraph, MaxPool, Node, Source, TensorType
from sigbit.quant.errors import QuantizationError
from sigbit.quant.integer_model import IntegerModel
from sigbit.quant.layer import Deployed, QuantLayer
from sigbit.quant.prepare import PreparedModel, QuantInput, QuantMaxPool
from sigbit.quant.requant import table_of
from sigbit.quant.spec import ActGrid

Ints = NDArray[np.int64]


def convert(prepared: PreparedModel) -> IntegerModel:
    """The integer model that computes what ``prepared`` computes, with the same integers in every
    tensor.

    Raises :class:`QuantizationError` where a parameter has become NaN or infinite, or an
    accumulator could overflow.
    """
    return IntegerModel(integer_graph(prepared), tuple(shape for _, shape in prepared.plan.outputs))


def integer_graph(prepared: PreparedModel) -> IntegerGraph:
    """The integer graph of ``prepared``."""
    for name, value in prepared.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise QuantizationError(
                f"parameter {name!r} holds NaN or infinity: the training diverged"
            )
    spec, plan = prepared.spec, prepared.plan
    nodes: list[Node] = []
    scales: dict[str, Tensor] = {}
    for p in plan.layers:
        module = prepared.quant_module(p.name)
        grid = module.grid
        if isinstance(module, QuantInput):
            scales[p.name] = module.scale.double()
            nodes.append(
                Input(p.name, _type(p.shape, grid, scales[p.name]), module.low, module.high)
            )
        elif isinstance(module, QuantMaxPool):
            plan_ = module.plan
            scales[p.name] = scales[plan_.tensor]
            nodes.append(
                MaxPool(
                    p.name,
                    plan_.tensor,
                    plan_.kernel,
                    plan_.stride,
                    plan_.padding,
                    _type(p.shape, grid, scales[p.name]),
                    location=plan_.location,
                )
            )
        else:
            with torch.no_grad():
                deployed = module.deploy([scales[s.tensor] for s in module.plan.sources])
            scales[p.name] = deployed.out_scale
            nodes.append(_conv(module, deployed))
    outputs = tuple(tensor for tensor, _ in plan.outputs)
    return IntegerGraph(
        prepared.graph_name,
        spec.weight_format,
        spec.act_format,
        spec.radix_bits,
        tuple(nodes),
        outputs,
    )


def _type(shape: tuple[int, int, int], grid: ActGrid, scale: Tensor) -> TensorType:
    return TensorType(shape, grid.planes, float(scale), grid.zero)


def _ints(x: Tensor) -> Ints:
    return x.detach().cpu().double().numpy().astype(np.int64)


def _conv(layer: QuantLayer, deployed: Deployed) -> Conv:
    """The integer node of a layer; the biases take over what the zeros of its sources add."""
    plan, r = layer.plan, deployed.requantization
    sources, bias = [], _ints(r.bias)
    low, high = bias.copy(), bias.copy()
    for source, terms, weights, grid in zip(
        plan.sources, layer.terms, map(_ints, deployed.weights), layer.in_grids, strict=True
    ):
        groups = 1 if source.dense else len(weights)
        sources.append(Source(source.tensor, weights, terms, source.stride, source.padding, groups))
        bias = bias + grid.zero * weights.sum((1, 2, 3))
        positive, negative = (
            weights.clip(*limits).sum((1, 2, 3)) for limits in ((0, None), (None, 0))
        )
        low, high = (
            low + positive * grid.low + negative * grid.high,
            high + positive * grid.high + negative * grid.low,
        )
    _check_bits(layer, bias, low, high)
    return Conv(
        plan.name,
        tuple(sources),
        bias,
        _ints(r.mantissa),
        _ints(r.shift),
        table_of(r.grid, r.limit).numpy(),
        _type(plan.shape, layer.grid, deployed.out_scale),
        plan.kind,
        plan.location,
    )


def _check_bits(layer: QuantLayer, bias: Ints, low: Ints, high: Ints) -> None:
    """Raise unless bias and every possible accumulator fit ``acc_bits``."""
    bits = layer.spec.acc_bits
    limit = 1 << (bits - 1)
    for what, least, most in (("bias", bias, bias), ("accumulator", low, high)):
        worst = int(np.maximum(most, -least - 1).argmax())
        if most[worst] >= limit or least[worst] < -limit:
            raise QuantizationError(
                f"{layer.plan.name} ({layer.plan.location}): {what} of channel {worst} can reach "
                f"[{least[worst]}, {most[worst]}], which does not fit {bits} bits; use wider "
                "accumulators, fewer terms or fewer input channels"
            )
