"""``sigbit bench imports``: its rows, its ranking, and its answer to a fault."""

import json

import pytest

from sigbit.bench.imports.verdicts import Judged, Verdict
from sigbit.flows import imports

RIGHT = [
    Judged("onnx", "a", Verdict.RIGHT),
    Judged("onnx", "b", Verdict.REFUSED, "Sqrt", "not supported"),
    Judged("onnx", "c", Verdict.REFUSED, "Sqrt", "not supported"),
    Judged("onnx", "d", Verdict.REFUSED, "Loop", "not supported"),
    Judged("onnx", "e", Verdict.WAIVED),
]


def test_rows(sigbit, tmp_path, monkeypatch) -> None:
    monkeypatch.setattr(imports, "SUITES", {"onnx": lambda: iter(RIGHT)})
    answer = sigbit("bench", "imports", "--suite", "onnx", "--json", tmp_path / "i.json")
    assert answer.code == 0, answer
    document = json.loads((tmp_path / "i.json").read_text())
    (row,) = document["rows"]
    assert row.pop("seconds") >= 0
    assert row.pop("cpu_seconds") >= 0
    assert [row] == [
        {
            "suite": "onnx",
            "total": 5,
            "right": 1,
            "refused": 3,
            "waived": 1,
            "wrong": 0,
            "crash": 0,
        }
    ]
    assert [(r["operator"], r["count"]) for r in document["refused"]] == [("Sqrt", 2), ("Loop", 1)]
    assert document["faults"] == []


@pytest.mark.parametrize("verdict", [Verdict.WRONG, Verdict.CRASH])
def test_a_fault_fails(sigbit, monkeypatch, verdict: Verdict) -> None:
    fault = Judged("onnx", "f", verdict, "", "differs by 3")
    monkeypatch.setattr(imports, "SUITES", {"onnx": lambda: iter([*RIGHT, fault])})
    answer = sigbit("bench", "imports", "--suite", "onnx")
    assert answer.code == 1
    assert "differs by 3" in answer.out
    assert "1 case is imported wrong" in answer.err
