"""Facts about the file of an integer model."""

from dataclasses import dataclass
from pathlib import Path

from sigbit.flows.details.codes import model_codes
from sigbit.flows.host import host_operations
from sigbit.flows.result import Result, Stopwatch
from sigbit.ir.integer import (
    Axes,
    Constant,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    Matmul,
    MaxPool,
    macs,
    tensors_of,
)
from sigbit.ir.model_file import load_model, model_digest
from sigbit.report.grids import GridUse


@dataclass(frozen=True)
class TensorFacts:
    """An input or output: ``real = scale * (stored + zero)``.

    ``shape`` is the shape of one sample for the network's user, ``axes`` names its axes.
    """

    name: str
    shape: tuple[int, ...]
    axes: str
    planes: int
    scale: float
    zero: int


@dataclass(frozen=True)
class LayerFacts:
    """A layer: ``weights`` is the number of integers in its kernels, ``macs`` of native
    multiply-accumulates, ``terms`` of terms in each operand's weights."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    reads: tuple[str, ...]
    terms: tuple[int, ...]
    planes: int
    weights: int
    macs: int
    location: str


@dataclass(frozen=True, kw_only=True)
class ModelFacts(Result):
    """An integer model."""

    name: str
    digest: str
    file_bytes: int
    weight_format: str
    act_format: str
    radix_bits: int
    inputs: tuple[TensorFacts, ...]
    outputs: tuple[TensorFacts, ...]
    states: tuple[str, ...]
    host: tuple[str, ...]
    layers: tuple[LayerFacts, ...]
    macs: int
    weights: tuple[GridUse, ...] | None


def model_facts(path: Path, *, details: bool = False) -> ModelFacts:
    """Read an integer model and describe it, with ``details`` also the count of each weight value;
    raise ``FileError`` if the file is not an integer model."""
    watch = Stopwatch()
    graph = load_model(path)
    layers = tuple(_layer(graph, n) for n in graph.nodes if not isinstance(n, Input | Constant))
    outputs = zip(graph.output_names, graph.outputs, graph.output_axes, strict=True)
    return ModelFacts(
        name=graph.name,
        digest=model_digest(graph),
        file_bytes=path.stat().st_size,
        weight_format=str(graph.weight_format),
        act_format=str(graph.act_format),
        radix_bits=graph.radix_bits,
        inputs=tuple(_tensor(graph, n.name, n.name, n.axes) for n in graph.inputs),
        outputs=tuple(_tensor(graph, *output) for output in outputs),
        states=tuple(f"{state.input}={state.output}" for state in graph.states),
        host=tuple(map(str, host_operations(graph.host))),
        layers=layers,
        macs=sum(layer.macs for layer in layers),
        weights=model_codes(graph) if details else None,
        **watch.read(),
    )


def _tensor(graph: IntegerGraph, name: str, tensor: str, axes: Axes) -> TensorFacts:
    kind = graph[tensor].type
    shape = axes.shape(kind.shape)
    return TensorFacts(name, shape, axes.value, kind.planes, kind.scale, kind.zero)


def _layer(graph: IntegerGraph, node: Conv | Matmul | MaxPool | Gather) -> LayerFacts:
    sources = node.sources if isinstance(node, Conv) else ()
    return LayerFacts(
        node.name,
        node.kind,
        node.type.shape,
        tuple(dict.fromkeys(tensors_of(node))),
        tuple(s.terms for s in sources),
        node.type.planes,
        sum(s.weights.size for s in sources),
        macs(graph, node),
        node.location,
    )
