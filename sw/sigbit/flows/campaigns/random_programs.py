"""Random programs on the interpreter and on another device: all codes must be equal, and all cycles
must match the cycle model. Used as a fuzzer, and to verify the rows of the number systems."""

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import sigbit_hw.arch
import sigbit_sim
import sigbit_synthesis
from sigbit.bench.number_systems.systems import sample
from sigbit.campaigns import Job, Row, Tell
from sigbit.errors import CheckFailed
from sigbit.flows.campaigns.code import DEVICES
from sigbit.flows.devices import DeviceName, NetlistTarget, open_device
from sigbit.runtime import Device
from sigbit_hw.arch.config import ArchConfig
from sigbit_sim.cycles import predict
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.netlist import netlists
from sigbit_sim.rtl.netlist import verilog as netlist_verilog
from sigbit_synthesis import Target
from sigbit_synthesis.emitted import cached_verilog, gateware_key
from sigbit_tools.cache import cached_folder, key_of

RTL_PROGRAMS, NETLIST_PROGRAMS = 12, 4
"""Number of programs that verify a row of the number systems."""
NETLISTS = (Target.XCUP,)
"""Targets on which every pair of formats has leaf modules of its own, made of the fabric's
cells."""
LATENCY = 19
"""Memory latency of the fuzzer, in cycles."""
_RESULT = "result.json"


class Mismatch(CheckFailed):
    """Raised if two devices gave different codes, or a device took other cycles than the model
    predicts."""


@dataclass(frozen=True)
class Compared:
    """Random programs that gave equal codes.

    Parameters
    ----------
    codes, cycles : int
        Codes of layers and outputs; cycles of all programs, 0 where the device counts none.
    sha256 : str
        Of all codes.
    """

    codes: int
    cycles: int
    sha256: str


def fuzz_jobs(
    configs: Mapping[str, ArchConfig], seeds: Iterable[int], programs: int, device: DeviceName
) -> Iterator[Job]:
    """Yield a job for each seed and accelerator: ``programs`` random programs on the interpreter,
    and on ``device`` unless that is the interpreter."""
    for seed in seeds:
        for name, config in configs.items():
            yield Job(
                f"random programs on {name}, seed {seed}",
                f"{__name__}:fuzz",
                {
                    "config": config.to_json(),
                    "seed": seed,
                    "programs": programs,
                    "device": device.value,
                },
                columns={"accelerator": config.name, "seed": seed, "device": device.value},
                code=(*DEVICES, "sigbit.bench.number_systems.systems", __name__),
                releases=("numpy",),
            )


def fuzz(config: dict[str, Any], seed: int, programs: int, device: str, tell: Tell) -> list[Row]:
    """Return the row of a job of :func:`fuzz_jobs`."""
    arch, name = ArchConfig.from_json(config), DeviceName(device)
    tested = None
    if name is not DeviceName.INTERP:
        tested = open_device(name, arch, MemoryTiming(LATENCY), NetlistTarget.XCUP)
    found = compare(arch, tested, programs, seed, tell)
    return [
        {
            "accelerator": arch.name,
            "arch_digest": arch.digest,
            "seed": seed,
            "device": device,
            "programs": programs,
            "codes": found.codes,
            "cycles": found.cycles,
            "sha256": found.sha256,
        }
    ]


def verify(config: ArchConfig, target: Target, tell: Tell) -> str:
    """Verify every layer and output against the interpreter's codes; return a text of the runs.

    * Random programs on the accelerator's RTL.
    * On :data:`NETLISTS`, random programs on the cells that a small accelerator of the same formats
      (:func:`~sigbit.bench.number_systems.systems.sample`) is mapped to.

    Results are cached under a hash of the gateware and of the code that runs and maps it; the first
    run of thousands of multiply-accumulates takes minutes. Raises :class:`Mismatch`.
    """
    parts = [_verified(config, None, "RTL", RTL_PROGRAMS, tell)]
    if target in NETLISTS:
        what = f"{target.value} cells of the same formats at (2, 8, 8)"
        parts.append(_verified(sample(config), target, what, NETLIST_PROGRAMS, tell))
    return "; ".join(parts)


def _verified(
    config: ArchConfig, netlist: Target | None, what: str, programs: int, tell: Tell
) -> str:
    """Run random programs on the accelerator's RTL, or on its ``netlist`` for a target; return the
    result as text."""
    sources = [
        path.read_text()
        for package in (sigbit_sim, sigbit_synthesis, sigbit_hw.arch)
        for path in sorted(Path(str(package.__file__)).parent.rglob("*.py"))
    ]
    key = key_of(gateware_key(config), what, str(programs), *sources)

    def run(into: Path) -> None:
        device = RtlDevice(config, netlist=netlist, quick=True)
        text = (
            cached_verilog(config, traced=True)
            if netlist is None
            else netlist_verilog(netlists(config, netlist), netlist)
        )
        found = {
            "codes": compare(config, device, programs, 0, tell, latency=None).codes,
            "sha256": hashlib.sha256(text.encode()).hexdigest(),
        }
        (into / _RESULT).write_text(json.dumps(found))

    found = json.loads((cached_folder(f"verified-{key}", run) / _RESULT).read_text())
    return (
        f"{programs} random programs, {found['codes']:,} codes equal on interpreter and {what}, "
        f"Verilog sha256 {found['sha256']}"
    )


def compare(
    config: ArchConfig,
    device: Device | None,
    programs: int,
    seed: int,
    tell: Tell,
    latency: int | None = LATENCY,
) -> Compared:
    """Run random programs on the interpreter, and on ``device`` if there is one, whose memory has
    ``latency``; if None, its cycles are not compared. Raises :class:`Mismatch`."""
    rng = np.random.default_rng(seed)
    interp = Interp(config, strict=True)
    hasher = hashlib.sha256()
    codes = cycles = 0
    for number in range(programs):
        tell(f"random programs on {device.name if device else 'interp'}", number, programs)
        program = random_program(config, rng)
        inputs = random_inputs(program, rng)
        wanted = interp.run(program, inputs, layers=True)
        got = device.run(program, inputs, layers=True) if device else wanted
        where = f"{config.name}: random program {number} of seed {seed}"
        for golden, found in ((wanted.layers, got.layers), (wanted.outputs, got.outputs)):
            if golden.keys() != found.keys():
                raise Mismatch(f"{where}: {golden.keys() ^ found.keys()} were not compared")
            for name, values in sorted(golden.items()):
                if wrong := int((values != found[name]).sum()):
                    raise Mismatch(
                        f"{where}: {wrong} of {values.size} codes of {name} differ between "
                        f"interpreter and {device.name if device else 'itself'}"
                    )
                codes += values.size
                hasher.update(f"{name} {values.shape} ".encode() + values.tobytes())
        if latency is not None and got.cycles is not None:
            model = predict(program, MemoryTiming(latency)).cycles
            if got.cycles.tolist() != [model] * len(got.cycles):
                raise Mismatch(f"{where}: {got.cycles.tolist()} cycles, {model} by the cycle model")
            cycles += int(got.cycles.sum())
    if not codes:
        raise Mismatch(f"{config.name}: the random programs compared nothing")
    return Compared(codes, cycles, hasher.hexdigest())
