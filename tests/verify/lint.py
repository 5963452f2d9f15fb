"""Two readers of emitted Verilog: slang, and Verilator with ``-Wall``. Each thing they say is an
error, or of a class that is waived with a reason.

A try is a reader of one accelerator's Verilog.
"""

import re
import subprocess
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyslang

from sigbit.campaigns import Job, Row, Tell
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.gateware.emit import NAME
from sigbit_synthesis.emitted import cached_verilog
from sigbit_tools.toolchain import find_verilator, verilator_env
from verify.configs import FOUR
from verify.part import Tally, job

PART = "lint"
WAIVED = {
    "UNUSEDSIGNAL": "Amaranth names wires that nothing reads",
    "PROCASSINIT": "registers have initial values, which the fabric loads",
    "WIDTHEXPAND": "sums are written with operands of their own widths",
    "WIDTHTRUNC": "results are cut to their registers",
    "CASEINCOMPLETE": "the default is assigned before the case",
    "ASCRANGE": "memories count their words upwards",
    "DECLFILENAME": "a file holds all modules",
    "UNSIGNED": "the first of a range is compared like the others",
    "CMPCONST": "and so is the last",
}
"""Verilator's classes of warnings about accelerators, and why they do not matter."""
SLANG_WAIVED = {
    "SignConversion": "Yosys marks operands as signed one by one, with the widths that they need",
    "ArithOpMismatch": "an unsigned operand beside a signed one was extended by Amaranth before",
    "WidthExpand": "Yosys divides signed numbers in wider wires, to which it writes them signed",
    "WidthTruncate": WAIVED["WIDTHTRUNC"],
    "CaseDefault": WAIVED["CASEINCOMPLETE"],
}
"""The same of slang."""
ACCELERATORS = {**PRESETS, "four ports": FOUR}
_SAID = re.compile(r"^%(Error|Warning)(?:-(\w+))?: (\S*?):\d+:\d+: (.*)", re.MULTILINE)
_CODE = re.compile(r"DiagCode\((\w+)\)")


@dataclass(frozen=True)
class Verdict:
    """``faults``: what is not waived; ``waived``: warnings of each waived class."""

    faults: tuple[str, ...]
    waived: Counter[str]


def slang(files: Sequence[Path], top: str) -> Verdict:
    """What slang says of ``files``, whose only top module is ``top``."""
    compilation = pyslang.ast.Compilation()
    for file in files:
        compilation.addSyntaxTree(pyslang.syntax.SyntaxTree.fromFile(str(file)))
    tops = [instance.name for instance in compilation.getRoot().topInstances]
    faults = [] if tops == [top] else [f"{tops} at the top, not {top} alone"]
    waived: Counter[str] = Counter()
    for diagnostic in compilation.getAllDiagnostics():
        found = _CODE.search(str(diagnostic.code))
        code = found[1] if found else str(diagnostic.code)
        if not diagnostic.isError() and code in SLANG_WAIVED:
            waived[code] += 1
        else:
            faults.append(f"{code} {list(map(str, diagnostic.args))}")
    return Verdict(tuple(faults), waived)


def verilator(files: Sequence[Path], top: str) -> Verdict:
    """What Verilator says of ``files``; only warnings about accelerators may be waived."""
    command = [str(find_verilator().command), "--lint-only", "-Wall", "-Wno-fatal"]
    done = subprocess.run(
        [*command, "--top-module", top, *map(str, files)],
        capture_output=True,
        text=True,
        check=False,
        env=verilator_env(),
    )
    faults, waived = [], Counter[str]()
    for grade, name, file, text in _SAID.findall(done.stderr):
        if grade == "Warning" and name in WAIVED and Path(file).name == f"{NAME}.v":
            waived[name] += 1
        else:
            faults.append(f"{grade} {name} {Path(file).name}: {text}")
    if done.returncode and not faults:
        faults.append(done.stderr[-1000:])
    return Verdict(tuple(faults), waived)


READERS = {"slang": slang, "Verilator": verilator}


def jobs(first: int) -> Iterator[Job]:
    """Every preset, and four ports."""
    for name in ACCELERATORS:
        function = f"{__name__}:linted"
        yield job(PART, name, function, {"which": name}, releases=("pyslang", "verilator"))


def linted(which: str, tell: Tell) -> list[Row]:
    """Read one accelerator's Verilog."""
    tally = Tally(PART, which)
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{NAME}.v"
        file.write_text(cached_verilog(ACCELERATORS[which]))
        for number, (reader, read) in enumerate(READERS.items()):
            tell(f"lint of {which} by {reader}", number, len(READERS))
            verdict = read([file], NAME)
            if verdict.faults:
                more = len(verdict.faults) - 1
                tally.failed(f"{verdict.faults[0]}, and {more} more", reader)
            else:
                tally.fine(f"read by {reader}")
            for name, count in verdict.waived.items():
                tally.reached(f"{reader} {name}, waived", count)
    return tally.rows()
