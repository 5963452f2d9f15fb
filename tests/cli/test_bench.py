"""``sigbit bench nets``: its rows on a small network, and how it is asked for."""

import json
import sys
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest

from sigbit.bench.nets.cases import CASES, MODELLED, Case
from sigbit.bench.nets.row import model_case, run_case
from sigbit.campaigns import workers
from sigbit.flows.campaigns import nets as nets_flow
from sigbit.flows.campaigns.nets import SLOWER, Memories, Simulators, memory_timing
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.memory import MemoryTiming

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
ROOT = Path(__file__).parents[2]
DIGITS = Case("digits", "nano", "digits", "test")


def silent(what: str, done: int, total: int) -> None:
    assert what
    assert 0 <= done <= total


@pytest.mark.sim
def test_a_row() -> None:
    row = run_case(DIGITS, PRESETS["nano"], None, 2, Simulators(Memories()), silent)
    assert set(row) >= KEYS
    assert row["mismatches"] == 0
    assert row["codes_compared"] > 1000
    assert row["cycles"] == row["model_cycles"]
    assert 0 < row["utilization"] == row["ideal_cycles"] / row["cycles"] < 1
    assert row["weights"] == "random"
    assert row["accuracy_float"] is None
    json.dumps(row)


@pytest.mark.sim
def test_modelled_rows() -> None:
    rows = model_case(DIGITS, PRESETS["nano"], None, Simulators(Memories()), silent)
    assert [(r["images"], r["first_layer_terms"]) for r in rows] == [(1, 2), (8, 2), (1, 1), (8, 1)]
    assert all(set(row) >= KEYS and row["cycles"] is None for row in rows)
    one, eight, *_ = rows
    assert one["memory"] is None
    slower = [one[f"cycles_{name}"] for name in SLOWER]
    assert one["model_cycles"] <= min(slower)
    assert slower[0] < slower[1]
    assert one["model_cycles"] < eight["model_cycles"] < 9 * one["model_cycles"]


def test_every_row_names_a_network_and_a_preset() -> None:
    assert {case.preset for case in (*CASES, *MODELLED)} <= set(PRESETS)
    assert len({(c.net, c.preset, c.bits) for c in (*CASES, *MODELLED)}) == len(CASES + MODELLED)


def test_memories() -> None:
    """Columns name a memory, and give it back; every port is later than the one before."""
    memory = MemoryTiming(133, Fraction(1, 2), 1560, 70)
    assert memory_timing(133, "0.5", "70/1560") == memory
    memories = Memories(memory, 3)
    assert memories.columns == {
        "latency": 133,
        "bandwidth": "1/2",
        "refresh": "70/1560",
        "skew": 3,
    }
    latencies = [m.latency for m in memories.of(PRESETS["zcu102"])]
    assert latencies == [133, 136, 139, 142]
    assert memories.name == "latency 133, bandwidth 1/2, refresh 70/1560, skew 3"
    assert Memories().columns == {"latency": 40, "bandwidth": "1", "refresh": "0", "skew": 0}
    assert Memories().name is None


@pytest.mark.parametrize(
    ("option", "value", "message"),
    [
        ("--bandwidth", "3/2", "bandwidth must be a fraction in (0, 1]"),
        ("--bandwidth", "1/0", "bandwidth '1/0'"),
        ("--bandwidth", "fast", "bandwidth 'fast'"),
        ("--refresh", "70/60", "a refresh must be shorter than its period, not 70 of 60"),
        ("--refresh", "5", "not 5 of 0 cycles"),
        ("--refresh", "-1/7", "not -1 of 7 cycles"),
    ],
)
def test_impossible_memories(
    option: str, value: str, message: str, refused: Callable[..., str]
) -> None:
    assert message in refused("bench", "nets", option, value)


def test_unknown_network(refused: Callable[..., str]) -> None:
    assert "resnet18 on mid" in refused("bench", "nets", "--only", "lenet9000")


def test_rows_without_their_data_are_named(sigbit: Callable[..., Any], tmp_path: Path) -> None:
    answer = sigbit(
        "bench", "nets", "--only", "resnet20", "--data", tmp_path, "--json", tmp_path / "rows.json",
        "--work", tmp_path / "work",
    )  # fmt: skip
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


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A network for the cycle model, and one of widths that there are not."""
    monkeypatch.setattr(nets_flow, "CASES", (replace(DIGITS, bits=5),))
    monkeypatch.setattr(nets_flow, "MODELLED", (DIGITS,))


@pytest.mark.sim
def test_a_job_that_fails_is_a_row(small: None, sigbit: Callable[..., Any], tmp_path: Path) -> None:
    rows, work = tmp_path / "rows.json", tmp_path / "work"
    other = json.loads((ROOT / "results" / "networks.json").read_text())["rows"][0]
    stale = {**other, "net": "digits", "preset": "nano"}
    rows.write_text(json.dumps({"rows": [other, stale]}))
    command = ("bench", "nets", "--json", rows, "--work", work)
    answer = sigbit(*command)
    assert answer.code == 1, answer
    assert answer.err == "failed: digits on nano: KeyError: 5\n"
    assert "The large accelerator" in answer.out
    kept, *found = json.loads(rows.read_text())["rows"]
    assert kept == other
    (bad,) = (r for r in found if r["bits"] == 5)
    columns = {"net", "bits", "preset", "memory", "failure", "seconds", "cpu_seconds"}
    assert bad.keys() == columns
    assert bad["failure"] == "KeyError: 5"
    good = [r for r in found if r["bits"] == 4]
    assert [r["images"] for r in good] == [1, 8, 1, 8]
    assert all(r["seconds"] > 0 < r["cpu_seconds"] for r in good)
    sigbit(*command)
    _, *again = json.loads(rows.read_text())["rows"]
    assert [r for r in again if r["bits"] == 4] == good  # not done again


def test_mistakes_about_where_to_run(
    refused: Callable[..., str], small: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    command = ("bench", "nets", "--work", tmp_path, "--scheduler", "tcp://127.0.0.1:1")
    assert "give one of the two" in refused(*command, "--jobs", "2")
    monkeypatch.setattr(workers, "PATIENCE", 0.5)
    assert "cannot reach a Dask scheduler at 'tcp://127.0.0.1:1'" in refused(*command)
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert "pip install 'sigbit[cluster]'" in refused(*command)
