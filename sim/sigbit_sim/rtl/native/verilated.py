"""Compilation of the C++ that Verilator writes. Its runtime library, which is the same for all
models, is compiled once and cached."""

import os
import platform
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

from sigbit_tools.cache import cached_folder, key_of
from sigbit_tools.toolchain import (
    ToolchainError,
    find_verilator,
    verilator_env,
    verilator_version,
)

MODEL = "Vsigbit"
"""Name of the class of a model."""
_OBJECTS, _RUNTIME = "obj", "libverilated.a"
_COMMON = ("-Wno-fatal", "-Wno-lint", "--no-timing")
_FLAGS = ("-fPIC", "-march=native")

Steps = Callable[[int, int], None]
"""Called with the steps done and their total."""


def processor() -> str:
    """Identification of this processor: code for one may not run on another."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return f"{platform.machine()} {platform.processor()}"
    found = [line for line in lines if line.startswith(("flags", "Features"))]
    return found[0] if found else platform.machine()


def translate(
    verilog: Path, top: str, options: Sequence[str] = (), *, counts: bool = False
) -> None:
    """Write the C++ of module ``top`` into a folder beside ``verilog``. A model that ``counts``
    what it executes cannot be saved.

    Raises :class:`ToolchainError` if Verilator refuses it.
    """
    command = [str(find_verilator().command), "--cc", "--top-module", top, "--prefix", MODEL]
    command += ["--Mdir", _OBJECTS, *_COMMON, *(() if counts else ("--savable",)), *options]
    command += ["-CFLAGS", " ".join(_FLAGS), verilog.name]
    _call(command, verilog.parent)


def build(
    folder: Path,
    sources: Sequence[str],
    to: Path,
    *,
    optimize: str = "-O1",
    flags: Sequence[str] = (),
    counts: bool = False,
    progress: Steps = lambda *_: None,
) -> None:
    """Compile what :func:`translate` has written into ``folder``, and ``sources`` there, to the
    program or library ``to``.

    ``optimize`` is the compiler's option for the model, ``flags`` are those for ``sources``;
    ``counts`` is as for :func:`translate`; ``progress`` is called for each file of the model.

    Raises :class:`ToolchainError` if the compiler refuses a file.
    """
    make = ["make", "-C", _OBJECTS, "-f", f"{MODEL}.mk", f"-j{os.cpu_count() or 1}"]
    make += [f"OPT_FAST={optimize}", "OPT_SLOW=-O0"]
    _make([*make, f"lib{MODEL}.a"], folder, progress)
    verilator = find_verilator()
    root = verilator.root or _output([str(verilator.command), "--getenv", "VERILATOR_ROOT"])
    command = [*_compiler().split(), "-std=c++20", *_FLAGS, f"-DVM_COVERAGE={int(counts)}", *flags]
    command += [f"-I{_OBJECTS}", f"-I{root}/include", f"-I{root}/include/vltstd", "-I.", *sources]
    command += [f"{_OBJECTS}/lib{MODEL}.a", str(_runtime(folder, make, counts)), "-pthread"]
    _call([*command, "-o", str(to)], folder)


def _runtime(folder: Path, make: list[str], counts: bool) -> Path:
    source = Path(__file__).read_text()
    key = key_of(repr(verilator_version()), _compiler(), processor(), source, str(counts))

    def compiled(into: Path) -> None:
        _call([*make, "OPT_FAST=-O1", _RUNTIME], folder)
        shutil.copy(folder / _OBJECTS / _RUNTIME, into)

    return cached_folder(f"verilated-{key}", compiled) / _RUNTIME


def _compiler() -> str:
    return os.environ.get("CXX") or "g++"


def _call(command: list[str], folder: Path) -> None:
    done = subprocess.run(
        command, cwd=folder, env=verilator_env(), capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise _failed(command, done.stdout + done.stderr)


def _make(command: list[str], folder: Path, progress: Steps) -> None:
    """Call ``make``; report each file that is compiled."""
    env = verilator_env()
    plan = subprocess.run(
        [*command, "-n"], cwd=folder, env=env, capture_output=True, text=True, check=False
    )
    total = sum(map(_compiles, plan.stdout.splitlines()))
    done, lines = 0, []
    with subprocess.Popen(
        command,
        cwd=folder,
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if _compiles(line):  # make prints a command when it starts it
                progress(done, total)
                done += 1
    if process.returncode:
        raise _failed(command, "".join(lines))


def _compiles(line: str) -> bool:
    """Return whether a line of make is the compilation of one file."""
    return " -c " in f"{line.rstrip()} "


def _failed(command: list[str], output: str) -> ToolchainError:
    tail = "\n".join(output.splitlines()[-30:])
    return ToolchainError(f"building the RTL model failed: {' '.join(command[:4])} …:\n{tail}")


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
