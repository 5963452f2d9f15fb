"""Budget of a network: LUTs of the accelerator; cycles or bytes of the Program, or its accuracy."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Self

from sigbit.bench.number_systems.systems import in_shape
from sigbit.errors import UserError
from sigbit.flows.progress import Tell
from sigbit.flows.targets import load_target
from sigbit.ir.floating import FloatGraph
from sigbit.quant import PreparedModel, QuantizationError
from sigbit.quant.calibration.samples import SampleChunks
from sigbit.quant.post import choose_number_system
from sigbit.quant.post.mixed import Goal
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_synthesis import Target, synthesize

LUTS, CYCLES, BYTES, ACCURACY = LIMITS = "luts", "cycles", "bytes", "accuracy"


@dataclass(frozen=True)
class Limit:
    """At most ``amount`` of ``what``: :data:`CYCLES` or :data:`BYTES` of a Program, or percentage
    points of :data:`ACCURACY` lost, with as few cycles as possible."""

    what: str
    amount: float

    @property
    def unit(self) -> str:
        """Unit of a Program's cost: :data:`CYCLES` or :data:`BYTES`."""
        return BYTES if self.what == BYTES else CYCLES

    @property
    def goal(self) -> Goal:
        """The goal of the search for bits."""
        if self.what == ACCURACY:
            return Goal(points=self.amount)
        return Goal(cost=self.amount)

    def cost(self, program: Program) -> float:
        """Return the cost of ``program`` in :attr:`unit`."""
        return float(program.image.size if self.unit == BYTES else predict(program).cycles)


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
    accuracy : float, optional
        Percentage points of accuracy that may be lost, estimated without labels; with as few cycles
        as possible.
    target : Target
        Target whose LUTs are counted.
    """

    luts: int | None = None
    cycles: int | None = None
    bytes: int | None = None
    accuracy: float | None = None
    target: Target = Target.XCUP

    def __post_init__(self) -> None:
        if sum(x is not None for x in (self.cycles, self.bytes, self.accuracy)) > 1:
            raise UserError("--budget: give one of cycles, of bytes or of accuracy")
        for what in (LUTS, CYCLES, BYTES):
            limit = getattr(self, what)
            if limit is not None and limit < 1:
                raise UserError(f"--budget: {what} must be at least 1, not {limit}")
        if self.accuracy is not None and not 0 < self.accuracy < 100:
            raise UserError(
                "--budget: accuracy is in percentage points, more than 0 and less than 100, not "
                f"{self.accuracy:g}"
            )

    @property
    def of_bits(self) -> Limit | None:
        """The limit within which the bits of the layers are chosen, if there is one."""
        for what in (CYCLES, BYTES, ACCURACY):
            if (amount := getattr(self, what)) is not None:
                return Limit(what, amount)
        return None

    @classmethod
    def parse(cls, texts: Sequence[str], target: str | Target = Target.XCUP) -> Self:
        """Return the budget of ``luts=N``, ``cycles=N``, ``bytes=N`` and ``accuracy=POINTS``.

        Raises :class:`~sigbit.errors.UserError` for anything else, and for a limit that is given
        twice.
        """
        limits: dict[str, Any] = {}
        for text in texts:
            what, _, number = text.partition("=")
            form = r"\d+(\.\d+)?" if what == ACCURACY else r"0*[1-9]\d*"
            if what not in LIMITS or not re.fullmatch(form, number, re.ASCII):
                raise UserError(
                    "--budget must be luts=N, cycles=N, bytes=N or accuracy=POINTS, such as "
                    f"cycles=200000 or accuracy=1.5, not {text}"
                )
            if what in limits:
                raise UserError(f"--budget gives {what} twice, {limits[what]} and {number}")
            limits[what] = float(number) if what == ACCURACY else int(number)
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
