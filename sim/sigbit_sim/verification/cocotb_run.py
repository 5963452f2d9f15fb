"""Builds the accelerator for cocotb and runs test modules on it; called from ordinary tests.

The model is cached. Only the ports are visible to cocotb: with every signal public a large array
takes minutes to compile.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path

import pytest
from cocotb_tools.check_results import get_results
from cocotb_tools.runner import get_runner

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware import ports
from sigbit_synthesis.emitted import cached_verilog
from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import verilator_env, verilator_version

TOP = "sigbit_accelerator"
CONFIG = "SIGBIT_COCOTB_CONFIG"
"""Environment variable that passes the ArchConfig to the test module."""


def config_of_run() -> ArchConfig:
    """The ArchConfig of the device under test; called inside the simulator."""
    return ArchConfig.from_json(json.loads(os.environ[CONFIG]))


def run_cocotb(config: ArchConfig, module: Path, folder: Path, seed: int) -> int:
    """Run the cocotb tests of the file `module` with `folder` as working directory.

    Returns the number of passed tests. Fails if a test fails or there is none. Raises
    ToolchainError without a simulator.
    """
    with pytest.MonkeyPatch.context() as patch:
        for name, value in verilator_env().items():
            patch.setenv(name, value)
        patch.setenv(CONFIG, json.dumps(config.to_json()))
        patch.syspath_prepend(str(module.parent))
        build = _build(config)
        results = get_runner("verilator").test(
            test_module=module.stem,
            hdl_toplevel=TOP,
            hdl_toplevel_lang="verilog",
            build_dir=build,
            test_dir=folder,
            results_xml=str(folder / "results.xml"),
            seed=seed,
        )
    tests, failed = get_results(results)
    if failed or not tests:
        raise AssertionError(f"{module.stem}: {failed} of {tests} cocotb tests failed")
    return tests


def _build(config: ArchConfig) -> Path:
    """The folder of the compiled model."""
    verilog = cached_verilog(config, traced=True)
    arguments = [
        "--no-public-flat-rw",
        "-Wno-fatal",
        "-Wno-lint",
        "-O3",
        "--x-assign",
        "fast",
        "--x-initial",
        "fast",
    ]
    key = key_of(
        config.digest,
        verilog,
        _visible(config),
        *arguments,
        repr(verilator_version()),
        metadata.version("cocotb"),
        sys.executable,
    )

    def make(into: Path) -> None:
        (into / "top.v").write_text(verilog)
        (into / "ports.vlt").write_text(_visible(config))
        get_runner("verilator").build(
            sources=[into / "ports.vlt", into / "top.v"],
            hdl_toplevel=TOP,
            build_dir=into,
            build_args=arguments,
            timescale=("1ns", "1ps"),
            always=True,
        )

    return cached_folder(f"cocotb-{key}", make)


def _visible(config: ArchConfig) -> str:
    """Verilator control file that makes the ports public."""
    names: Sequence[str] = ["clk", "rst", *ports.accelerator(config, traced=True)]
    lines = [f'public_flat_rw -module "{TOP}" -var "{name}"' for name in names]
    return "\n".join(["`verilator_config", *lines, ""])
