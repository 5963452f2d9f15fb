"""The accelerator under cocotb; the ``tb_*`` modules hold the tests that run in the simulator."""

from pathlib import Path

import pytest

from sigbit_hw.arch.config import PRESETS
from sigbit_sim.bench.cocotb_run import run_cocotb
from sigbit_sim.toolchain import ToolchainError

HERE = Path(__file__).parent

pytestmark = pytest.mark.sim


@pytest.mark.parametrize("module", ["registers", "programs", "errors"])
def test_top(module: str, tmp_path: Path, seed: int) -> None:
    assert run_cocotb(PRESETS["nano"], HERE / f"tb_{module}.py", tmp_path, seed) > 0


def test_a_missing_simulator_fails(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ToolchainError, match="not found on PATH"):
        run_cocotb(PRESETS["nano"], HERE / "tb_registers.py", tmp_path, 0)
