"""Random programs on interpreter, RTL and netlist: what a row of the benchmark stands on."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np

import sigbit_hw.arch
import sigbit_sim
import sigbit_synthesis
from sigbit.bench.number_systems.systems import sample
from sigbit_hw.arch.config import ArchConfig
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.netlist import netlists
from sigbit_sim.rtl.netlist import verilog as netlist_verilog
from sigbit_synthesis import Target
from sigbit_synthesis.emitted import cached_verilog, gateware_key
from sigbit_tools.cache import cached_folder, key_of

RTL_PROGRAMS, NETLIST_PROGRAMS = 12, 4
NETLISTS = (Target.XCUP,)
"""Where every pair of formats has leaf modules of its own, made of the fabric's cells."""
_RESULT = "result.json"

Progress = Callable[[str, int, int], None]


class Mismatch(Exception):
    """Two devices gave different codes."""


def verify(config: ArchConfig, target: Target, progress: Progress) -> str:
    """What ran and gave the interpreter's codes in every layer and output.

    * Random programs on the accelerator's RTL.
    * On :data:`NETLISTS`, random programs on the cells that a small accelerator of the same formats
      (:func:`~sigbit.bench.number_systems.systems.sample`) is mapped to.

    Results are kept under a hash of the gateware and of all that runs and maps it; the first run of
    thousands of multiply-accumulates takes minutes. Raises :class:`Mismatch`.
    """
    parts = [_run(config, None, "RTL", RTL_PROGRAMS, progress)]
    if target in NETLISTS:
        what = f"{target.value} cells of the same formats at (2, 8, 8)"
        parts.append(_run(sample(config), target, what, NETLIST_PROGRAMS, progress))
    return "; ".join(parts)


def _run(
    config: ArchConfig, netlist: Target | None, what: str, programs: int, progress: Progress
) -> str:
    """Random programs on the accelerator's RTL, or on its ``netlist`` for a target, and what came
    of them, in words."""
    sources = [
        path.read_text()
        for package in (sigbit_sim, sigbit_synthesis, sigbit_hw.arch)
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py"))
    ]
    key = key_of(gateware_key(config), what, str(programs), *sources)

    def run(into: Path) -> None:
        device = RtlDevice(config, netlist=netlist, quick=True)
        text = (
            cached_verilog(config)
            if netlist is None
            else netlist_verilog(netlists(config, netlist), netlist)
        )
        found = {
            "codes": _compare(config, device, what, programs, progress),
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        (into / _RESULT).write_text(json.dumps(found))

    found = json.loads((cached_folder(f"verified-{config.name}-{key}", run) / _RESULT).read_text())
    return (
        f"{programs} random programs, {found['codes']:,} codes equal on interpreter and {what}, "
        f"Verilog sha256 {found['sha256']}"
    )


def _compare(
    config: ArchConfig, device: RtlDevice, what: str, programs: int, progress: Progress
) -> int:
    """Codes that were compared; all are equal."""
    rng = np.random.default_rng(0)
    interp = Interp(config, strict=True)
    codes = 0
    for number in range(programs):
        progress(f"random programs on {what}", number, programs)
        program = random_program(config, rng)
        inputs = random_inputs(program, rng)
        wanted = interp.run(program, inputs, layers=True)
        got = device.run(program, inputs, layers=True)
        for golden, found in ((wanted.layers, got.layers), (wanted.outputs, got.outputs)):
            if golden.keys() != found.keys():
                raise Mismatch(f"{config.name}: {golden.keys() ^ found.keys()} were not compared")
            for name, values in golden.items():
                if wrong := int((values != found[name]).sum()):
                    raise Mismatch(
                        f"{config.name}: random program {number}: {wrong} of {values.size} codes "
                        f"of {name} differ between interpreter and {what}"
                    )
                codes += values.size
    if not codes:
        raise Mismatch(f"{config.name}: the random programs compared nothing")
    return codes
