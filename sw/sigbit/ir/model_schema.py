"""The JSON document of an integer model's file: its schema, and the conversion from and to nodes.

Arrays are named in the document and stored beside it; nodes that share an array use the same name.
Every field is required, extra fields are refused, and numbers are not converted between types.
"""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Annotated, Any, Literal

from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Discriminator, FailFast, Field, Tag

from sigbit.ir.arrays import Ints
from sigbit.ir.integer import (
    Axes,
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
from sigbit.ir.states import STATES_MAX
from sigbit_hw.arch.formats import Format
from sigbit_hw.arch.host_schema import HostDocument, host_document
from sigbit_hw.arch.preprocessing import Colours, ImagePreprocessing

SCHEMA_VERSION = 6
"""Schema version, incremented with every change of the document."""

Arrays = Mapping[str, Ints]
Keep = Callable[[str, Ints], str]
"""Stores an array under a name if there is no equal one; returns the name of the stored one."""

Number = Annotated[int, Field(ge=-(1 << 31), lt=1 << 31)]
Pair = tuple[Number, Number]
Four = tuple[Number, Number, Number, Number]


class _Schema(BaseModel):
    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class Type(_Schema):
    """A tensor: ``real = scale * (stored + zero)``; ``weights``: of weight digits."""

    shape: tuple[Number, Number, Number]
    planes: Number
    scale: float
    zero: Number
    weights: bool


class InputSchema(_Schema):
    """A network input, with the axes of the user's tensor."""

    op: Literal["input"]
    name: str
    type: Type
    low: Number
    high: Number
    axes: Axes

    def node(self, arrays: Arrays) -> Input:
        return Input(self.name, _type(self.type), self.low, self.high, self.axes)


class ConstantSchema(_Schema):
    """The same integers for every image."""

    op: Literal["constant"]
    name: str
    type: Type
    values: str

    def node(self, arrays: Arrays) -> Constant:
        return Constant(self.name, arrays[self.values], _type(self.type))


class SourceSchema(_Schema):
    """One operand of a convolution."""

    tensor: str
    weights: str
    terms: Number
    stride: Pair
    padding: Four
    groups: Number
    dilation: Pair
    upsampling: Pair

    def source(self, arrays: Arrays) -> Source:
        return Source(
            self.tensor,
            arrays[self.weights],
            self.terms,
            self.stride,
            self.padding,
            self.groups,
            self.dilation,
            self.upsampling,
        )


class ConvSchema(_Schema):
    """A sum of convolutions, requantized and looked up in a table."""

    op: Literal["conv"]
    name: str
    type: Type
    sources: tuple[SourceSchema, ...]
    base: str
    step: str
    tie: str
    table: str
    kind: str
    location: str

    def node(self, arrays: Arrays) -> Conv:
        return Conv(
            self.name,
            tuple(source.source(arrays) for source in self.sources),
            arrays[self.base],
            arrays[self.step],
            arrays[self.tie],
            arrays[self.table],
            _type(self.type),
            self.kind,
            self.location,
        )


class MatmulSchema(_Schema):
    """Products of two tensors, requantized and looked up in a table."""

    op: Literal["matmul"]
    name: str
    type: Type
    left: str
    right: str
    base: str
    step: str
    tie: str
    table: str
    kind: str
    location: str

    def node(self, arrays: Arrays) -> Matmul:
        return Matmul(
            self.name,
            self.left,
            self.right,
            arrays[self.base],
            arrays[self.step],
            arrays[self.tie],
            arrays[self.table],
            _type(self.type),
            self.kind,
            self.location,
        )


class MaxPoolSchema(_Schema):
    """Maxima over windows."""

    op: Literal["maxpool"]
    name: str
    type: Type
    tensor: str
    kernel: Pair
    stride: Pair
    padding: Four
    kind: str
    location: str

    def node(self, arrays: Arrays) -> MaxPool:
        return MaxPool(
            self.name,
            self.tensor,
            self.kernel,
            self.stride,
            self.padding,
            _type(self.type),
            self.kind,
            self.location,
        )


class GatherSchema(_Schema):
    """Channels of tensors."""

    op: Literal["gather"]
    name: str
    type: Type
    tensors: tuple[str, ...]
    channels: str
    kind: str
    location: str

    def node(self, arrays: Arrays) -> Gather:
        return Gather(
            self.name,
            self.tensors,
            arrays[self.channels],
            _type(self.type),
            self.kind,
            self.location,
        )


class Output(_Schema):
    """An output, with the name and the axes for the network's user."""

    name: str
    tensor: str
    axes: Axes


class StateSchema(_Schema):
    """An input and an output that are one tensor in time, with the array of initial codes."""

    input: str
    output: str
    initial: str


class Preprocessing(_Schema):
    """Conversion of images to the input:
    :class:`~sigbit_hw.arch.preprocessing.ImagePreprocessing`."""

    size: Pair
    mean: tuple[float, ...]
    std: tuple[float, ...]
    scale: float
    resize: Number | None
    colours: Colours


class EsbSchema(_Schema):
    """An :class:`~sigbit_hw.arch.formats.EsbFormat`."""

    bits: Number
    frac: Number
    signed: bool


class LevelSchema(_Schema):
    """A :class:`~sigbit_hw.arch.formats.LevelFormat`."""

    levels: Annotated[tuple[Number, ...], Field(max_length=256)]
    signed: bool


AnyFormat = Annotated[
    Annotated[EsbSchema, Tag("esb")] | Annotated[LevelSchema, Tag("levels")],
    Discriminator(lambda v: "levels" if isinstance(v, dict) and "levels" in v else "esb"),
]

AnyNode = Annotated[
    InputSchema | ConstantSchema | ConvSchema | MatmulSchema | MaxPoolSchema | GatherSchema,
    Field(discriminator="op"),
]


class Document(_Schema):
    """The whole document."""

    schema_version: Literal[6]
    name: str
    weight_format: AnyFormat
    act_format: AnyFormat
    radix_bits: Number
    nodes: Annotated[tuple[AnyNode, ...], FailFast()]
    outputs: tuple[Output, ...]
    host: HostDocument
    preprocessing: Preprocessing | None
    classes: tuple[str, ...]
    states: Annotated[tuple[StateSchema, ...], Field(max_length=STATES_MAX)]

    def graph(self, arrays: Arrays, constants: Mapping[str, NDArray[Any]]) -> IntegerGraph:
        """Return the graph with these arrays and constants of the host; raise ``KeyError`` for a
        missing array, ``ValueError`` for invalid formats and ``GraphError`` for invalid nodes."""
        return IntegerGraph(
            self.name,
            _format(self.weight_format),
            _format(self.act_format),
            self.radix_bits,
            tuple(node.node(arrays) for node in self.nodes),
            tuple(output.tensor for output in self.outputs),
            self.host.part(constants),
            tuple(output.axes for output in self.outputs),
            tuple(output.name for output in self.outputs),
            ImagePreprocessing(**dict(how)) if (how := self.preprocessing) else None,
            self.classes,
            tuple(State(s.input, s.output, arrays[s.initial]) for s in self.states),
        )


def document_of(graph: IntegerGraph, keep: Keep) -> dict[str, Any]:
    """Return the document of a graph as plain values; ``keep`` stores the arrays."""
    outputs = zip(graph.output_names, graph.outputs, graph.output_axes, strict=True)
    return {
        "schema_version": SCHEMA_VERSION,
        "name": graph.name,
        "weight_format": graph.weight_format.to_json(),
        "act_format": graph.act_format.to_json(),
        "radix_bits": int(graph.radix_bits),
        "nodes": [_node(node, keep) for node in graph.nodes],
        "outputs": [{"name": n, "tensor": t, "axes": axes.value} for n, t, axes in outputs],
        "host": host_document(graph.host)[0],
        "preprocessing": graph.preprocessing and asdict(graph.preprocessing),
        "classes": list(graph.classes),
        "states": [
            {
                "input": state.input,
                "output": state.output,
                "initial": keep(f"{state.input}.initial", state.initial),
            }
            for state in graph.states
        ],
    }


def _node(node: Node, keep: Keep) -> dict[str, Any]:
    kind = node.type
    common = {
        "name": node.name,
        "type": {
            "shape": _ints(kind.shape),
            "planes": int(kind.planes),
            "scale": float(kind.scale),
            "zero": int(kind.zero),
            "weights": bool(kind.weights),
        },
    }
    if isinstance(node, Constant):
        return common | {"op": "constant", "values": keep(f"{node.name}.values", node.values)}
    if isinstance(node, Input):
        limits = {"low": int(node.low), "high": int(node.high)}
        return common | limits | {"op": "input", "axes": node.axes.value}
    common |= {"kind": node.kind, "location": node.location}
    match node:
        case Conv() | Matmul():
            arrays = {
                what: keep(f"{node.name}.{what}", getattr(node, what))
                for what in ("base", "step", "tie", "table")
            }
            if isinstance(node, Matmul):
                factors = {"left": node.left, "right": node.right}
                return common | arrays | {"op": "matmul"} | factors
            sources = [_source(node.name, i, s, keep) for i, s in enumerate(node.sources)]
            return common | arrays | {"op": "conv", "sources": sources}
        case MaxPool():
            return common | {
                "op": "maxpool",
                "tensor": node.tensor,
                "kernel": _ints(node.kernel),
                "stride": _ints(node.stride),
                "padding": _ints(node.padding),
            }
        case Gather():
            return common | {
                "op": "gather",
                "tensors": list(node.tensors),
                "channels": keep(f"{node.name}.channels", node.channels),
            }


def _source(name: str, index: int, source: Source, keep: Keep) -> dict[str, Any]:
    return {
        "tensor": source.tensor,
        "weights": keep(f"{name}.weights{index}", source.weights),
        "terms": int(source.terms),
        "stride": _ints(source.stride),
        "padding": _ints(source.padding),
        "groups": int(source.groups),
        "dilation": _ints(source.dilation),
        "upsampling": _ints(source.upsampling),
    }


def _ints(values: tuple[int, ...]) -> list[int]:
    return [int(v) for v in values]


def _type(kind: Type) -> TensorType:
    return TensorType(kind.shape, kind.planes, kind.scale, kind.zero, kind.weights)


def _format(native: EsbSchema | LevelSchema) -> Format:
    return Format.from_json(native.model_dump(mode="json"))
