"""The float graph: a network as importers produce it, before quantization, and its evaluation.

Parameters are held by name in :attr:`FloatGraph.parameters`; nodes refer to them, so that sharing
is kept.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor

from sigbit.ir.annotation import QuantAnnotation
from sigbit.ir.arrays import distinct
from sigbit.ir.evaluation import UNARY, apply, pad
from sigbit.ir.integer import GraphError
from sigbit.ir.nodes import (
    MAX_WINDOW,
    Add,
    AvgPool2d,
    BatchNorm,
    BelowMax,
    Channels,
    Concat,
    Constant,
    Conv2d,
    ConvTranspose2d,
    DepthToSpace,
    Flatten,
    FromImage,
    GroupSum,
    Interpolate,
    Linear,
    MatMul,
    MaxPool2d,
    Mosaic,
    Multiply,
    Node,
    Pad,
    Padding,
    Placeholder,
    Relu,
    SpaceToDepth,
    ToImage,
    Transpose,
    Unary,
    Upsample,
    parameter_names,
)
from sigbit.ir.shapes import expected_shape
from sigbit_hw.arch.host import HostPart

__all__ = [
    "MAX_WINDOW",
    "UNARY",
    "Add",
    "AvgPool2d",
    "BatchNorm",
    "BelowMax",
    "Channels",
    "Concat",
    "Constant",
    "Conv2d",
    "ConvTranspose2d",
    "DepthToSpace",
    "Flatten",
    "FloatGraph",
    "FloatState",
    "FromImage",
    "GroupSum",
    "Interpolate",
    "Linear",
    "MatMul",
    "MaxPool2d",
    "Mosaic",
    "Multiply",
    "Node",
    "Pad",
    "Padding",
    "Placeholder",
    "QuantAnnotation",
    "Relu",
    "SpaceToDepth",
    "ToImage",
    "Transpose",
    "Unary",
    "Upsample",
    "pad",
    "parameter_names",
    "verify",
]


@dataclass(frozen=True)
class FloatState:
    """The input ``input`` is the output called ``output`` of the run before; ``initial`` in the
    first run, for one sample."""

    input: str
    output: str
    initial: Tensor


@dataclass(frozen=True)
class FloatGraph:
    """Nodes in topological order, parameters by name, names of the output tensors.

    ``quantizers``: by tensor, the quantizer that a quantized model applies to it; its readers see
    the quantized value. ``host``: the steps that the host executes after the network.
    ``output_names``: names under which the user's model returns the outputs, or ``host`` reads
    them; the tensors' names if absent. ``parameter_quantizers``: by parameter, the quantizer that
    produced its values; scale and zero point broadcast with it. ``states``: inputs and outputs that
    a device keeps from run to run.
    """

    name: str
    nodes: tuple[Node, ...]
    parameters: Mapping[str, Tensor]
    outputs: tuple[str, ...]
    quantizers: Mapping[str, QuantAnnotation] = field(default_factory=dict)
    host: HostPart = field(default_factory=HostPart)
    parameter_quantizers: Mapping[str, QuantAnnotation] = field(default_factory=dict)
    output_names: tuple[str, ...] = ()
    states: tuple[FloatState, ...] = ()
    _by_name: dict[str, Node] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_by_name", {n.name: n for n in self.nodes})
        if not self.output_names:
            object.__setattr__(self, "output_names", distinct(self.outputs))
        verify(self)

    def __getitem__(self, name: str) -> Node:
        return self._by_name[name]

    @property
    def inputs(self) -> tuple[Placeholder, ...]:
        """The network inputs."""
        return tuple(n for n in self.nodes if isinstance(n, Placeholder))

    @property
    def given(self) -> tuple[Placeholder, ...]:
        """The inputs that the network's user gives: those that are no states."""
        kept = {state.input for state in self.states}
        return tuple(node for node in self.inputs if node.name not in kept)

    @property
    def kept(self) -> tuple[tuple[str, str], ...]:
        """Input, and tensor that becomes the next run's input, of every state."""
        tensors = dict(zip(self.output_names, self.outputs, strict=True))
        return tuple((state.input, tensors[state.output]) for state in self.states)

    def consumers(self, name: str) -> tuple[Node, ...]:
        """Return the nodes that read tensor ``name``, one entry per use."""
        return tuple(n for n in self.nodes for i in n.inputs if i == name)

    def evaluate(self, inputs: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Compute every tensor ``[batch, *shape]`` by node name, quantized where it has a
        quantizer, from the inputs; batch norm uses its running statistics."""
        values: dict[str, Tensor] = {}
        for node in self.nodes:
            value = (
                inputs[node.name]
                if isinstance(node, Placeholder)
                else apply(node, [values[i] for i in node.inputs], self.parameters)
            )
            quantizer = self.quantizers.get(node.name)
            values[node.name] = value if quantizer is None else quantizer(value)
        return values

    def results(self, inputs: Mapping[str, Tensor]) -> tuple[Tensor, ...]:
        """Return the results of the user's model: the outputs, with the host's part applied."""
        values = self.evaluate(inputs)
        results = [values[name] for name in self.outputs]
        if not self.host:
            return tuple(results)
        given = {n: v.double().numpy() for n, v in zip(self.output_names, results, strict=True)}
        on_host = [torch.from_numpy(np.asarray(v)) for v in self.host(given).values()]
        return tuple(v.to(results[0].dtype) if v.is_floating_point() else v for v in on_host)


def verify(graph: FloatGraph) -> None:
    """Raise :class:`GraphError` unless names, operand counts, parameters and shapes of every node
    fit together.
    """
    seen: dict[str, Node] = {}
    for node in graph.nodes:
        if node.name in seen:
            raise GraphError(f"{node.name}: a second node of this name")
        several = len(node.inputs) or 1
        two = (Add, Multiply, MatMul)
        given = {Placeholder: 0, Constant: 0, Concat: several, Mosaic: several}
        operands = given.get(type(node), 2 if isinstance(node, two) else 1)
        if len(node.inputs) != operands:
            raise GraphError(
                f"{node.name}: {type(node).__name__} has {operands} operands, "
                f"not {len(node.inputs)}"
            )
        for tensor in node.inputs:
            if tensor not in seen:
                raise GraphError(f"{node.name}: reads {tensor!r}, which is not an earlier node")
            if len(seen[tensor].shape) == 2 and not isinstance(node, ToImage):
                raise GraphError(f"{node.name}: reads {tensor!r}, which is no image or vector")
        for parameter in parameter_names(node):
            if parameter not in graph.parameters:
                raise GraphError(f"{node.name}: parameter {parameter!r} does not exist")
        if not 1 <= len(node.shape) <= 3 or min(node.shape) < 1:
            raise GraphError(
                f"{node.name}: shape must have one to three sizes above 0, not {node.shape}"
            )
        if not isinstance(node, Placeholder):
            expected = expected_shape(node, [seen[t].shape for t in node.inputs], graph.parameters)
            if isinstance(expected, str):
                raise GraphError(f"{node.name}: {expected}")
            if expected != node.shape:
                raise GraphError(f"{node.name}: gives {expected}, not {node.shape}")
        seen[node.name] = node
    for name in graph.outputs:
        if name not in seen:
            raise GraphError(f"output {name!r} is not a node")
    if len(set(graph.output_names)) != len(graph.outputs):
        raise GraphError(f"{len(graph.outputs)} outputs have the names {graph.output_names}")
    outputs = dict(zip(graph.output_names, graph.outputs, strict=True))
    for state in graph.states:
        place = seen.get(state.input)
        if not isinstance(place, Placeholder) or place.shape != tuple(state.initial.shape):
            raise GraphError(f"state {state.input!r} is no input {list(state.initial.shape)}")
        if state.output not in outputs or seen[outputs[state.output]].shape != place.shape:
            raise GraphError(f"state {state.input!r} has no next value of its shape")
    for name in graph.quantizers:
        if name not in seen:
            raise GraphError(f"quantizer of {name!r}, which is not a node")
    for name in graph.parameter_quantizers:
        if name not in graph.parameters:
            raise GraphError(f"quantizer of {name!r}, which is not a parameter")
    try:
        graph.host.check({name: seen[tensor].shape for name, tensor in outputs.items()})
    except ValueError as error:
        raise GraphError(f"host: {error}") from None
