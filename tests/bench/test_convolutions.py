"""``sigbit bench convolutions``: what it reports, and when it fails."""

import json
import signal
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from sigbit.bench.convolutions import sweep, tables
from sigbit.bench.convolutions.probe import Layout, Trial
from sigbit.bench.convolutions.shapes import KERNELS, STRIDES, Limit, Shape, shapes
from sigbit.cli.invocation import invoke

SMALL = (Shape(3, 8, 3, 2, 1), Shape(2, 8, 1, 2, 1), Shape(3, 3, 2, 1, 3))
GOOD = Trial(SMALL[0], 1e-6, "", ("jit:avx2 forward_training",))


def test_shapes() -> None:
    """Every kernel and stride for 1 to 16 channels, dense, in two groups and depthwise, each
    once; all are possible."""
    found = [*shapes()]
    assert len(found) == len(set(found)) == 15 * (16 * 2 + 8 + 14)
    assert {(s.inputs, s.kernel, s.stride) for s in found} == {
        (c, k, s) for c in range(1, 17) for k in KERNELS for s in STRIDES
    }
    assert all(s.inputs % s.groups == s.outputs % s.groups == 0 for s in found)


def test_a_sweep_in_short(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Real convolutions: those that the product asks for are right, whatever torch's own do."""
    monkeypatch.setattr(
        "sigbit.cli.commands.bench_convolutions.shapes", lambda channels: iter(SMALL)
    )
    file, page = tmp_path / "c.json", tmp_path / "c.md"
    arguments = ["bench", "convolutions", "--json", file, "--markdown", page, "--limit", "AVX2"]
    assert invoke([*map(str, arguments)]) == 0, capsys.readouterr()
    document = json.loads(file.read_text())
    rows = {row["layout"]: row for row in document["rows"]}
    assert [*rows] == [layout.value for layout in Layout]
    for layout in (Layout.NCHW, Layout.GUARDED):
        assert (rows[layout]["faults"], rows[layout]["shapes"]) == ([], 3)
        assert 0 < rows[layout]["largest_error"] < 1e-5
    assert {row["limit"] for row in rows.values()} == {"AVX2"}
    assert "| instruction set | layout |" in page.read_text()
    assert "Convolutions against float64" in capsys.readouterr().out


def rows_of(layout: Layout, trials: Sequence[Trial]) -> sweep.Row:
    order = sweep.Order(layout, 1, tuple(t.shape for t in trials))
    return sweep._row(Limit.AVX2, "Intel AVX2", order, trials)


def test_faults_are_told_apart() -> None:
    shape = Shape(4, 8, 1, 2, 1)
    crash = Trial(shape, None, "SIGSEGV", ("a forward_training", "b backward_weights"))
    wrong = Trial(replace(shape, inputs=5), 0.5, "", ("b backward_weights",))
    nothing = Trial(replace(shape, inputs=7), float("nan"), "", ())
    row = rows_of(Layout.CHANNELS_LAST, [GOOD, crash, wrong, nothing])
    assert (row.shapes, row.largest_error, row.crashes, row.is_ours) == (4, 1e-6, 1, False)
    assert row.faults == (crash, wrong, nothing)
    assert tables.summary([row]) == [
        ["Intel AVX2", "channels-last", "1", "4", "1.0e-06", "2", "1"],
    ]
    assert tables.faults([row]) == [
        [
            *("Intel AVX2", "channels-last", "1x1, stride 2, dense"),
            *("4 to 5, 7", "3", "b backward_weights"),
        ]
    ]
    json.dumps(row.to_json())


def test_a_fault_of_the_products_own_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    crash = Trial(SMALL[1], None, signal.SIGSEGV.name, ())

    def found(*_: object) -> Iterator[sweep.Row]:
        yield rows_of(Layout.CHANNELS_LAST, [crash])
        yield rows_of(Layout.GUARDED, [GOOD, crash])

    monkeypatch.setattr(sweep, "sweep", found)
    assert invoke(["bench", "convolutions"]) == 1
    said = capsys.readouterr()
    assert "1 shapes at fault in channels-last, through sigbit.ir.convolution" in said.err


def test_equal_instruction_sets_are_tried_once(monkeypatch: pytest.MonkeyPatch) -> None:
    machine = sweep.Machine("some", "2", "v3", "Intel AVX2")
    monkeypatch.setattr(sweep, "machine", lambda limit: machine)
    monkeypatch.setattr(sweep, "_trials", lambda order, limit, said: iter([GOOD]))
    rows = [*sweep.sweep(SMALL, [Limit.AVX2, Limit.DEFAULT], 1, lambda *_: None)]
    assert [(row.limit, row.layout) for row in rows] == [(Limit.AVX2, v) for v in Layout]


def test_other_systems_are_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.platform", "darwin")
    assert invoke(["bench", "convolutions"]) == 2
    assert "on Linux only, not on darwin" in capsys.readouterr().err
