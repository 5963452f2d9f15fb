"""Random programs on interpreter and RTL: the run that a row of the benchmark stands on."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

import sigbit_hw.arch
import sigbit_sim
from sigbit_hw.arch.config import ArchConfig
from sigbit_sim.interp import Interp
from sigbit_sim.native.cache import cached_folder, cached_verilog, key_of
from sigbit_sim.random_program import random_inputs, random_program
from sigbit_sim.rtl import RtlDevice

PROGRAMS = 12
_RESULT = "result.json"


class Mismatch(Exception):
    """Interpreter and RTL gave different codes."""


def verify(config: ArchConfig, progress: Callable[[str, int, int], None]) -> str:
    """What was run on the accelerator's RTL, all of it with equal codes: :data:`PROGRAMS` random
    programs, every layer and output compared with the interpreter's.

    A result is kept under a hash of the Verilog and of the simulators' sources; the build takes
    minutes for thousands of multiply-accumulates. Raises :class:`Mismatch`.
    """
    verilog = cached_verilog(config)
    sources = [
        path.read_text()
        for package in (sigbit_sim, sigbit_hw.arch)
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py"))
    ]
    key = key_of(config.digest, verilog, *sources, str(PROGRAMS))

    def run(into: Path) -> None:
        found = {"programs": PROGRAMS, "codes": _compare(config, progress)}
        (into / _RESULT).write_text(json.dumps(found))

    found = json.loads((cached_folder(f"verified-{config.name}-{key}", run) / _RESULT).read_text())
    digest = hashlib.sha256(verilog.encode()).hexdigest()
    return (
        f"{found['programs']} random programs, {found['codes']:,} codes equal on interpreter and "
        f"RTL, Verilog sha256 {digest}"
    )


def _compare(config: ArchConfig, progress: Callable[[str, int, int], None]) -> int:
    """Codes that were compared; all are equal."""
    rng = np.random.default_rng(0)
    interp, rtl = Interp(config, strict=True), RtlDevice(config)
    codes = 0
    for number in range(PROGRAMS):
        progress("random programs", number, PROGRAMS)
        program = random_program(config, rng)
        inputs = random_inputs(program, rng)
        wanted = interp.run(program, inputs, layers=True)
        got = rtl.run(program, inputs, layers=True)
        for what in ("layers", "outputs"):
            golden, found = getattr(wanted, what), getattr(got, what)
            if golden.keys() != found.keys():
                raise Mismatch(f"{config.name}: {golden.keys() ^ found.keys()} were not compared")
            for name, values in golden.items():
                if wrong := int((values != found[name]).sum()):
                    raise Mismatch(
                        f"{config.name}: random program {number}: {wrong} of {values.size} codes "
                        f"of {name} differ between interpreter and RTL"
                    )
                codes += values.size
    if not codes:
        raise Mismatch(f"{config.name}: the random programs compared nothing")
    return codes
