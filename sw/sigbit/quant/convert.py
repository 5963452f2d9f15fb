"""``convert``: the integer graph of a prepared model, with proof that no accumulator overflows."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.ir.integer import (
    Axes,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    MaxPool,
    Node,
    Source,
    TensorType,
)
from sigbit.quant.integer_model import IntegerModel
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.moves import QuantMove, QuantSquare
from sigbit.quant.layers.plain import QuantGather, QuantInput, QuantMaxPool
from sigbit.quant.layers.values import Deployed
from sigbit.quant.plan.plans import Shape, tensors_of
from sigbit.quant.prepare import PreparedModel
from sigbit.quant.spec import ActGrid

Ints = NDArray[np.int64]


def convert(prepared: PreparedModel) -> IntegerModel:
    """The integer model that computes what ``prepared`` computes, with the same integers in every
    tensor.

    Raises :class:`QuantizationError` where a parameter has become NaN or infinite, or an
    accumulator could overflow.
    """
    return IntegerModel(integer_graph(prepared))


def integer_graph(prepared: PreparedModel) -> IntegerGraph:
    """The integer graph of ``prepared``; equal weights are one array."""
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
        in_scales = [scales[t] for t in tensors_of(p)]
        if isinstance(module, QuantInput):
            scale = module.scale.double()
            kind = _type(p.shape, grid, scale)
            nodes.append(Input(p.name, kind, module.low, module.high, module.plan.axes))
        elif isinstance(module, QuantMaxPool):
            q, scale = module.plan, in_scales[0]
            kind = _type(p.shape, grid, scale)
            nodes.append(
                MaxPool(p.name, q.tensor, q.kernel, q.stride, q.padding, kind, location=q.location)
            )
        elif isinstance(module, QuantGather):
            g, scale = module.plan, in_scales[0]
            channels = np.array(g.channels, np.int64)
            kind = _type(p.shape, grid, scale)
            nodes.append(Gather(p.name, g.tensors, channels, kind, location=g.location))
        else:
            with torch.no_grad():
                deployed = module.deploy(in_scales)
            scale = deployed.out_scale
            nodes.append(_conv(module, deployed, spec.acc_bits))
        scales[p.name] = scale
    return IntegerGraph(
        prepared.graph_name,
        spec.weight_format,
        spec.act_format,
        spec.radix_bits,
        tuple(nodes),
        tuple(tensor for tensor, _ in plan.outputs),
        prepared.host,
        tuple(Axes.of(shape) for _, shape in plan.outputs),
    )


def _type(shape: Shape, grid: ActGrid, scale: Tensor) -> TensorType:
    return TensorType(shape, grid.planes, float(scale), grid.zero)


def _ints(x: Tensor) -> Ints:
    return x.detach().cpu().double().numpy().astype(np.int64)


def _conv(
    layer: QuantLayer | QuantMove | QuantSquare,
    deployed: Deployed,
    acc_bits: int,
) -> Conv:
    """The integer node of a sum; the biases take over what the zeros of its sources add."""
    plan = layer.plan
    sources, bias = [], _ints(deployed.bias)
    low, high = bias.copy(), bias.copy()
    for source, terms, weights, grid in zip(
        layer.sources, layer.terms, map(_ints, deployed.weights), layer.in_grids, strict=True
    ):
        sources.append(
            Source(
                source.tensor,
                weights,
                terms,
                source.stride,
                source.padding,
                source.groups,
                source.dilation,
                source.upsampling,
            )
        )
        bias = bias + grid.zero * weights.sum((1, 2, 3))
        positive, negative = (
            weights.clip(*limits).sum((1, 2, 3)) for limits in ((0, None), (None, 0))
        )
        low, high = (
            low + positive * grid.low + negative * grid.high,
            high + positive * grid.high + negative * grid.low,
        )
    _check_bits(f"{plan.name} ({plan.location})", acc_bits, bias, low, high)
    return Conv(
        plan.name,
        tuple(sources),
        bias,
        _ints(deployed.mantissa),
        _ints(deployed.shift),
        deployed.table.cpu().numpy(),
        _type(plan.shape, layer.grid, deployed.out_scale),
        plan.kind,
        plan.location,
    )


def _check_bits(where: str, bits: int, bias: Ints, low: Ints, high: Ints) -> None:
    """Raise unless bias and every possible accumulator fit ``bits`` bits."""
    limit = 1 << (bits - 1)
    for what, least, most in (("bias", bias, bias), ("accumulator", low, high)):
        worst = int(np.maximum(most, -least - 1).argmax())
        if most[worst] >= limit or least[worst] < -limit:
            raise QuantizationError(
                f"{where}: {what} of channel {worst} can reach "
                f"[{least[worst]}, {most[worst]}], which does not fit {bits} bits; use wider "
                "accumulators, fewer terms or fewer input channels"
            )
