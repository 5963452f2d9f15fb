"""One row of ``sigbit bench number-systems``: an accelerator mapped to a fabric, run, and compared
with the precision of its grids."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import Format
from sigbit_tools.stopwatch import Stopwatch

Row = dict[str, Any]
Progress = Callable[[str, int, int], None]
"""Called with the current activity, the number of steps done and their total number."""

CLOCKS = (100, 150, 200, 250, 300)
"""Clock frequencies in megahertz for which throughput is stated."""
DISTRIBUTIONS = ("gaussian", "laplacian")
"""Distributions whose quantization error is stated, in addition to that of real networks."""


@dataclass(frozen=True)
class Candidate:
    """A pair of formats under the name of its number system, and its accelerator; or the reason why
    there is none; or neither, for arrays that are compared alone."""

    name: str
    number_system: str
    weights: Format
    acts: Format
    config: ArchConfig | None = None
    refused: str | None = None


@dataclass(frozen=True)
class Costs:
    """Results of synthesis, before place and route: cells of the array and of the whole
    accelerator, block memory, and the longest path in array and post-processing, in LUTs and carry
    chains."""

    lut_array: int
    lut_total: int
    ff: int
    carry: int
    dsp: int
    memory_bits: int
    levels: int
    carries: int
    netlist_sha256: str


class Tools(Protocol):
    """Interface of synthesis and simulators, which this package does not import."""

    def synthesize(self, config: ArchConfig, target: str, progress: Progress) -> Costs:
        """Map an accelerator to a fabric."""

    def array(self, candidate: Candidate, target: str) -> Row:
        """Columns of :data:`MEASURED` for an array that is compared alone."""

    def verify(self, config: ArchConfig, target: str, progress: Progress) -> str:
        """Run the accelerator; return a description of the runs that were found equal. Raises an
        error if anything differs."""


class Errors(Protocol):
    """Quantization errors of formats."""

    def of(self, candidate: Candidate) -> dict[str, dict[str, float]]:
        """Relative squared errors of weights and activations, by distribution and network."""


def gops_per_klut(lut_per_mac: float, megahertz: float) -> float:
    """Billions of operations per second per 1,000 LUTs; a multiply-accumulate is two operations."""
    return 2 * megahertz / lut_per_mac


def row_of(
    candidate: Candidate, target: str, errors: Errors, tools: Tools, progress: Progress
) -> Row:
    """Row of ``candidate`` on ``target``; a refused candidate has null where there is nothing to
    measure."""
    spent = Stopwatch()
    head: Row = {
        "preset": candidate.name,
        "number_system": candidate.number_system,
        "weight_bits": candidate.weights.bits,
        "act_bits": candidate.acts.bits,
        "weight_format": str(candidate.weights),
        "act_format": str(candidate.acts),
        "target": target,
        "refused": candidate.refused,
    }
    progress("quantization error", 0, 1)
    head |= errors.of(candidate)
    if candidate.config is None:
        alone = {} if candidate.refused else tools.array(candidate, target)
        return head | dict.fromkeys(MEASURED) | alone | spent.read()
    config = candidate.config
    costs = tools.synthesize(config, target, progress)
    per_mac = {
        part: lut / config.macs
        for part, lut in (("array", costs.lut_array), ("total", costs.lut_total))
    }
    return head | {
        "arch_digest": config.digest,
        "shape": [config.pixels, config.oc_lanes, config.ic_lanes, config.post_lanes],
        "macs": config.macs,
        "acc_bits": config.acc_bits,
        "lut_array": costs.lut_array,
        "lut_total": costs.lut_total,
        "lut_per_mac_array": per_mac["array"],
        "lut_per_mac_total": per_mac["total"],
        "ff": costs.ff,
        "carry": costs.carry,
        "dsp": costs.dsp,
        "memory_bits": costs.memory_bits,
        "levels": costs.levels,
        "carries": costs.carries,
        "gops_per_klut": {str(f): gops_per_klut(per_mac["total"], f) for f in CLOCKS},
        "fmax_mhz": None,
        "netlist_sha256": costs.netlist_sha256,
        "verified_by": tools.verify(config, target, progress),
        **spent.read(),
    }


MEASURED = (
    "arch_digest", "shape", "macs", "acc_bits", "lut_array", "lut_total", "lut_per_mac_array",
    "lut_per_mac_total", "ff", "carry", "dsp", "memory_bits", "levels", "carries", "gops_per_klut",
    "fmax_mhz", "netlist_sha256", "verified_by",
)  # fmt: skip
"""Columns of a row for an accelerator that exists."""


def cheapest(rows: Sequence[Mapping[str, Any]], source: str) -> list[Mapping[str, Any]]:
    """Rows that no other row of the same fabric beats or equals in both LUTs per
    multiply-accumulate and error on ``source`` (weights plus activations)."""
    built = [r for r in rows if r["lut_per_mac_total"] is not None and source in r["weight_error"]]

    def place(row: Mapping[str, Any]) -> tuple[float, float]:
        return row["lut_per_mac_total"], total_error(row, source)

    return [
        r
        for r in built
        if not any(
            o["target"] == r["target"]
            and place(o) != place(r)
            and all(a <= b for a, b in zip(place(o), place(r), strict=True))
            for o in built
        )
    ]


def total_error(row: Mapping[str, Any], source: str) -> float:
    """Total error of a product's operands: for small independent errors, the relative squared error
    of the products."""
    return float(row["weight_error"][source] + row["act_error"][source])


def decibels(error: float) -> float:
    """Signal-to-quantization-noise ratio of a relative squared error."""
    return -10 * math.log10(error)
