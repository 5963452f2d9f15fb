"""The functional plan of Programs: every instruction in every mode, on a steady and a pausing bus,
in every number format, and every error on both buses; bins are counted.

A try is a random Program, whose codes and counters are compared, or an error, which must have its
cause and its instruction.
"""

from collections.abc import Iterator
from itertools import count

import numpy as np

from e2e.fuzz import CAMPAIGN
from sigbit.campaigns import Job, Row, Tell
from sigbit.runtime import compare
from sigbit_hw.arch import addressing
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import ENGINE_OF, Engine, Exec, Fill, Load, LoadKind, Mode, Out, Seg, Store
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.verification.faults import fault_cases
from verify.errors import provoke
from verify.part import Tally, cause, job

PART = "plan"
TRIES = 12
"""Programs of a job on each bus."""
FORMATS = ("nano", "power of two, two ports", "linear, few bits", "four ports")
BUSES = ("steady", "pausing")
LATENCY = 19
"""Cycles of the steady memory."""

FEATURES = (
    *(f"LOAD of {kind.name.lower()}" for kind in LoadKind),
    "FILL",
    "STORE",
    "STORE of several planes of slots",
    *(f"EXEC {mode.name}" for mode in Mode),
    *(f"EXEC {mode.name} of kept accumulators" for mode in Mode),
    *(f"EXEC {mode.name} without a drain" for mode in Mode),
    "EXEC of several output blocks",
    "EXEC of several rows",
    "EXEC with line ends in a block",
    "EXEC with a partial last block",
    "EXEC that waits for all before",
    "several segments",
    "segment with a shift",
    "segment with earlier words",
    "several planes of output",
    "column phases",
    "fewer slots than blocks have",
    *(f"{one.name} gives to {other.name}" for one in Engine for other in Engine if one != other),
)
"""What a Program may do; every one in every format and on both buses is a bin."""


def jobs(first: int) -> Iterator[Job]:
    """Every format, then again with the next seed."""
    for seed in count(first):
        for name in FORMATS:
            parameters = {"which": name, "seed": seed, "tries": TRIES}
            function = f"{__name__}:planned"
            code = ("sigbit.compiler", "e2e.fuzz", "verify.errors")
            yield job(PART, name, function, parameters, seed=seed, code=code)


def bins(which: str) -> dict[str, int]:
    """All bins of a format, empty."""
    causes = {case.cause.name for case in fault_cases(CAMPAIGN[which])}
    return {f"{f}, {bus}, {which}": 0 for f in (*FEATURES, *sorted(causes)) for bus in BUSES}


def opened(config: ArchConfig, bus: str, seed: int) -> RtlDevice:
    """A device on one of :data:`BUSES`."""
    if bus == "steady":
        return RtlDevice(config, memory=MemoryTiming(LATENCY), watchdog=4000)
    return RtlDevice(config, memory=MemoryTiming(9), stalls=0.25, seed=seed, watchdog=4000)


def planned(which: str, seed: int, tries: int, tell: Tell) -> list[Row]:
    """Random Programs and all errors on both buses."""
    tally, rng = Tally(PART, which, seed), np.random.default_rng(seed)
    config, found = CAMPAIGN[which], bins(which)
    for bus in BUSES:
        device = opened(config, bus, seed)
        for number in range(tries):
            tell(f"Programs of {which}, {bus} bus", number, tries)
            program = random_program(config, rng)
            try:
                _compared(device, program, rng, bus)
            except Exception as error:
                tally.failed(cause(error), f"{bus} bus, Program {number}")
                device = opened(config, bus, seed)
                continue
            tally.fine("Programs")
            for feature in features(program):
                found[f"{feature}, {bus}, {which}"] += 1
        device = opened(config, bus, seed)
        for case in fault_cases(config):
            try:
                error = provoke(device, case)
                assert (error.cause, error.index) == (case.cause, case.index)
                assert device.soft_reset()
            except Exception as wrong:
                tally.failed(cause(wrong), f"{bus} bus, {case.name}")
                device = opened(config, bus, seed)
                continue
            tally.fine("errors")
            found[f"{case.cause.name}, {bus}, {which}"] += 1
    return tally.rows(bins=found)


def _compared(device: RtlDevice, program: Program, rng: np.random.Generator, bus: str) -> None:
    inputs = random_inputs(program, rng)
    expected = Interp(program.config, strict=True).run(program, inputs, layers=True)
    got = device.run(program, inputs, layers=True)
    differing = compare({**expected.layers, **expected.outputs}, {**got.layers, **got.outputs})
    assert not differing, "other codes"
    if bus == "steady":
        assert got.cycles is not None
        cycles = predict(program, MemoryTiming(LATENCY)).cycles
        assert got.cycles.tolist() == [cycles], "other cycles than the model's"


def features(program: Program) -> set[str]:
    """Those of :data:`FEATURES` that a Program has."""
    config, found = program.config, set[str]()
    segments: dict[int, Seg] = {}
    out = Out()
    for instr in program.listing:
        engine = ENGINE_OF.get(instr.opcode)
        if engine is not None:
            found |= {
                f"{engine.name} gives to {other.name}"
                for other in Engine
                if other != engine and instr.signal >> other & 1
            }
        match instr:
            case Load():
                found.add(f"LOAD of {LoadKind(instr.kind).name.lower()}")
            case Fill():
                found.add("FILL")
            case Store():
                found.add("STORE")
                if instr.n2 > 1:
                    found.add("STORE of several planes of slots")
            case Seg():
                segments[instr.index] = instr
            case Out():
                out = instr
            case Exec():
                used = [segments[k] for k in range(instr.n_seg)]
                found |= _of_exec(instr, used, out, config)
    return found


def _of_exec(instr: Exec, used: list[Seg], out: Out, config: ArchConfig) -> set[str]:
    mode = Mode(instr.mode).name
    lanes = addressing.valid_lanes(instr, config)
    ends = addressing.line_ends(instr, config)[:, :-1][lanes]
    mac = instr.mode == Mode.MAC
    words = [segment.words for segment in used]
    slots = instr.n_ocb * (config.slots_per_block if mac else 1)
    hits = {
        f"EXEC {mode}": True,
        f"EXEC {mode} of kept accumulators": instr.keep,
        f"EXEC {mode} without a drain": not instr.drain,
        "EXEC of several output blocks": instr.n_ocb > 1,
        "EXEC of several rows": instr.n_rows > 1,
        "EXEC with line ends in a block": ends.size and ends.max() > 0,
        "EXEC with a partial last block": instr.run % config.pixels,
        "EXEC that waits for all before": instr.sync,
        "several segments": len(used) > 1,
        "segment with a shift": any(segment.shift for segment in used),
        "segment with earlier words": mac and words != sorted(set(words)),
        "several planes of output": instr.drain and out.n_planes > 1,
        "column phases": instr.drain and out.phases > 1,
        "fewer slots than blocks have": instr.drain and out.n_slots < slots,
    }
    return {name for name, hit in hits.items() if hit}
