"""``convert``: the integer graph of a prepared model, with proof that no accumulator overflows."""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.ir.floating import FloatState
from sigbit.ir.integer import (
    Constant,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    Matmul,
    MaxPool,
    Node,
    Source,
    State,
    TensorType,
)
from sigbit.quant.integer_model import IntegerModel
from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.layers.moves import QuantMask, QuantMove, QuantSquare
from sigbit.quant.layers.pairs import QuantPair
from sigbit.quant.layers.plain import QuantGather, QuantInput, QuantMaxPool, QuantState
from sigbit.quant.layers.products import QuantConstant, QuantProduct, QuantTranspose
from sigbit.quant.layers.values import Deployed
from sigbit.quant.plan.plans import Shape, tensors_of
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.spec import ActGrid, QuantSpec
from sigbit_hw.arch.numerics import UNIT
from sigbit_hw.arch.params import in_units
from sigbit_hw.arch.preprocessing import ImagePreprocessing

Ints = NDArray[np.int64]


def convert(
    prepared: PreparedModel,
    *,
    preprocessing: ImagePreprocessing | None = None,
    classes: tuple[str, ...] = (),
) -> IntegerModel:
    """Return the integer model equivalent to ``prepared``, with the same integers in every tensor.
    It also stores the conversion of images to its input, and the names of its classes.

    Raises :class:`QuantizationError` if a parameter has become NaN or infinite, or an accumulator
    could overflow.
    """
    graph = integer_graph(prepared)
    return IntegerModel(replace(graph, preprocessing=preprocessing, classes=classes))


def integer_graph(prepared: PreparedModel) -> IntegerGraph:
    """Return the integer graph of ``prepared``; equal weights share one array."""
    for name, value in prepared.named_parameters():
        if not bool(torch.isfinite(value).all()):
            raise QuantizationError(
                f"parameter {name!r} holds NaN or infinity: the training diverged"
            )
    spec, plan = prepared.spec, prepared.plan
    nodes: list[Node] = []
    scales: dict[str, Tensor] = {}
    shapes = {p.name: p.shape for p in plan.layers}
    for p in plan.layers:
        module = prepared.quant_module(p.name)
        grid = module.grid
        in_scales = [scales[t] for t in tensors_of(p)]
        if isinstance(module, QuantInput | QuantState):
            scale = module.scale.detach().double()
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
        elif isinstance(module, QuantConstant):
            scale = module.scale.double()
            with torch.no_grad():
                levels = module.levels(prepared.parameter_of(module.plan.parameter))
            kind = _type(p.shape, grid, scale)
            nodes.append(Constant(p.name, _ints(levels) - grid.zero, kind))
        elif isinstance(module, QuantMask):
            scale = in_scales[0]
            nodes += _masked(module, module.deploy(in_scales))
        elif isinstance(module, QuantProduct | QuantTranspose):
            with torch.no_grad():
                deployed = module.deploy(in_scales)
            scale = deployed.out_scale
            nodes += _products(module, deployed, spec, shapes[tensors_of(p)[0]][0])
        else:
            with torch.no_grad():
                deployed = module.deploy(in_scales)
            scale = deployed.out_scale
            nodes.append(_conv(module, deployed, spec))
        scales[p.name] = scale
    states = [_state(prepared, state) for state in prepared.states]
    _keep_scales(nodes, plan.states)
    return IntegerGraph(
        prepared.graph_name,
        spec.weight_format,
        spec.act_format,
        spec.radix_bits,
        tuple(nodes),
        tuple(tensor for tensor, _ in plan.outputs),
        prepared.host,
        tuple(axes for _, axes in plan.outputs),
        prepared.output_names,
        states=tuple(states),
    )


def _state(prepared: PreparedModel, state: FloatState) -> State:
    """Return a state, its initial value rounded to its grid."""
    with torch.no_grad():
        module = prepared.quant_module(state.input)
        assert isinstance(module, QuantState)
        levels = module(state.initial[None].double()).levels[0]
    return State(state.input, state.output, _ints(levels) - module.grid.zero)


def _keep_scales(nodes: list[Node], states: Sequence[tuple[str, str]]) -> None:
    """Give states the scales of their next values to the last bit: a given scale differs in it from
    what its logarithm stands for."""
    scales = {node.name: node.type.scale for node in nodes}
    scale_of = {name: scales[tensor] for name, tensor in states}
    for place, node in enumerate(nodes):
        if node.name in scale_of:
            nodes[place] = replace(node, type=replace(node.type, scale=scale_of[node.name]))


def _type(shape: Shape, grid: ActGrid, scale: Tensor) -> TensorType:
    return TensorType(shape, grid.planes, float(scale), grid.zero)


def _ints(x: Tensor) -> Ints:
    return x.detach().cpu().double().numpy().astype(np.int64)


def _masked(module: QuantMask, deployed: Deployed) -> list[Node]:
    """Return the integer nodes of a masked tensor: the mask, and its sum with the tensor."""
    plan, grid, mask = module.plan, module.grid, f"{module.plan.name}.mask"
    absent = _ints((1 - module.keep) * module.level)
    weights, channels = [_ints(w) for w in deployed.weights], plan.shape[0]
    sources = (
        Source(plan.tensor, weights[0], groups=channels),
        Source(mask, weights[1], module.terms, groups=channels),
    )
    base, step = (in_units(x.cpu().numpy()) for x in (deployed.base, deployed.step))
    base = base + grid.zero * weights[0].sum((1, 2, 3)) * UNIT
    table, kind = deployed.table.cpu().numpy(), _type(plan.shape, grid, deployed.out_scale)
    parts = (base, step, _ints(deployed.tie), table, kind, plan.kind, plan.location)
    return [
        Constant(mask, absent, TensorType(plan.shape, 1, 1.0)),
        Conv(plan.name, sources, *parts),
    ]


def _products(
    module: QuantProduct | QuantTranspose, deployed: Deployed, spec: QuantSpec, channels: int
) -> list[Node]:
    """Return the integer nodes of a product, or of a transposition: a product with an identity."""
    plan, nodes = module.plan, list[Node]()
    base, step = (in_units(x.cpu().numpy()) for x in (deployed.base, deployed.step))
    if isinstance(module, QuantProduct):
        left, right = module.plan.left, module.plan.right
        _check_bits(f"{plan.name} ({plan.location})", spec.acc_bits, *module.ends(channels))
    else:
        left, right = f"{plan.name}.identity", module.plan.tensor
        channels = plan.shape[2]
        one = np.eye(channels, dtype=np.int64)[:, None]
        nodes.append(Constant(left, one, TensorType((channels, 1, channels), 1, 1.0)))
    kind = replace(_type(plan.shape, module.grid, deployed.out_scale), weights=plan.weights)
    table, tie = deployed.table.cpu().numpy(), _ints(deployed.tie)
    parts = (base, step, tie, table, kind, plan.kind, plan.location)
    return [*nodes, Matmul(plan.name, left, right, *parts)]


def _conv(
    layer: QuantLayer | QuantMove | QuantSquare | QuantPair,
    deployed: Deployed,
    spec: QuantSpec,
) -> Conv:
    """Return the integer node of a sum; the bases include the contribution of the zeros of its
    sources."""
    plan = layer.plan
    sources, base = [], in_units(deployed.base.cpu().numpy())
    low: Ints = np.zeros(plan.shape[0], np.int64)
    high = low.copy()
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
        base = base + grid.zero * weights.sum((1, 2, 3)) * UNIT
        positive, negative = (
            weights.clip(*limits).sum((1, 2, 3)) for limits in ((0, None), (None, 0))
        )
        low, high = (
            low + positive * (grid.low - grid.zero) + negative * (grid.high - grid.zero),
            high + positive * (grid.high - grid.zero) + negative * (grid.low - grid.zero),
        )
    where = f"{plan.name} ({plan.location})"
    step, tie = in_units(deployed.step.cpu().numpy()), _ints(deployed.tie)
    _check_bits(where, spec.acc_bits, low, high)
    try:
        spec.params.check(base, step, tie)
    except ValueError as error:
        raise QuantizationError(
            f"{where}: the requantization cannot be stored: {error}; use wider accumulators or "
            "fewer levels"
        ) from error
    return Conv(
        plan.name,
        tuple(sources),
        base,
        step,
        tie,
        deployed.table.cpu().numpy(),
        replace(
            _type(plan.shape, layer.grid, deployed.out_scale),
            weights=isinstance(layer, QuantLayer | QuantPair) and layer.plan.weights,
        ),
        plan.kind,
        plan.location,
    )


def _check_bits(where: str, bits: int, low: Ints, high: Ints) -> None:
    """Raise unless every possible accumulator fits ``bits`` bits."""
    limit = 1 << (bits - 1)
    worst = int(np.maximum(high, -low - 1).argmax())
    if high[worst] >= limit or low[worst] < -limit:
        raise QuantizationError(
            f"{where}: accumulator of channel {worst} can reach [{low[worst]}, {high[worst]}], "
            f"which does not fit {bits} bits; use wider accumulators, fewer terms or fewer input "
            "channels"
        )
