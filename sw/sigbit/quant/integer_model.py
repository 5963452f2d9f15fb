"""IntegerModel: an integer graph as an ``nn.Module`` that ``torch.export`` can save and load.

Every node is one operator of the ``sigbit`` library whose arguments hold all that the graph says
about it, so that :func:`integer_graph_from_exported` can rebuild an equal graph from a saved
program.
"""

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch._ops import OpOverload
from torch.export import ExportedProgram
from torch.fx import Node as FxNode

from sigbit.errors import DamagedModelError, QuantizationError
from sigbit.ir.annotation import HostOp
from sigbit.ir.integer import (
    Conv,
    Gather,
    GraphError,
    Input,
    IntegerGraph,
    MaxPool,
    Node,
    TensorType,
)
from sigbit.quant.layers import operators
from sigbit_hw.arch.formats import Format
from sigbit_tools.shown import shown


class IntegerModel(nn.Module):
    """The deployed network in PyTorch: real inputs to real outputs, through stored integers only.

    Parameters
    ----------
    graph : IntegerGraph
        The network.
    output_shapes : sequence of tuple of int, optional
        Shapes of the outputs without the batch; (channels, height, width) if absent.
    """

    def __init__(
        self, graph: IntegerGraph, output_shapes: Sequence[tuple[int, ...]] | None = None
    ) -> None:
        super().__init__()
        self.graph = graph
        self.output_shapes = tuple(output_shapes or (graph[o].type.shape for o in graph.outputs))
        self._buffers_of: dict[str, list[str]] = {}
        for index, node in enumerate(graph.nodes):
            arrays = _arrays(node)
            self._buffers_of[node.name] = [f"node{index}_{i}" for i in range(len(arrays))]
            for key, array in zip(self._buffers_of[node.name], arrays, strict=True):
                self.register_buffer(key, torch.from_numpy(np.ascontiguousarray(array)))

    def levels(self, *inputs: Tensor) -> dict[str, Tensor]:
        """Stored integers (int64) ``[batch, C, H, W]`` of every tensor by name, from real
        inputs.
        """
        if len(inputs) != len(self.graph.inputs):
            raise TypeError(
                f"{self.graph.name} has {len(self.graph.inputs)} inputs, not {len(inputs)}"
            )
        given = dict(zip((i.name for i in self.graph.inputs), inputs, strict=True))
        values: dict[str, Tensor] = {}
        for node in self.graph.nodes:
            values[node.name] = self._node(node, values, given)
        return values

    def _node(self, node: Node, values: dict[str, Tensor], given: dict[str, Tensor]) -> Tensor:
        t = node.type
        if isinstance(node, Input):
            g = self.graph
            formats = [g.weight_format.to_json(), g.act_format.to_json(), g.radix_bits]
            return operators.quantize(
                given[node.name],
                list(t.shape),
                t.scale,
                t.zero,
                node.low,
                node.high,
                t.planes,
                node.name,
                self.graph.name,
                json.dumps(formats),
            )
        if isinstance(node, MaxPool):
            lowest = self.graph.act_format.min
            return operators.max_pool(
                values[node.tensor],
                list(node.kernel),
                list(node.stride),
                list(node.padding),
                list(t.shape),
                lowest,
                t.planes,
                t.scale,
                t.zero,
                node.name,
                node.kind,
                node.location,
            )
        buffers = [getattr(self, key) for key in self._buffers_of[node.name]]
        if isinstance(node, Gather):
            return operators.gather(
                [values[name] for name in node.tensors],
                buffers[0],
                list(t.shape),
                t.planes,
                t.scale,
                t.zero,
                node.name,
                node.kind,
                node.location,
            )
        bias, mantissa, shift, table, *weights = buffers
        geometry = [v for s in node.sources for v in operators.describe(s)]
        zeros = [self.graph[s.tensor].type.zero for s in node.sources]
        return operators.conv(
            [values[s.tensor] for s in node.sources],
            weights,
            bias,
            mantissa,
            shift,
            table,
            geometry,
            zeros,
            list(t.shape),
            t.planes,
            t.scale,
            t.zero,
            node.name,
            node.kind,
            node.location,
        )

    def stored(self, *inputs: Tensor) -> dict[str, Tensor]:
        """:meth:`levels` without gradients: what every tensor holds on the accelerator."""
        with torch.no_grad():
            return self.levels(*inputs)

    def forward(self, *inputs: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Real outputs in the dtype of the first input, before the host's part."""
        values = self.levels(*inputs)
        outputs = tuple(
            operators.dequantize(
                values[name],
                self.graph[name].type.scale,
                self.graph[name].type.zero,
                inputs[0],
                json.dumps([(h.function, h.location) for h in self.graph.host if h.output == i]),
            ).reshape(-1, *shape)
            for i, (name, shape) in enumerate(
                zip(self.graph.outputs, self.output_shapes, strict=True)
            )
        )
        return outputs[0] if len(outputs) == 1 else outputs


def _arrays(node: Node) -> list[np.ndarray]:
    """The arrays of a node, in the order of its operator's arguments."""
    if isinstance(node, Conv):
        weights = (s.weights for s in node.sources)
        return [node.bias, node.mantissa, node.shift, node.table, *weights]
    return [node.channels] if isinstance(node, Gather) else []


def integer_graph_from_exported(exported: ExportedProgram) -> IntegerGraph:
    """The integer graph of an exported :class:`IntegerModel`; :class:`QuantizationError` for any
    other program, and for one that is damaged.
    """
    try:
        return _graph_from(exported)
    except (GraphError, QuantizationError):
        raise
    except _DAMAGED as error:
        raise DamagedModelError(
            "the exported program is no integer model of this software, or damaged "
            f"({type(error).__name__}: {shown(str(error))}): export it again"
        ) from error


_DAMAGED = (ArithmeticError, AssertionError, AttributeError, LookupError, TypeError, ValueError)
"""What rebuilding a graph raises where an operator's arguments are not those it was saved with."""


def _graph_from(exported: ExportedProgram) -> IntegerGraph:
    calls = [n for n in exported.graph.nodes if n.op == "call_function"]
    if not any(n.target is torch.ops.sigbit.quantize.default for n in calls):
        raise QuantizationError(
            "the exported program is a float model: quantize it first with sigbit.quant.prepare "
            "and convert, then export the integer model"
        )
    tensors = {**exported.state_dict, **exported.constants}
    signature = exported.graph_signature
    targets = {
        **signature.inputs_to_buffers,
        **signature.inputs_to_parameters,
        **signature.inputs_to_lifted_tensor_constants,
    }
    arrays = {name: tensors[target].detach().cpu() for name, target in targets.items()}
    nodes: list[Node] = []
    outputs: list[str] = []
    host: list[HostOp] = []
    names: dict[FxNode, str] = {}
    header: tuple[str, list[Any]] = ("", [])
    for call in calls:
        arguments = _arguments(call)
        if call.target is torch.ops.sigbit.quantize.default:
            header = (arguments["graph"], json.loads(arguments["formats"]))
            nodes.append(
                Input(arguments["name"], _type(arguments), arguments["low"], arguments["high"])
            )
        elif call.target is torch.ops.sigbit.max_pool.default:
            nodes.append(_max_pool(arguments, names))
        elif call.target is torch.ops.sigbit.conv.default:
            nodes.append(_conv(arguments, names, arrays))
        elif call.target is torch.ops.sigbit.gather.default:
            nodes.append(_gather(arguments, names, arrays))
        elif call.target is torch.ops.sigbit.dequantize.default:
            host += (HostOp(len(outputs), *part) for part in json.loads(arguments["host"]))
            outputs.append(names[arguments["x"]])
            continue
        else:
            continue
        names[call] = nodes[-1].name
    name, (weight_format, act_format, radix_bits) = header
    return IntegerGraph(
        name,
        Format.from_json(weight_format),
        Format.from_json(act_format),
        radix_bits,
        tuple(nodes),
        tuple(outputs),
        tuple(host),
    )


def _arguments(call: FxNode) -> dict[str, Any]:
    assert isinstance(call.target, OpOverload)
    return {
        a.name: call.args[i] if i < len(call.args) else call.kwargs.get(a.name, a.default_value)
        for i, a in enumerate(call.target._schema.arguments)
    }


def _type(a: dict[str, Any]) -> TensorType:
    c, h, w = a["shape"]
    return TensorType((c, h, w), a["planes"], a["scale"], a["zero"])


def _max_pool(a: dict[str, Any], names: dict[FxNode, str]) -> MaxPool:
    return MaxPool(
        a["name"],
        names[a["x"]],
        tuple(a["kernel"]),
        tuple(a["stride"]),
        tuple(a["padding"]),
        _type(a),
        a["kind"],
        a["location"],
    )


def _gather(a: dict[str, Any], names: dict[FxNode, str], arrays: dict[str, Tensor]) -> Gather:
    channels = arrays[a["channels"].name].numpy()
    tensors = tuple(names[x] for x in a["xs"])
    return Gather(a["name"], tensors, channels, _type(a), a["kind"], a["location"])


def _conv(a: dict[str, Any], names: dict[FxNode, str], arrays: dict[str, Tensor]) -> Conv:
    n = operators.GEOMETRY
    sources = tuple(
        operators.source_of(names[x], arrays[w.name], a["geometry"][n * i : n * (i + 1)])
        for i, (x, w) in enumerate(zip(a["xs"], a["weights"], strict=True))
    )
    bias, mantissa, shift, table = (
        arrays[a[key].name].numpy() for key in ("bias", "mantissa", "shift", "table")
    )
    return Conv(
        a["name"], sources, bias, mantissa, shift, table, _type(a), a["kind"], a["location"]
    )
