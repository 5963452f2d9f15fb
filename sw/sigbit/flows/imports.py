"""Evaluation of the importers by third-party tests."""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

from sigbit.bench.imports import deployed, onnx_suite, torch_suite
from sigbit.bench.imports.verdicts import Count, Judged, Verdict
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.interp.device import Interp


def judge_deployed(only: Collection[str] | None = None) -> Iterator[Judged]:
    """Judge PyTorch's operators between two layers on the interpreter of the smallest preset: the
    cases with these names, or the first image of every operator."""
    config = PRESETS["nano"]
    if only is None:
        only = {f"{name}/image0" for name in torch_suite.operators()}
    return deployed.judge_suite(
        config,
        lambda program, stored: Interp(config).run(program, stored, layers=True).layers,
        only,
    )


SUITES: Mapping[str, Callable[[], Iterator[Judged]]] = {
    onnx_suite.SUITE: onnx_suite.judge_suite,
    torch_suite.SUITE: torch_suite.judge_suite,
    deployed.SUITE: judge_deployed,
}


@dataclass(frozen=True)
class RefusedOperator:
    """Number of cases of a suite that were refused for an operator, and the most frequent
    reason."""

    suite: str
    operator: str
    count: int
    reason: str


@dataclass(frozen=True, kw_only=True)
class JudgedImports(Result):
    """Results of all cases.

    Parameters
    ----------
    rows : tuple of Count
        One for each suite.
    refused : tuple of RefusedOperator
        Refused operators, the most frequent first.
    faults : tuple of Judged
        Cases that are wrong or crash.
    """

    rows: tuple[Count, ...]
    refused: tuple[RefusedOperator, ...]
    faults: tuple[Judged, ...]


def judge_imports(suites: Iterable[str] = tuple(SUITES), *, tell: Tell = silent) -> JudgedImports:
    """Import every case of the suites, and compare what the float graphs compute.

    Parameters
    ----------
    suites : iterable of str
        ``onnx``: the backend tests of the ``onnx`` package. ``torch``: PyTorch's operator database,
        for operators that a network can contain. ``deployed``: these between two layers, quantized,
        compiled and run.
    """
    watch = Stopwatch()
    judged: list[Judged] = []
    rows = []
    for suite in suites:
        own, spent = [], Stopwatch()
        for case in SUITES[suite]():
            own.append(case)
            tell(f"{suite}: {case.case}", len(own))
        took = spent.read()
        rows.append(Count.of(suite, own, took["seconds"], took["cpu_seconds"]))
        judged += own
    return JudgedImports(
        rows=tuple(rows),
        refused=_ranked(judged),
        faults=tuple(j for j in judged if j.verdict in (Verdict.WRONG, Verdict.CRASH)),
        **watch.read(),
    )


def _ranked(judged: Iterable[Judged]) -> tuple[RefusedOperator, ...]:
    """Refused operators, by count."""
    reasons: dict[tuple[str, str], Counter[str]] = {}
    for case in judged:
        if case.verdict is Verdict.REFUSED:
            reasons.setdefault((case.suite, case.operator), Counter())[case.reason] += 1
    found = [
        RefusedOperator(suite, operator, counts.total(), counts.most_common(1)[0][0])
        for (suite, operator), counts in reasons.items()
    ]
    return tuple(sorted(found, key=lambda r: (-r.count, r.suite, r.operator)))
