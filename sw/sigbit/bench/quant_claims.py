"""What publications claim of their methods and what we aim at, and whether it holds in the rows of
``sigbit bench quant``."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sigbit.bench.quant_tables import Mean, means, spread
from sigbit.bench.tables import Row


@dataclass(frozen=True)
class Claim:
    """``better`` beats ``worse``, both (method, strategy, bits)."""

    text: str
    better: tuple[str, str, int]
    worse: tuple[str, str, int]


@dataclass(frozen=True)
class Goal:
    """``run`` (method, strategy, bits) falls short of its float twin by at most ``points``."""

    run: tuple[str, str, int]
    points: float
    source: str


GOALS = (
    Goal(("esb", "", 4), 0.5, "ours"),
    Goal(("esb", "", 2), 2.5, "ours"),
    Goal(("esb", "(8 epochs)", 2), 2.5, "ours"),
    Goal(("ternary", "cluster", 2), 2.5, "CRQ: ternary weights come close to float"),
)


def goal_table(rows: Sequence[Row]) -> list[list[str]]:
    """What falls short of its float twin by how much, in points, and whether that is allowed."""
    found = _fashion(rows)
    lines = []
    for goal in GOALS:
        if mean := found.get(goal.run):
            method, strategy, bits = goal.run
            below = 100 * (statistics.fmean(mean.floats) - mean.mean)
            lines.append(
                [
                    f"{method} {strategy}".strip(),
                    f"{bits} bits",
                    mean.text,
                    spread(mean.floats),
                    f"{below:.2f}",
                    f"{goal.points:.1f} ({goal.source})",
                    "yes" if below <= goal.points else "no",
                ]
            )
    return lines


GOAL_COLUMNS = ["method", "on", "accuracy", "float", "points below", "at most", "holds"]


def claims() -> list[Claim]:
    """What the publications of the methods and strategies say of them."""
    found = [
        Claim("the sine regularizer helps", (m, "sinareq", b), (m, "", b))
        for m in ("dorefa", "wrpn")
        for b in (5, 4, 3, 2)
    ]
    for strategy, methods, widths_of in (
        ("progressive", ("esb", "dorefa", "lsq"), (4, 3, 2)),
        ("progressive (two stages)", ("esb", "dorefa", "lsq"), (4, 3, 2)),
        ("stochastic_precision", ("esb", "dorefa"), (4, 3, 2)),
        ("distillation", ("esb", "dorefa"), (4, 3, 2)),
        ("deep_projection", ("esb", "dorefa", "lsq"), (4, 3, 2)),
        ("cluster", ("ternary",), (2,)),
    ):
        found += [
            Claim(f"{strategy} helps", (m, strategy, b), (m, "", b))
            for m in methods
            for b in widths_of
        ]
    for other, strategy in (("uniform", ""), ("inq", "incremental"), ("apot", "")):
        found += [
            Claim(f"ESB beats {other}", ("esb", "", b), (other, strategy, b)) for b in (4, 3, 2)
        ]
    return found


def claim_table(rows: Sequence[Row]) -> list[list[str]]:
    """What is claimed, the difference here in points over the seeds that both have, and whether it
    has the same sign; "within spread" where the ranges over several seeds overlap. Only claims
    whose runs are there."""
    found = _fashion(rows)
    lines = []
    for claim in claims():
        if claim.better in found and claim.worse in found:
            a, b = found[claim.better], found[claim.worse]
            both = set(a.seeds) & set(b.seeds)
            if not both:
                continue
            a, b = a.of(both), b.of(both)
            agrees = "yes" if a.mean > b.mean else "no"
            if len(both) == 1:
                agrees += ", one seed"
            elif min(a.values) <= max(b.values) and min(b.values) <= max(a.values):
                agrees += ", within spread"
            method, _, bits = claim.better
            lines.append(
                [
                    claim.text,
                    f"{method}, {bits} bits",
                    a.text,
                    b.text,
                    f"{100 * (a.mean - b.mean):+.2f}",
                    agrees,
                ]
            )
    return lines + _rate_claims(rows)


def _fashion(rows: Sequence[Row]) -> dict[tuple[str, str, int], Mean]:
    """Means on Fashion-MNIST by method, strategy and bits."""
    return {
        (m.row["method"], m.row["strategy"], m.row["weight_bits"]): m
        for m in means([r for r in rows if r["dataset"] == "Fashion-MNIST"])
    }


def _rate_claims(rows: Sequence[Row]) -> list[list[str]]:
    """Transform Quantization beside plain rounding at the same bits a weight: signal to error of
    the outputs, in dB."""
    lines = []
    for row in rows:
        if row["group"] == "rates":
            ours, plain = (-10 * math.log10(row[k]) for k in ("error", "error_plain"))
            lines.append(
                [
                    "the rate-distortion curve lies above plain rounding's",
                    f"{row['method']} ({row['strategy']}), {row['weight_bits']} bits a weight",
                    f"{ours:.2f} dB",
                    f"{plain:.2f} dB",
                    f"{ours - plain:+.2f} dB",
                    "yes" if ours > plain else "no",
                ]
            )
    return lines


CLAIM_COLUMNS = ["claim", "on", "with", "without", "points", "agrees"]
