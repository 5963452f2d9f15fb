"""``sigbit quantize --budget``: bits a layer within what the accelerator is allowed to cost."""

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any

from sigbit.cli.errors import UserError
from sigbit.cli.precision import act_bits, weight_bits
from sigbit.cli.quality import Tell

if TYPE_CHECKING:
    from torch import Tensor

    from sigbit.ir.floating import FloatGraph
    from sigbit.quant import PreparedModel, QuantSpec
    from sigbit_hw.arch.config import ArchConfig
    from sigbit_hw.arch.program import Program

CYCLES, BYTES = "cycles", "bytes"


@dataclass(frozen=True)
class Budget:
    """At most ``limit`` cycles of a run by the cycle model, or bytes of constants (weights,
    parameters, instructions) of the compiled Program."""

    what: str
    limit: float

    def cost(self, program: "Program") -> float:
        """What ``program`` costs."""
        if self.what == BYTES:
            return float(program.image.size)
        from sigbit_sim.cycles import predict

        return float(predict(program).cycles)


def parse_budget(text: str | None) -> Budget | None:
    """``cycles=N`` or ``bytes=N``; :class:`UserError` for others."""
    if text is None:
        return None
    what, _, number = text.partition("=")
    if what == "luts":
        raise UserError(
            "--budget luts: the LUTs are those of the accelerator, whatever bits layers have; "
            "choose a smaller --arch (sigbit arch list), and its cycles or bytes here"
        )
    if what not in (CYCLES, BYTES) or not number.isdecimal() or int(number) == 0:
        raise UserError(f"--budget must be cycles=N or bytes=N, such as cycles=200000, not {text}")
    return Budget(what, float(number))


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
