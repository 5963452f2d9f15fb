"""Claims of publications and goals of this project, and their verification in the rows of ``sigbit
bench quant``."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sigbit.bench.quantization.means import Mean, count_range, means
from sigbit.report.tables import NONE, Grid, Row

BITS = (5, 4, 3, 2)
"""Bit widths of the claims, in the order of columns."""
CLAIMS = "claims"
"""Group of rows that hold differences between methods rather than runs."""


@dataclass(frozen=True)
class Claim:
    """The claim that ``better`` beats ``worse``, both (method, strategy), at each of ``bits``."""

    text: str
    better: tuple[str, str]
    worse: tuple[str, str]
    bits: tuple[int, ...]


@dataclass(frozen=True)
class Goal:
    """The goal that ``run`` (method, strategy, bits) loses at most ``points`` against its float
    twin."""

    run: tuple[str, str, int]
    points: float
    source: str


GOALS = (
    Goal(("esb", "", 4), 0.5, "ours"),
    Goal(("esb", "", 2), 2.5, "ours"),
    Goal(("esb", "(8 epochs)", 2), 2.5, "ours"),
    Goal(("ternary", "cluster", 2), 2.5, "CRQ: ternary weights come close to float"),
)


def goal_grid(rows: Sequence[Row]) -> Grid:
    """Loss of the runs against their float twins, in points, and whether it is allowed."""
    found = _fashion(rows)
    lines = []
    for goal in GOALS:
        mean = found.get(goal.run)
        if mean is None or mean.twin is None or mean.below is None:
            continue
        method, strategy, bits = goal.run
        lines.append(
            (
                f"{method} {strategy}".strip(),
                f"{bits} bits",
                mean.accuracy.text,
                mean.twin.text,
                f"{mean.below:.2f}",
                f"{goal.points:.1f} ({goal.source})",
                "yes" if mean.below <= goal.points else "no",
            )
        )
    columns = ("method", "on", "accuracy", "float", "points below", "at most", "holds")
    return Grid("Beside the float twin", columns, tuple(lines), "  >>>  ")


def claims() -> list[Claim]:
    """Claims of the methods' and strategies' publications."""
    found = [
        Claim(f"{text} helps", (method, strategy), (method, ""), bits)
        for text, strategy, methods, bits in (
            ("the sine regularizer", "sinareq", ("dorefa", "wrpn"), (5, 4, 3, 2)),
            ("lowering bits in steps", "progressive", ("esb", "dorefa", "lsq"), (4, 3, 2)),
            (
                "quantizing weights first",
                "progressive (two stages)",
                ("esb", "dorefa", "lsq"),
                (4, 3, 2),
            ),
            ("stochastic precision", "stochastic_precision", ("esb", "dorefa"), (4, 3, 2)),
            ("joint distillation", "distillation", ("esb", "dorefa"), (4, 3, 2)),
            ("Deep Projection", "deep_projection", ("esb", "dorefa", "lsq"), (4, 3, 2)),
            ("cluster regularization", "cluster", ("ternary",), (2,)),
        )
        for method in methods
    ]
    return found + [
        Claim(f"ESB beats {text}", ("esb", ""), worse, (4, 3, 2))
        for text, worse in (
            ("uniform", ("uniform", "")),
            ("powers of two", ("inq", "incremental")),
            ("APoT", ("apot", "")),
        )
    ]


@dataclass(frozen=True)
class Finding:
    """Result of a claim.

    Parameters
    ----------
    claim, method : str
        The claim, and the method it is about.
    gains : dict
        By bits: the advantage of the claimed side, and whether it could be due to chance.
    seeds : tuple of int
        Number of seeds that both sides share, by width.
    unit : str
        Unit of the gains, which determines the number of decimals shown.
    """

    claim: str
    method: str
    gains: Mapping[int, tuple[float, bool]]
    seeds: tuple[int, ...]
    unit: str = ""
    digits: int = 2

    @classmethod
    def of_row(cls, row: Row) -> "Finding":
        """Read a row that holds differences rather than runs."""
        gains = {int(b): (p, int(b) in row["undecided"]) for b, p in row["points"].items()}
        return cls(row["claim"], row["method"], gains, tuple(row["seeds"]))

    @property
    def right(self) -> int:
        """Number of widths at which the gain has the claimed sign."""
        return sum(gain > 0 for gain, _ in self.gains.values())

    @property
    def verdict(self) -> str:
        """``yes``, ``no``, ``in part`` or ``undecided``, according to the gains that are not due to
        chance."""
        signs = {gain > 0 for gain, about in self.gains.values() if not about}
        return {(): "undecided", (True,): "yes", (False,): "no"}.get(tuple(signs), "in part")

    def cell(self, bits: int) -> str:
        """The gain at this number of bits."""
        if bits not in self.gains:
            return NONE
        gain, about = self.gains[bits]
        return f"{'≈ ' if about else ''}{gain:+.{self.digits}f}{self.unit}"


def claim_grid(found: Sequence[Finding]) -> Grid:
    """Each claim, and by how much it holds here at each of :data:`BITS`; "≈" marks differences that
    could be due to chance."""
    cells = tuple(
        (
            f.claim,
            f.method,
            *map(f.cell, BITS),
            count_range(f.seeds),
            f"{f.verdict}; its sign in {f.right} of {len(f.gains)}",
        )
        for f in found
    )
    columns = ("claim", "method", *(f"{b} bits" for b in BITS), "seeds", "agrees")
    return Grid("What publications claim", columns, cells, "  " + ">" * len(BITS))


def findings(rows: Sequence[Row]) -> list[Finding]:
    """Result of every claim whose runs exist, over the seeds that both sides share; rows that hold
    the differences replace missing runs."""
    recorded = [Finding.of_row(row) for row in rows if row["group"] == CLAIMS]
    means = _fashion(rows)
    found = []
    for claim in claims():
        gains: dict[int, tuple[float, bool]] = {}
        seeds = []
        for bits in claim.bits:
            a, b = means.get((*claim.better, bits)), means.get((*claim.worse, bits))
            both = set(a.seeds) & set(b.seeds) if a and b else set()
            better, worse = a and a.over(both), b and b.over(both)
            if better and worse:
                points = 100 * (better.accuracy.mean - worse.accuracy.mean)
                gains[bits] = points, undecided(better, worse)
                seeds.append(len(both))
        if gains:
            found.append(Finding(claim.text, claim.better[0], gains, tuple(seeds)))
    done = {(f.claim, f.method) for f in found}
    left = [f for f in recorded if (f.claim, f.method) not in done]
    return left + found + _rate_findings(rows)


def undecided(a: Mean, b: Mean) -> bool:
    """True if the ranges over several seeds overlap; with one seed, if the accuracies differ by
    less than two standard errors of their difference for this number of test samples."""
    if len(a.values) > 1:
        return min(a.values) <= max(b.values) and min(b.values) <= max(a.values)
    accuracies = ((m.accuracy.mean, m.row["test_samples"]) for m in (a, b))
    variances = [mean * (1 - mean) / samples for mean, samples in accuracies]
    return abs(a.accuracy.mean - b.accuracy.mean) < 2 * math.sqrt(sum(variances))


def _fashion(rows: Sequence[Row]) -> dict[tuple[str, str, int], Mean]:
    """Means on Fashion-MNIST by method, strategy and bits."""
    return {m.key[2:]: m for m in means(rows) if m.key[0] == "Fashion-MNIST"}


def _rate_findings(rows: Sequence[Row]) -> list[Finding]:
    """Transform Quantization compared with plain rounding at the same bits per weight: ratio of
    signal to error of the outputs, in dB."""
    gains: dict[str, dict[int, tuple[float, bool]]] = {}
    for row in rows:
        if row["group"] == "rates":
            gain = 10 * math.log10(row["error_plain"] / row["error"])
            gains.setdefault(f"transform ({row['strategy']})", {})[row["weight_bits"]] = gain, False
    claim = "less error than plain rounding"
    return [Finding(claim, method, of, (1,), " dB", 1) for method, of in gains.items()]
