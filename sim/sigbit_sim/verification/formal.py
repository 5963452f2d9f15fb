"""Proves properties of gateware with a solver: Yosys, its ``smtbmc``, and Z3.

The design under proof is an Amaranth component that holds the gateware and the statements
``Assert`` and ``Assume`` about it. Its ports, and ``AnySeq``, may have any value in every cycle,
``AnyConst`` any constant value. Registers start at their initial values and are never reset.

:func:`bmc` proves all runs of a given number of cycles. :func:`prove` proves all runs of any
length, by induction over that number of cycles. Neither passes if the assumptions contradict each
other.
"""

import json
import os
import re
import shutil
import subprocess
import sysconfig
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from amaranth.back import rtlil
from amaranth.hdl import ClockDomain, Fragment, Signal, Value
from amaranth.lib import wiring

from sigbit_tools.toolchain import ToolchainError, synth_tool

RESOURCES = 500_000_000
"""Maximum number of Z3 steps (its ``rlimit``) per query: equal on every machine, unlike seconds.
The proofs in ``tests/formal`` take up to 37 million."""
PROOF = "proof.json"
"""Name of the file with a completed :class:`Proof`."""
_SCRIPT = """
read_rtlil design.il
hierarchy -check -top top
proc -norom
flatten
memory -nomap
memory_nordff
memory_map -rom-only
async2sync
chformal -lower
opt -fast
check -assert
dffunmap
write_smt2 -wires design.smt2
"""
_STATUS = re.compile(r"Status: (\w+)")
_UNKNOWN = "response from solver: unknown"
_FAILED = re.compile(r"Assert failed in \S+: (?P<where>\S+)")


class FormalError(Exception):
    """No verdict: a design without properties, contradicting assumptions, or a failed tool."""


class PropertyError(AssertionError):
    """A property does not hold.

    Attributes
    ----------
    where : str
        The failing ``Assert``, as file and line.
    trace : Path
        Waveforms of a run that ends there (VCD).
    """

    def __init__(self, message: str, where: str, trace: Path) -> None:
        super().__init__(message)
        self.where, self.trace = where, trace


@dataclass(frozen=True)
class Proof:
    """A completed proof: ``asserts`` properties of the class ``design`` over ``cycles`` cycles, or
    over all runs if ``unbounded``, in ``seconds``."""

    design: str
    asserts: int
    cycles: int
    unbounded: bool
    seconds: float


def registers(component: wiring.Component) -> tuple[Fragment, dict[str, Signal]]:
    """Elaborated ``component``, to be used as the submodule, and the signals that it assigns, by
    name.

    Properties about the inside of a block need this: invariants, and lemmas that split a proof.
    Submodules are not inspected.
    """
    fragment = Fragment.get(component, None)
    assigned = (
        signal
        for statements in fragment.statements.values()
        for statement in statements
        for signal in statement._lhs_signals()
    )
    return fragment, {signal.name: signal for signal in assigned}


def bmc(design: wiring.Component, cycles: int, folder: Path) -> Proof:
    """Prove every ``Assert`` of ``design`` in the first ``cycles`` cycles of every run.

    Files are written to ``folder``, the proof as :data:`PROOF`. Raises ``PropertyError`` with a
    trace if one fails, ``FormalError`` if there is no verdict, ``ToolchainError`` if a tool is
    missing.
    """
    start = time.perf_counter()
    asserts = _compile(design, cycles, folder)
    _solve(folder, cycles, induction=False)
    return _kept(design, asserts, cycles, False, time.perf_counter() - start, folder)


def prove(design: wiring.Component, cycles: int, folder: Path) -> Proof:
    """Prove every ``Assert`` of ``design`` in all runs, by induction over ``cycles`` cycles.

    In addition to :func:`bmc`, it shows that no ``cycles`` good cycles in a row, from any state,
    are followed by a bad one. Arguments and errors are those of :func:`bmc`; the trace of a failing
    induction step may start in a state that no run reaches: in this case prove more cycles, or
    assert an invariant that excludes it.
    """
    start = time.perf_counter()
    asserts = _compile(design, cycles, folder)
    _solve(folder, cycles, induction=False)
    _solve(folder, cycles, induction=True)
    return _kept(design, asserts, cycles, True, time.perf_counter() - start, folder)


def _kept(
    design: wiring.Component,
    asserts: int,
    cycles: int,
    unbounded: bool,
    seconds: float,
    folder: Path,
) -> Proof:
    """The completed proof, written to its folder."""
    proof = Proof(type(design).__name__, asserts, cycles, unbounded, round(seconds, 3))
    (folder / PROOF).write_text(json.dumps(asdict(proof)))
    return proof


def _compile(design: wiring.Component, cycles: int, folder: Path) -> int:
    """Write ``design.smt2``; return the number of properties to prove."""
    sync = ClockDomain("sync", reset_less=True)
    fragment = Fragment.get(design, None)
    if cycles < 1:
        raise ValueError(f"a proof needs at least 1 cycle, not {cycles!r}")
    folder.mkdir(parents=True, exist_ok=True)
    fragment.add_domains(sync)
    ports = [Value.cast(value) for _, _, value in design.signature.flatten(design)]
    (folder / "design.il").write_text(rtlil.convert(fragment, ports=[sync.clk, *ports]))
    (folder / "design.ys").write_text(_SCRIPT)
    done = subprocess.run(
        [synth_tool("yosys"), "-q", "-l", "yosys.log", "design.ys"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not (folder / "design.smt2").is_file():
        raise FormalError(
            f"Yosys cannot translate {type(design).__name__} (see {folder / 'yosys.log'}): "
            f"{done.stderr.strip().splitlines()[-1:]}"
        )
    asserts = (folder / "design.smt2").read_text().count("; yosys-smt2-assert ")
    if not asserts:
        raise FormalError(
            f"{type(design).__name__} asserts nothing: add `m.d.comb += Assert(...)` to it"
        )
    return asserts


def _solve(folder: Path, cycles: int, *, induction: bool) -> None:
    name = "induction" if induction else "base"
    trace = folder / f"{name}.vcd"
    command = [
        str(synth_tool("yosys-smtbmc")),
        "-s",
        "z3",
        "-t",
        str(cycles),
        "-S",
        f"rlimit={RESOURCES}",
        "--noprogress",
        "--dump-vcd",
        trace.name,
        *(["-i"] if induction else ["--presat"]),
        "design.smt2",
    ]
    scripts = os.pathsep.join([sysconfig.get_path("scripts"), os.environ.get("PATH", "")])
    if shutil.which("z3", path=scripts) is None:
        raise ToolchainError("'z3' not found: run `pip install z3-solver`")
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, "PATH": scripts},
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        check=False,
    )
    log = folder / f"{name}.log"
    log.write_text(done.stdout)
    status = _STATUS.findall(done.stdout)
    if status == ["PASSED"] and done.returncode == 0:
        return
    if status == ["PREUNSAT"]:
        raise FormalError(
            f"the assumptions contradict each other within {cycles} cycles: nothing "
            f"would be proved (see {log})"
        )
    if _UNKNOWN in done.stdout:
        raise FormalError(
            f"the solver gave no verdict on {cycles} cycles within {RESOURCES:,} of its steps (see "
            f"{log}): prove fewer cycles or narrower values"
        )
    failed = _FAILED.search(done.stdout)
    if status != ["FAILED"] or failed is None:
        raise FormalError(f"the solver ended without a verdict on {cycles} cycles (see {log})")
    where = failed["where"]
    what = "is not inductive over" if induction else "fails within"
    raise PropertyError(
        f"the property at {where} {what} {cycles} cycles; trace: {trace}", where, trace
    )
