"""Support check of a float network, and its figures on an accelerator."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sigbit.compiler import compile_graph
from sigbit.errors import CompileError, QuantizationError, UserError
from sigbit.flows.description import Description, describe
from sigbit.flows.details.tensors import Tensors, measure
from sigbit.flows.inspect import InspectedProgram, inspect
from sigbit.flows.progress import Tell, silent
from sigbit.flows.quality import LayerCodes, layer_codes
from sigbit.flows.result import Result, Stopwatch
from sigbit.frontend import UnsupportedModel
from sigbit.frontend.report import UnsupportedNode
from sigbit.inputs.accelerators import load_arch
from sigbit.inputs.networks import FloatNetwork, Model, Network, load_network
from sigbit.ir.floating import FloatGraph
from sigbit.quant import PreparedModel, QuantSpec, convert, prepare
from sigbit.quant.plan.fusion import fuse
from sigbit.report.metrics import CLOCK
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_sim.memory import MemoryTiming


@dataclass(frozen=True)
class Fit:
    """A network on an accelerator, with scales from random inputs.

    Parameters
    ----------
    arch, arch_digest : str
        Name and digest of the accelerator.
    constant_bytes, memory_bytes : int
        Weights, parameters and tables; the whole DMA window.
    native_macs : int
        Multiply-accumulates of the array per image.
    cycles : int
        Predicted cycles per image.
    utilization : float
        Native multiply-accumulates relative to the array's maximum in these cycles.
    frames_per_second : float
        At :data:`~sigbit.report.metrics.CLOCK`.
    """

    arch: str
    arch_digest: str
    instructions: int
    constant_bytes: int
    memory_bytes: int
    native_macs: int
    cycles: int
    utilization: float
    frames_per_second: float


@dataclass(frozen=True)
class CheckDetails:
    """Data for reports only: the Program, taken apart, and its tensors on random inputs."""

    program: InspectedProgram
    tensors: Tensors


@dataclass(frozen=True, kw_only=True)
class CheckedNetwork(Result):
    """Supported and unsupported parts of a network.

    Parameters
    ----------
    model : str
        The name used by the caller.
    network : Description, optional
        None if it could not be imported.
    weights : str, optional
        Origin of its weights.
    unsupported : tuple of UnsupportedNode
        Every refusal.
    accelerator : Fit, optional
        None if no accelerator was requested, or the network does not fit it.
    layers : tuple of LayerCodes
        Of a quantized network on an accelerator: the layers whose codes it defines.
    details : CheckDetails, optional
        None if they, or an accelerator, were not requested.
    """

    model: str
    network: Description | None
    weights: str | None
    unsupported: tuple[UnsupportedNode, ...]
    accelerator: Fit | None
    layers: tuple[LayerCodes, ...]
    details: CheckDetails | None

    @property
    def supported(self) -> bool:
        """True if nothing was refused."""
        return not self.unsupported

    def to_json(self) -> dict[str, Any]:
        """Return the figures by name, including those of the network; ``host`` is empty if it could
        not be imported."""
        document = super().to_json()
        network = document.pop("network") or {"host": []}
        document["refusals"] = document.pop("unsupported")
        return document | network | {"supported": self.supported}


def check(
    network: "Model | Network",
    arch: str | ArchConfig | None = None,
    *,
    latency: int = 40,
    exact: bool = False,
    details: bool = False,
    tell: Tell = silent,
) -> CheckedNetwork:
    """Import a float network and report how each operation is carried out, or why it is refused.

    Raises :class:`~sigbit.errors.UserError` for names that do not exist. Refused operations are not
    an exception: :attr:`CheckedNetwork.unsupported` has them all.

    Parameters
    ----------
    network : str, model or Network
        The float network; a name or a model alone is enough for networks that know their inputs.
    arch : str or ArchConfig, optional
        Also compile for this accelerator, with scales from random inputs, and predict its cycles.
    latency : int
        Memory latency for the prediction, in cycles.
    exact : bool
        Refuse layers whose codes differ from those of the quantized network; needs ``arch``.
    details : bool
        Also collect the data that only a report of a network on an accelerator shows.
    """
    if exact and arch is None:
        raise UserError("--exact needs an accelerator, on which codes are: add --arch PRESET")
    watch = Stopwatch()
    wanted = Network.of(network)
    config = None if arch is None else load_arch(arch)
    loaded: FloatNetwork | None = None
    fit: Fit | None = None
    layers: tuple[LayerCodes, ...] = ()
    found: CheckDetails | None = None
    refused: tuple[UnsupportedNode, ...] = ()
    tell(f"importing {wanted.name}")
    try:
        loaded = load_network(wanted)
        fuse(loaded.graph)
        if config is not None:
            tell(f"compiling for {config.name}")
            fitted = _fit(loaded.graph, config)
            layers = layer_codes(fitted.prepared)
            fit = _figures(fitted.program, latency)
            if details:
                found = fitted.details(latency, tell)
            refused = _inexact(loaded.graph, layers) if exact else ()
    except UnsupportedModel as error:
        refused = error.rows
    return CheckedNetwork(
        model=wanted.name,
        network=None if loaded is None else describe(loaded.graph),
        weights=None if loaded is None else loaded.weights,
        unsupported=refused,
        accelerator=fit,
        layers=layers,
        details=found,
        **watch.read(),
    )


def _inexact(graph: FloatGraph, layers: tuple[LayerCodes, ...]) -> tuple[UnsupportedNode, ...]:
    """Return a row for every layer whose codes differ from those of the quantized network."""
    if not graph.quantizers:
        reason = "has no quantizers, so that there are no codes to be equal to"
        remedy = "give a quantized model (QONNX, QDQ), or leave --exact out"
        return (UnsupportedNode(graph.name, "network", "", reason, remedy),)
    remedy = "leave --exact out, or change the model's quantizers"
    return tuple(
        UnsupportedNode(c.name, "codes", c.location, str(c), remedy) for c in layers if not c.exact
    )


@dataclass(frozen=True)
class _Fitted:
    """A network compiled with scales from random ``inputs``."""

    graph: FloatGraph
    inputs: tuple[Tensor, ...]
    prepared: PreparedModel
    program: Program

    def details(self, latency: int, tell: Tell) -> CheckDetails:
        """Return the data of a report."""
        samples = f"{len(self.inputs[0])} random inputs"
        return CheckDetails(
            inspect(self.program, latency=latency, details=True),
            measure(self.prepared, self.graph, self.inputs, samples, tell),
        )


def _fit(graph: FloatGraph, config: ArchConfig) -> _Fitted:
    """Compile the network with scales from random inputs."""
    torch.manual_seed(0)
    examples = tuple(torch.randn(2, *node.shape) for node in graph.inputs)
    try:
        prepared = prepare(graph, QuantSpec.from_arch(config), examples)
        program = compile_graph(convert(prepared).graph, config)
    except (CompileError, QuantizationError) as error:
        remedy = "see the reason, or take another accelerator"
        row = UnsupportedNode(graph.name, config.name, "", str(error), remedy)
        raise UnsupportedModel(graph.name, (row,)) from error
    return _Fitted(graph, examples, prepared, program)


def _figures(program: Program, latency: int) -> Fit:
    config = program.config
    cycles = predict(program, MemoryTiming(latency)).cycles
    native = sum(layer.macs for layer in program.layers)
    return Fit(
        arch=config.name,
        arch_digest=config.digest,
        instructions=len(program.listing),
        constant_bytes=program.image.size,
        memory_bytes=program.memory_bytes,
        native_macs=native,
        cycles=cycles,
        utilization=native / config.macs / cycles,
        frames_per_second=CLOCK / cycles,
    )
