"""The importers against the tests that come with ONNX and with PyTorch.

Every case is right or refused by the documented exception; none is wrong, none crashes, and none is
worse than ``onnx.txt``, ``torch.txt`` and ``deployed.txt`` have it (:mod:`imports.status` writes
them; of the deployed ones, those of every operator's first image).
"""

import pytest

from imports.status import recorded, worse
from sigbit.bench.imports import deployed, onnx_suite, torch_suite
from sigbit.bench.imports.verdicts import Count, Judged, Verdict
from sigbit.flows.imports import judge_deployed

SELECTED = 30
"""Cases of PyTorch's that run every time."""


def counted(judged: list[Judged], capsys: pytest.CaptureFixture[str]) -> Count:
    count = Count.of(judged[0].suite, judged)
    with capsys.disabled():
        print(f"\n{count}")
    return count


def test_onnx(capsys: pytest.CaptureFixture[str]) -> None:
    judged = list(onnx_suite.judge_suite())
    before = recorded(onnx_suite.SUITE)
    assert worse(judged, before) == []
    assert {j.case for j in judged} >= set(before)
    assert counted(judged, capsys).right >= 230


def selected() -> list[str]:
    """Evenly spread over the cases that are right."""
    right = [c for c, v in recorded(torch_suite.SUITE).items() if v is Verdict.RIGHT]
    return right[:: max(1, len(right) // SELECTED)][:SELECTED]


def test_some_of_torch(capsys: pytest.CaptureFixture[str]) -> None:
    names = selected()
    judged = list(torch_suite.judge_suite(names))
    assert worse(judged, recorded(torch_suite.SUITE)) == []
    assert counted(judged, capsys).right == len(names) == SELECTED


def test_some_deployed(capsys: pytest.CaptureFixture[str]) -> None:
    """Between two layers, on the interpreter: its integers are those of the integer model."""
    before = recorded(deployed.SUITE)
    names = [c for c, v in before.items() if v is Verdict.RIGHT][::8]
    judged = list(judge_deployed(names))
    assert worse(judged, before) == []
    assert counted(judged, capsys).right == len(names) > 5


@pytest.mark.long
def test_all_deployed(capsys: pytest.CaptureFixture[str]) -> None:
    before = recorded(deployed.SUITE)
    judged = list(judge_deployed(before))
    assert worse(judged, before) == []
    assert counted(judged, capsys).total == len(before)


@pytest.mark.long
def test_all_of_torch(capsys: pytest.CaptureFixture[str]) -> None:
    before = recorded(torch_suite.SUITE)
    judged = list(torch_suite.judge_suite())
    assert worse(judged, before) == []
    assert counted(judged, capsys).right >= list(before.values()).count(Verdict.RIGHT)
