"""Every preset's Verilog is without warnings that are not waived, and every waiver is needed."""

from pathlib import Path

import pytest

from sigbit_hw.arch.config import PRESETS
from sigbit_hw.gateware.emit import NAME
from sigbit_synthesis.emitted import cached_verilog
from verify.lint import SLANG_WAIVED, WAIVED, linted, slang, verilator

pytestmark = pytest.mark.synth


ONLY = {"WidthExpand": ("zcu102", "dense")}
"""Classes of warnings that only these accelerators have."""
LARGE = ("ecp5", "mid", "mobile", "zcu102", "dense", "kv260")


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.long] if n in LARGE else []) for n in PRESETS]
)
def test_presets(name: str) -> None:
    (row,) = linted(name, lambda what, done, total: None)
    assert row["failures"] == []
    assert row["tried"] == 2
    found = {kind for kind in ONLY if row["counts"].get(f"slang {kind}, waived")}
    assert found == {kind for kind, names in ONLY.items() if name in names}


def test_every_waiver_is_needed(tmp_path: Path) -> None:
    file = tmp_path / f"{NAME}.v"
    file.write_text(cached_verilog(PRESETS["nano"]))
    assert set(verilator([file], NAME).waived) == set(WAIVED)
    assert set(slang([file], NAME).waived) == SLANG_WAIVED.keys() - ONLY


FAULTS = {
    "latch": ("reg q; always @* if (a) q = b; assign y = q;", {"Verilator"}),
    "multiple drivers": (
        "reg q; always @(posedge a) q <= b; always @(posedge b) q <= a; assign y = q;",
        {"Verilator"},
    ),
    "open input": ("other o (.x(a)); assign y = 0;", {"Verilator"}),
    "syntax": ("assign y = ;", {"slang", "Verilator"}),
    "unknown name": ("assign y = z_z;", {"slang", "Verilator"}),
}


@pytest.mark.parametrize("name", FAULTS)
def test_faults_are_found(name: str, tmp_path: Path) -> None:
    body, readers = FAULTS[name]
    file = tmp_path / f"{NAME}.v"
    file.write_text(
        f"module {NAME}(input wire a, input wire b, output wire y); {body} endmodule\n"
        "module other(input wire x, input wire w); endmodule\n"
    )
    found = {"slang": slang([file], NAME), "Verilator": verilator([file], NAME)}
    assert {reader for reader, verdict in found.items() if verdict.faults} >= readers
