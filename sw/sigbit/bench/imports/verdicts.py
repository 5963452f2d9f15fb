"""Verdicts on the import of cases from external tests."""

from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum

import torch
from torch import Tensor

from sigbit.frontend import UnsupportedModel
from sigbit.ir.floating import FloatGraph


class Verdict(StrEnum):
    """Verdicts from best to worst."""

    RIGHT = "right"
    WAIVED = "waived"
    REFUSED = "refused"
    WRONG = "wrong"
    CRASH = "crash"

    @property
    def rank(self) -> int:
        """Rank of the verdict; 0 is the best."""
        return list(Verdict).index(self)


@dataclass(frozen=True)
class Judged:
    """One case: ``operator`` and ``reason`` describe the refusal or the error."""

    suite: str
    case: str
    verdict: Verdict
    operator: str = ""
    reason: str = ""


@dataclass(frozen=True)
class Expected:
    """Inputs in the order of the network's, and the expected results; ``tolerance`` is the largest
    difference allowed, relative to the largest result: usually that of float32 with sums in another
    order."""

    inputs: Sequence[Tensor]
    results: Sequence[Tensor]
    tolerance: float = 1e-4


def judge(
    suite: str, case: str, load: Callable[[], FloatGraph], expected: Iterable[Expected]
) -> Judged:
    """Import a network and compare its results. Any exception other than the documented refusal is
    a crash."""
    try:
        graph = load()
        for each in expected:
            if difference := _difference(graph, each):
                return Judged(suite, case, Verdict.WRONG, "", difference)
    except UnsupportedModel as error:
        row = error.rows[0]
        return Judged(suite, case, Verdict.REFUSED, row.op, row.reason)
    except Exception as error:  # anything but a refusal is a fault
        text = f"{type(error).__name__}: {error}".split("\n")[0]
        return Judged(suite, case, Verdict.CRASH, "", text)
    return Judged(suite, case, Verdict.RIGHT)


def _difference(graph: FloatGraph, expected: Expected) -> str:
    """Position of a difference of the results; "" if there is none."""
    names = [node.name for node in graph.inputs]
    with torch.no_grad():
        results = graph.results(dict(zip(names, expected.inputs, strict=True)))
    if len(results) != len(expected.results):
        return f"{len(results)} results instead of {len(expected.results)}"
    for number, (got, want) in enumerate(zip(results, expected.results, strict=True)):
        if got.shape != want.shape:
            return f"result {number} is {tuple(got.shape)} instead of {tuple(want.shape)}"
        a, b = got.double(), want.double()
        same = (a == b) | (a.isnan() & b.isnan())
        if bool(same.all()):
            continue
        largest = float(b[b.isfinite()].abs().max()) if bool(b.isfinite().any()) else 1.0
        error = torch.where(same, 0.0, (a - b).abs()).nan_to_num(nan=torch.inf).max()
        if not float(error) <= expected.tolerance * max(largest, 1e-3):
            return f"result {number} differs by {float(error):.3g} of {largest:.3g}"
    return ""


def worst_or_best(judged: Sequence[Judged]) -> Judged:
    """Verdict of a case that was tested in several ways: a fault in one of them counts, else the
    best."""
    ranked = sorted(judged, key=lambda j: j.verdict.rank)
    return ranked[-1] if ranked[-1].verdict.rank > Verdict.REFUSED.rank else ranked[0]


@dataclass(frozen=True)
class Count:
    """Numbers of verdicts in a suite, and its duration if it was measured."""

    suite: str
    total: int
    right: int
    refused: int
    waived: int
    wrong: int
    crash: int
    seconds: float | None = None
    cpu_seconds: float | None = None

    @classmethod
    def of(
        cls,
        suite: str,
        judged: Iterable[Judged],
        seconds: float | None = None,
        cpu_seconds: float | None = None,
    ) -> "Count":
        """Count the verdicts."""
        n = Counter(j.verdict for j in judged)
        counts = {v.value: n[v] for v in Verdict}
        right, refused, waived = counts["right"], counts["refused"], counts["waived"]
        faults = counts["wrong"], counts["crash"]
        return cls(suite, n.total(), right, refused, waived, *faults, seconds, cpu_seconds)
