"""``sigbit bench nets``: its rows on a small network, and how it is asked for."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigbit.bench.nets.cases import CASES, MODELLED, Case
from sigbit.bench.nets.row import model_case, run_case
from sigbit.cli.bench import _Simulators
from sigbit_hw.arch.config import PRESETS

KEYS = {
    "net",
    "input",
    "preset",
    "macs",
    "ideal_cycles",
    "cycles",
    "model_cycles",
    "utilization",
    "mismatches",
    "layers_compared",
    "seconds",
    "cpu_seconds",
    "compile_seconds",
    "rtl_seconds",
    "accuracy_float",
    "accuracy_deployed",
    "images",
    "weights",
    "netlist_sha256",
}
DIGITS = Case("digits", "nano", "digits", "test")


def silent(what: str, done: int, total: int) -> None:
    assert what
    assert 0 <= done <= total


@pytest.mark.sim
def test_a_row() -> None:
    row = run_case(DIGITS, PRESETS["nano"], None, 2, _Simulators(40), silent)
    assert set(row) >= KEYS
    assert row["mismatches"] == 0
    assert row["codes_compared"] > 1000
    assert row["cycles"] == row["model_cycles"]
    assert 0 < row["utilization"] == row["ideal_cycles"] / row["cycles"] < 1
    assert row["weights"] == "random"
    assert row["accuracy_float"] is None
    json.dumps(row)


def test_modelled_rows() -> None:
    rows = model_case(DIGITS, PRESETS["nano"], None, _Simulators(40), silent)
    assert [(r["images"], r["first_layer_terms"]) for r in rows] == [(1, 2), (8, 2), (1, 1), (8, 1)]
    assert all(set(row) >= KEYS and row["cycles"] is None for row in rows)
    one, eight, *_ = rows
    assert one["model_cycles"] < eight["model_cycles"] < 9 * one["model_cycles"]


def test_every_row_names_a_network_and_a_preset() -> None:
    assert {case.preset for case in (*CASES, *MODELLED)} <= set(PRESETS)
    assert len({(c.net, c.preset, c.bits) for c in (*CASES, *MODELLED)}) == len(CASES + MODELLED)


def test_unknown_network(refused: Callable[..., str]) -> None:
    assert "resnet18 on mid" in refused("bench", "nets", "--only", "lenet9000")


def test_rows_without_their_data_are_named(sigbit: Callable[..., Any], tmp_path: Path) -> None:
    answer = sigbit(
        "bench", "nets", "--only", "resnet20", "--data", tmp_path, "--json", tmp_path / "rows.json"
    )
    assert answer.code == 2
    assert "resnet20 on mobile: not run: there is no file" in " ".join(answer.out.split())
    assert "--data" in answer.err
    assert not (tmp_path / "rows.json").exists()


def test_a_file_that_is_something_else(refused: Callable[..., str], tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"rows": [{"something": 1}]}')
    text = refused("bench", "nets", "--only", "svhnnet", "--json", other)
    assert "holds no rows" in text
    assert other.read_text() == '{"rows": [{"something": 1}]}'
