"""Budget of a network: LUTs of the accelerator, and cycles or bytes of the Program."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Self

from sigbit.bench.number_systems.systems import in_shape
from sigbit.compiler import compile_graph
from sigbit.errors import UserError
from sigbit.flows.formats import act_bits, weight_bits
from sigbit.flows.progress import Tell
from sigbit.flows.targets import load_target
from sigbit.ir.floating import FloatGraph
from sigbit.quant import PreparedModel, QuantizationError, QuantSpec, convert
from sigbit.quant.calibration.samples import SampleChunks
from sigbit.quant.post import choose_number_system, mixed_precision
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_synthesis import Target, synthesize

LUTS, CYCLES, BYTES = LIMITS = "luts", "cycles", "bytes"


@dataclass(frozen=True)
class Limit:
    """At most ``amount`` of ``what``: :data:`CYCLES` or :data:`BYTES` of a Program."""

    what: str
    amount: int

    def cost(self, program: Program) -> float:
        """Return the cost of ``program`` in this unit."""
        return float(program.image.size if self.what == BYTES else predict(program).cycles)


@dataclass(frozen=True)
class Budget:
    """Upper limits; None for no limit.

    Parameters
    ----------
    luts : int, optional
        LUTs of the accelerator, before place and route.
    cycles : int, optional
        Cycles per run, by the cycle model.
    bytes : int, optional
        Constants of the Program: weights, parameters and instructions.
    target : Target
        Target whose LUTs are counted.
    """

    luts: int | None = None
    cycles: int | None = None
    bytes: int | None = None
    target: Target = Target.XCUP

    def __post_init__(self) -> None:
        if self.cycles is not None and self.bytes is not None:
            raise UserError("--budget: give one of cycles or of bytes, not both")
        for what in LIMITS:
            limit = getattr(self, what)
            if limit is not None and limit < 1:
                raise UserError(f"--budget: {what} must be at least 1, not {limit}")

    @property
    def of_bits(self) -> Limit | None:
        """The limit within which the bits of the layers are chosen, if there is one."""
        if self.bytes is not None:
            return Limit(BYTES, self.bytes)
        return None if self.cycles is None else Limit(CYCLES, self.cycles)

    @classmethod
    def parse(cls, texts: Sequence[str], target: str | Target = Target.XCUP) -> Self:
        """Return the budget of ``luts=N``, ``cycles=N`` and ``bytes=N``.

        Raises :class:`~sigbit.errors.UserError` for anything else, and for a limit that is given
        twice.
        """
        limits: dict[str, int] = {}
        for text in texts:
            what, _, number = text.partition("=")
            if what not in LIMITS or not number.isdecimal() or not int(number):
                raise UserError(
                    "--budget must be luts=N, cycles=N or bytes=N, such as cycles=200000, not "
                    + text
                )
            if what in limits:
                raise UserError(f"--budget gives {what} twice, {limits[what]} and {number}")
            limits[what] = int(number)
        return cls(**limits, target=load_target(target))


@dataclass(frozen=True)
class NumberSystem:
    """An accelerator that was considered.

    Parameters
    ----------
    accelerator, weight_format, act_format : str
    error : float, optional
        Relative squared error of the outputs; None if the network cannot be quantized to it.
    luts : float, optional
        None if it was not mapped because one with less error had been chosen.
    refused : str
        Reason why the network cannot be quantized to it; else empty.
    chosen : bool
    """

    accelerator: str
    weight_format: str
    act_format: str
    error: float | None
    luts: float | None
    refused: str
    chosen: bool


@dataclass(frozen=True)
class ChosenBits:
    """Bits of the layers that change the outputs least within a budget.

    Parameters
    ----------
    what : str
        "cycles" or "bytes".
    limit : int
    cost : float
    error : float
        Relative squared error of the outputs.
    bits : mapping
        Terms of weights and planes of activations, by layer.
    """

    what: str
    limit: int
    cost: float
    error: float
    bits: Mapping[str, tuple[int, int]]


def within_luts(
    limit: int,
    target: Target,
    graph: FloatGraph,
    samples: SampleChunks,
    config: ArchConfig,
    quantize: Callable[[ArchConfig], PreparedModel],
    tell: Tell,
) -> tuple[ArchConfig, tuple[NumberSystem, ...]]:
    """Return the accelerator in the shape of ``config`` whose number system changes the outputs
    least, among those with at most ``limit`` LUTs of ``target``; and all number systems considered,
    by ascending error."""

    def area(candidate: ArchConfig) -> float:
        def mapping(module: str, done: int, of: int) -> None:
            tell(f"mapping {candidate.name} to {target.value}: {module}", done, of)

        return float(synthesize(candidate, target, progress=mapping).total.lut)

    def quantized(candidate: ArchConfig) -> PreparedModel:
        tell(f"quantizing to {candidate.weight_format} x {candidate.act_format}")
        try:
            return quantize(candidate)
        except UserError as error:
            raise QuantizationError(str(error)) from error

    own = config.weight_format, config.act_format
    others = (c for c in in_shape(config) if (c.weight_format, c.act_format) != own)
    found = choose_number_system(graph, samples, [config, *others], quantized, area, float(limit))
    return found.config, tuple(
        NumberSystem(
            trial.config.name,
            str(trial.config.weight_format),
            str(trial.config.act_format),
            trial.error,
            trial.area,
            trial.refused,
            trial.config == found.config,
        )
        for trial in found.trials
    )


def within(
    limit: Limit,
    graph: FloatGraph,
    samples: SampleChunks,
    spec: QuantSpec,
    config: ArchConfig,
    tell: Tell,
) -> tuple[QuantSpec, ChosenBits]:
    """Return ``spec`` with the bits per layer that change the outputs least within ``limit``, from
    all pairs that the accelerator has; and the result of the search.

    Every layer is compiled with every pair, so that the search takes one compilation per pair.
    """
    count = 0

    def cost(prepared: PreparedModel) -> float:
        nonlocal count
        count += 1
        tell(f"searching bits: {limit.what} of network {count}")
        return limit.cost(compile_graph(convert(prepared).graph, config))

    pairs = tuple(product(weight_bits(config).values(), act_bits(config).values()))
    found = mixed_precision(graph, spec, samples, pairs, float(limit.amount), cost)
    return found.spec, ChosenBits(limit.what, limit.amount, found.cost, found.error, found.bits)
