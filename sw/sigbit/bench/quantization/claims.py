"""What publications claim of their methods and what we aim at, and whether it holds in the rows of
``sigbit bench quant``."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from sigbit.bench.quantization.tables import Mean, count_range, means, spread
from sigbit.bench.tables import Row

BITS = (5, 4, 3, 2)
"""Columns of the claims."""


@dataclass(frozen=True)
class Claim:
    """``better`` beats ``worse``, both (method, strategy), at each of ``bits``."""

    text: str
    better: tuple[str, str]
    worse: tuple[str, str]
    bits: tuple[int, ...]


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


def claim_table(rows: Sequence[Row]) -> list[list[str]]:
    """What is claimed, and by how many points it holds here at each of :data:`BITS`, over the seeds
    that both sides have; "≈" before differences that are :func:`undecided`. Only claims whose runs
    are there."""
    found = _fashion(rows)
    lines = []
    for claim in claims():
        points: dict[int, tuple[float, bool]] = {}
        seeds = []
        for bits in claim.bits:
            a, b = found.get((*claim.better, bits)), found.get((*claim.worse, bits))
            both = set(a.seeds) & set(b.seeds) if a and b else set()
            if a and b and both:
                a, b = a.of(both), b.of(both)
                points[bits] = 100 * (a.mean - b.mean), undecided(a, b)
                seeds.append(len(both))
        if points:
            cells = [_points(*points[b]) if b in points else "–" for b in BITS]
            lines.append(
                [claim.text, claim.better[0], *cells, count_range(seeds), _verdict(points)]
            )
    return lines + _rate_claims(rows)


def undecided(a: Mean, b: Mean) -> bool:
    """Whether the ranges over several seeds overlap; with one seed, whether the accuracies differ
    by less than two standard errors that the number of test samples gives their difference."""
    if len(a.values) > 1:
        return min(a.values) <= max(b.values) and min(b.values) <= max(a.values)
    variances = (m.mean * (1 - m.mean) / m.row["test_samples"] for m in (a, b))
    return abs(a.mean - b.mean) < 2 * math.sqrt(sum(variances))


def _points(points: float, about: bool) -> str:
    return f"{'≈ ' if about else ''}{points:+.2f}"


def _verdict(points: dict[int, tuple[float, bool]]) -> str:
    """Where the claim is decided, and in how many cases the sign is the claimed one."""
    signs = {value > 0 for value, about in points.values() if not about}
    text = {(): "undecided", (True,): "yes", (False,): "no"}.get(tuple(signs), "in part")
    right = sum(value > 0 for value, _ in points.values())
    return f"{text}; its sign in {right} of {len(points)}"


def _fashion(rows: Sequence[Row]) -> dict[tuple[str, str, int], Mean]:
    """Means on Fashion-MNIST by method, strategy and bits."""
    return {
        (m.row["method"], m.row["strategy"], m.row["weight_bits"]): m
        for m in means([r for r in rows if r["dataset"] == "Fashion-MNIST"])
    }


def _rate_claims(rows: Sequence[Row]) -> list[list[str]]:
    """Transform Quantization beside plain rounding at the same bits a weight: signal to error of
    the outputs, in dB."""
    gains: dict[str, dict[int, float]] = {}
    for row in rows:
        if row["group"] == "rates":
            gain = 10 * math.log10(row["error_plain"] / row["error"])
            gains.setdefault(f"transform ({row['strategy']})", {})[row["weight_bits"]] = gain
    return [
        [
            "less error than plain rounding",
            method,
            *(f"{of[b]:+.1f} dB" if b in of else "–" for b in BITS),
            "1",
            _verdict({bits: (gain, False) for bits, gain in of.items()}),
        ]
        for method, of in gains.items()
    ]


CLAIM_COLUMNS = ["claim", "method", *(f"{b} bits" for b in BITS), "seeds", "agrees"]
