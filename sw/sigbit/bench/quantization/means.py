"""Accuracies of trained networks as means over their seeds."""

import statistics
from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sigbit.report.tables import NONE, Row

TRAINED = ("quantizers", "strategies", "tasks", "cifar10")
"""Groups whose rows are training runs."""
Key = tuple[str, str, str, str, int]
"""Data set, network, method, strategy and bits."""


@dataclass(frozen=True)
class Spread:
    """A mean, and half of the range if there are several values."""

    mean: float
    half: float | None = None

    @classmethod
    def of(cls, values: Sequence[float]) -> "Spread":
        """Mean and half of the range of ``values``."""
        half = (max(values) - min(values)) / 2 if len(values) > 1 else None
        return cls(statistics.fmean(values), half)

    @property
    def text(self) -> str:
        """``91.39 ± 0.10``, in percent."""
        text = f"{100 * self.mean:.2f}"
        return text if self.half is None else f"{text} ± {100 * self.half:.2f}"


@dataclass(frozen=True)
class Mean:
    """One method at one width.

    Parameters
    ----------
    row : Row
        Values that all its runs share.
    seeds : tuple of int
        Seeds of its runs.
    accuracy : Spread
        Accuracy of the integer models.
    twin : Spread, optional
        Accuracy of the float networks; None if only a mean over other seeds is known.
    values : tuple of float
        Accuracies by seed; empty if only their mean is known.
    """

    row: Row
    seeds: tuple[int, ...]
    accuracy: Spread
    twin: Spread | None
    values: tuple[float, ...] = ()

    @classmethod
    def of_runs(cls, runs: Sequence[Row]) -> "Mean":
        """Mean of runs that differ only in their seed."""
        values = tuple(run["accuracy"] for run in runs)
        twins = [run["accuracy_float"] for run in runs]
        seeds = tuple(run["seed"] for run in runs)
        return cls(runs[0], seeds, Spread.of(values), Spread.of(twins), values)

    @classmethod
    def of_mean(cls, row: Row) -> "Mean":
        """Mean read from a row that holds a mean over ``seeds`` rather than a run."""
        twin = None
        if "accuracy_float" in row:
            twin = Spread(row["accuracy_float"], row.get("accuracy_float_half_range"))
        accuracy = Spread(row["accuracy"], row.get("accuracy_half_range"))
        return cls(row, tuple(row["seeds"]), accuracy, twin)

    def over(self, seeds: Collection[int]) -> "Mean | None":
        """The same mean over ``seeds`` only; None if the values are not known or there are none."""
        kept = [k for k, seed in enumerate(self.seeds) if seed in seeds]
        if not kept or not self.values:
            return None
        values = tuple(self.values[k] for k in kept)
        return Mean(self.row, tuple(self.seeds[k] for k in kept), Spread.of(values), None, values)

    @property
    def key(self) -> Key:
        """Key that distinguishes means."""
        row = self.row
        return (
            row["dataset"], row["model"], row["method"], row["strategy"], row["weight_bits"],
        )  # fmt: skip

    @property
    def below(self) -> float | None:
        """Points below the float twins; None if those of the same seeds are not known."""
        return None if self.twin is None else 100 * (self.twin.mean - self.accuracy.mean)


def means(rows: Sequence[Row]) -> list[Mean]:
    """Trained rows; rows that differ only in their seed are combined."""
    runs: dict[tuple[object, ...], list[Row]] = {}
    for row in rows:
        if row["group"] in TRAINED:
            key = tuple(row[k] for k in ("dataset", "model", "method", "strategy", "weight_bits"))
            runs.setdefault(key, []).append(row)
    return [
        Mean.of_mean(found[0]) if "seeds" in found[0] else Mean.of_runs(found)
        for found in runs.values()
    ]


def fullest_twin(found: Sequence[Mean]) -> str:
    """Float twins of the width with the most seeds."""
    known = [m for m in found if m.twin is not None]
    best = max(known, key=lambda m: len(m.seeds), default=None)
    return NONE if best is None or best.twin is None else best.twin.text


def count_range(counts: Sequence[int]) -> str:
    """``2``, or ``1 to 3``."""
    least, most = min(counts), max(counts)
    return str(most) if least == most else f"{least} to {most}"
