"""``sigbit bench number-systems``: rows, tables and plot of small accelerators, and how it is
asked."""

import json
import xml.etree.ElementTree as ET
from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from sigbit.bench.number_systems import candidates as known
from sigbit.bench.number_systems import error, tables
from sigbit.bench.number_systems.error import Layers, MeasuredErrors, distribution_error
from sigbit.bench.number_systems.row import (
    DISTRIBUTIONS,
    Candidate,
    Costs,
    cheapest,
    decibels,
    gops_per_klut,
    row_of,
)
from sigbit.bench.number_systems.systems import SYSTEMS, accelerator, refusal, sample
from sigbit.flows.campaigns import number_systems
from sigbit.flows.campaigns.accelerators import Accelerators
from sigbit.flows.campaigns.random_programs import Mismatch
from sigbit.quant.numbers.grid import LevelGrid
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import EsbFormat

KEYS = {
    "preset",
    "number_system",
    "weight_bits",
    "act_bits",
    "target",
    "macs",
    "lut_array",
    "lut_total",
    "lut_per_mac_array",
    "lut_per_mac_total",
    "ff",
    "dsp",
    "memory_bits",
    "levels",
    "fmax_mhz",
    "netlist_sha256",
    "verified_by",
}
SMALL = ("w4a4-integer", "w4a4-esb-k1", "w8a8-esb-k1")
NO_LAYERS: tuple[Layers, ...] = ()


def small_candidates() -> list[Candidate]:
    """Two accelerators small enough for a test, and a refused one."""
    found = []
    for system in SYSTEMS:
        if system.key in SMALL:
            refused = refusal(system)
            config = None if refused else sample(accelerator(system))
            found.append(
                Candidate(system.key, system.name, system.weights, system.acts, config, refused)
            )
    return found


class Double:
    """Tools that count instead of working."""

    def synthesize(self, config: ArchConfig, target: str, progress: object) -> Costs:
        esb = config.weight_format == EsbFormat(4, 1)
        return Costs(1000 + 100 * esb, 2000 + 100 * esb, 300, 20, 0, 4096, 3, 1, f"{target}-hash")

    def verify(self, config: ArchConfig, target: str, progress: object) -> str:
        return f"programs on {config.name}"


@pytest.fixture
def bench(sigbit, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Callable[..., Any]]:
    """The command with doubles of candidates and tools."""
    monkeypatch.setattr(known, "candidates", small_candidates)
    monkeypatch.setattr(number_systems, "Accelerators", Double)
    monkeypatch.setattr(error, "zoo_layers", lambda folder: NO_LAYERS)
    monkeypatch.setenv("SIGBIT_CACHE", str(tmp_path / "cache"))
    number_systems._errors.cache_clear()
    yield partial(sigbit, "bench", "number-systems")
    number_systems._errors.cache_clear()


def silent(what: str, done: int, total: int) -> None:
    assert what


def test_rows_tables_and_plot(bench: Callable[..., Any], tmp_path: Path) -> None:
    rows_file, markdown, plot, routed = (
        tmp_path / name for name in ("rows.json", "t.md", "p.svg", "routed.json")
    )
    routed.write_text('{"netlist_sha256": "ecp5-hash", "fmax_mhz": 123.4}')
    answer = bench("--json", rows_file, "--markdown", markdown, "--plot", plot, "--routed", routed)
    assert answer.code == 0, answer.err
    rows = json.loads(rows_file.read_text())["rows"]
    assert len(rows) == 6
    assert all(set(row) >= KEYS for row in rows)
    built = [row for row in rows if row["refused"] is None]
    assert len(built) == 4
    for row in built:
        assert row["lut_per_mac_total"] == row["lut_total"] / row["macs"]
        assert row["gops_per_klut"]["200"] == pytest.approx(400 / row["lut_per_mac_total"])
        assert row["verified_by"]
    assert [row["fmax_mhz"] for row in built] == [None, None, 123.4, 123.4]
    refused = [row for row in rows if row["refused"]]
    assert all(row["lut_total"] is row["verified_by"] is None for row in refused)
    text = markdown.read_text()
    assert "10.95" in text
    assert "not stated" in text
    assert "integer (15.62)" in text  # the fewest LUTs are the integers', and the table says so
    assert "a sum of 32 products needs 134 bits" in text
    assert ET.fromstring(plot.read_bytes()).tag.endswith("svg")


def test_a_part_keeps_the_other_rows(bench: Callable[..., Any], tmp_path: Path) -> None:
    rows_file = tmp_path / "rows.json"
    for only in ("esb k=1", "integer"):
        assert bench("--only", only, "--target", "xcup", "--json", rows_file).code == 0
    rows = json.loads(rows_file.read_text())["rows"]
    assert [row["preset"] for row in rows] == ["w4a4-integer", "w4a4-esb-k1", "w8a8-esb-k1"]


def test_what_is_wrong_with_rows_is_told(
    bench: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """DSP blocks, and codes that differ: the other rows are measured all the same."""

    class Faulty(Double):
        def synthesize(self, config: ArchConfig, target: str, progress: object) -> Costs:
            return replace(super().synthesize(config, target, progress), dsp=7)

        def verify(self, config: ArchConfig, target: str, progress: object) -> str:
            if target == "ecp5":
                raise Mismatch("3 of 100 codes of conv differ")
            return super().verify(config, target, progress)

    monkeypatch.setattr(number_systems, "Accelerators", Faulty)
    rows_file = tmp_path / "rows.json"
    answer = bench("--only", "w4a4-integer", "--json", rows_file)
    assert answer.code == 1, answer
    assert answer.err.splitlines() == [
        "failed: w4a4-integer on ecp5: 3 of 100 codes of conv differ",
        "w4a4-integer on xcup: 7 DSP blocks",
    ]
    good, bad = json.loads(rows_file.read_text())["rows"]
    assert good["dsp"] == 7
    assert bad["failure"] == "3 of 100 codes of conv differ"
    assert (bad["preset"], bad["target"]) == ("w4a4-integer", "ecp5")


def test_mistakes(bench: Callable[..., Any], tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    other.write_text('{"rows": [{"net": 1}]}')
    for arguments, text in (
        (("--only", "posit"), "w4a4-integer (integer)"),
        (("--json", other), "holds no rows"),
        (("--routed", other), "names no clock"),
    ):
        answer = bench(*arguments)
        assert answer.code == 2
        assert text in answer.err
        assert answer.out == ""


@pytest.mark.sim
@pytest.mark.synth
@pytest.mark.long
def test_a_row_for_real() -> None:
    """Synthesis, random programs in RTL, and the same on the netlist."""
    candidate = next(c for c in small_candidates() if c.name == "w4a4-esb-k1")
    tools = Accelerators()
    row = row_of(candidate, "xcup", MeasuredErrors(NO_LAYERS), tools, silent)
    assert set(row) >= KEYS
    assert 0 < row["lut_array"] < row["lut_total"]
    assert row["dsp"] == 0
    assert len(row["netlist_sha256"]) == 64
    assert "12 random programs" in row["verified_by"]
    assert "4 random programs" in row["verified_by"]
    json.dumps(row)


def test_errors_of_distributions() -> None:
    """Known optima: a uniform quantizer of 15 levels on a Gaussian, and one of 3 levels."""
    assert decibels(distribution_error("gaussian", LevelGrid.of(EsbFormat(2, 0)))) == pytest.approx(
        7.21, abs=0.01
    )  # Max (1960), three levels: 0.1902
    finer = [
        decibels(distribution_error(name, LevelGrid.of(EsbFormat(4, k))))
        for k in (1, 2)
        for name in DISTRIBUTIONS
    ]
    assert finer[1] > finer[3]  # long tails suit the spread levels of k = 1
    assert all(15 < value < 20 for value in finer)


def test_errors_of_every_system() -> None:
    random = torch.Generator().manual_seed(0)
    layers = Layers(
        "net", (torch.randn(2, 64, generator=random),), (torch.rand(256, generator=random),)
    )
    errors = MeasuredErrors((layers,))
    for candidate in known.candidates():
        found = errors.of(candidate)
        for side in found.values():
            assert side.keys() == {*DISTRIBUTIONS, "net"}
            assert all(0 < error < 1 for error in side.values()), candidate.name


def test_throughput() -> None:
    assert gops_per_klut(36.5, 200) == pytest.approx(10.96, abs=0.01)


def test_front() -> None:
    errors = {"weight_error": {"gaussian": 0.01}}

    def row(lut: float | None, error: float) -> dict[str, object]:
        return {
            "target": "xcup",
            "lut_per_mac_total": lut,
            **errors,
            "act_error": {"gaussian": error},
        }

    rows = [row(10, 0.3), row(12, 0.1), row(13, 0.2), row(None, 0.0)]
    assert cheapest(rows, "gaussian") == rows[:2]


@pytest.mark.synth
def test_an_array_alone() -> None:
    """Two's complement has LUTs in the array and nothing else, and says so."""
    candidate = next(c for c in known.candidates() if c.name == "w2a2-array")
    row = row_of(candidate, "ecp5", MeasuredErrors(NO_LAYERS), Accelerators(), silent)
    assert set(row) >= KEYS
    assert row["lut_per_mac_array"] > 4
    assert row["lut_total"] is row["verified_by"] is row["refused"] is None
    (cells,) = tables.evidence("ecp5").grid([row]).cells
    assert cells[-1] == "an array alone, not run"
    assert not tables.verdict_grid([row]).cells
