"""``sigbit quantize --budget``: what a network is allowed to cost, in LUTs of the accelerator, and
in cycles or bytes."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from sigbit.cli.console.options import Fabric
from sigbit.cli.precision import act_bits, weight_bits
from sigbit.cli.quality import Tell
from sigbit.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from sigbit.ir.floating import FloatGraph
    from sigbit.quant import PreparedModel, QuantSpec
    from sigbit_hw.arch.config import ArchConfig
    from sigbit_hw.arch.program import Program

Row = dict[str, Any]
LUTS, CYCLES, BYTES = "luts", "cycles", "bytes"


@dataclass(frozen=True)
class Budget:
    """At most ``limit`` LUTs of the accelerator; cycles of a run by the cycle model; or bytes of
    constants (weights, parameters, instructions) of the compiled Program."""

    what: str
    limit: float

    def cost(self, program: "Program") -> float:
        """What ``program`` costs, in cycles or bytes."""
        if self.what == BYTES:
            return float(program.image.size)
        from sigbit_sim.cycles import predict

        return float(predict(program).cycles)


def parse_budgets(texts: Sequence[str]) -> tuple[Budget | None, Budget | None]:
    """The budget of LUTs, and that of cycles or bytes; :class:`UserError` for what is neither, and
    for two of a kind."""
    luts: list[Budget] = []
    of_bits: list[Budget] = []
    for text in texts:
        what, _, number = text.partition("=")
        if what not in (LUTS, CYCLES, BYTES) or not number.isdecimal() or int(number) == 0:
            raise UserError(
                "--budget must be luts=N, cycles=N or bytes=N, such as cycles=200000, not " + text
            )
        (luts if what == LUTS else of_bits).append(Budget(what, float(number)))
    if len(luts) > 1 or len(of_bits) > 1:
        raise UserError(
            f"--budget {' --budget '.join(texts)}: give one number of LUTs at most, and one of "
            "cycles or of bytes"
        )
    return next(iter(luts), None), next(iter(of_bits), None)


def within_luts(
    budget: Budget,
    graph: "FloatGraph",
    batches: "tuple[Tensor, ...]",
    config: "ArchConfig",
    fabric: Fabric,
    quantize: "Callable[[ArchConfig], PreparedModel]",
    tell: Tell,
) -> "tuple[ArchConfig, list[Row]]":
    """The accelerator in the shape of ``config`` whose number system changes the outputs least, of
    those that take at most so many LUTs of ``fabric``; and all that were considered, those of least
    error first, as plain values."""
    from sigbit.bench.number_systems.systems import in_shape
    from sigbit.quant import QuantizationError
    from sigbit.quant.post import choose_number_system
    from sigbit_synthesis import Target, synthesize

    def area(candidate: "ArchConfig") -> float:
        def mapping(module: str, done: int, of: int) -> None:
            tell(f"mapping {candidate.name} to {fabric.value}: {module}", done, of)

        return float(synthesize(candidate, Target(fabric.value), progress=mapping).total.lut)

    def quantized(candidate: "ArchConfig") -> "PreparedModel":
        tell(f"quantizing to {candidate.weight_format} x {candidate.act_format}")
        try:
            return quantize(candidate)
        except UserError as error:
            raise QuantizationError(str(error)) from error

    own = config.weight_format, config.act_format
    others = (c for c in in_shape(config) if (c.weight_format, c.act_format) != own)
    candidates = [config, *others]
    found = choose_number_system(graph, batches, candidates, quantized, area, budget.limit)
    return found.config, [
        {
            "accelerator": trial.config.name,
            "weight_format": str(trial.config.weight_format),
            "act_format": str(trial.config.act_format),
            "error": trial.error,
            "luts": trial.area,
            "refused": trial.refused,
            "chosen": trial.config == found.config,
        }
        for trial in found.trials
    ]


def within(
    budget: Budget,
    graph: "FloatGraph",
    batches: "tuple[Tensor, ...]",
    spec: "QuantSpec",
    config: "ArchConfig",
    tell: Tell,
) -> "tuple[QuantSpec, dict[str, Any]]":
    """``spec`` with the bits a layer that change the outputs least within ``budget``, out of all
    pairs that the accelerator has; and what was found, as plain values.

    Every layer is compiled with every pair, so that this takes a compilation for each of them.
    """
    from sigbit.compiler import compile_graph
    from sigbit.quant import convert
    from sigbit.quant.post import mixed_precision

    count = 0

    def cost(prepared: "PreparedModel") -> float:
        nonlocal count
        count += 1
        tell(f"searching bits: {budget.what} of network {count}")
        return budget.cost(compile_graph(convert(prepared).graph, config))

    pairs = tuple(product(weight_bits(config).values(), act_bits(config).values()))
    found = mixed_precision(graph, spec, batches, pairs, budget.limit, cost)
    return found.spec, {
        "what": budget.what,
        "limit": budget.limit,
        "cost": found.cost,
        "error": found.error,
        "bits": {name: list(pair) for name, pair in found.bits.items()},
    }
