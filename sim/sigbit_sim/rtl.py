"""The accelerator's RTL as a device: the Verilator model behind its own driver.

The driver uses the register map only, as one for a board does; layers, timeline and feeding come
from the trace ports.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from sigbit.runtime import (
    DeviceError,
    Event,
    LayerCollector,
    RunResult,
    check_stored,
    unpack_outputs,
    window_of,
)
from sigbit.runtime.device import Inputs
from sigbit_hw.arch import images, isa, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Engine
from sigbit_hw.arch.program import Program, ProgramError
from sigbit_hw.arch.regs import OFFSET, Cause
from sigbit_sim.native.build import library
from sigbit_sim.native.model import Model, ModelError, Stop, Watch

Ints = NDArray[np.int64]

BASE = 0x12_4000_0000
"""Bus address of the DMA window: both words of MEM_BASE are in use."""
SLICE = 1 << 16
"""Cycles between two looks at Ctrl-C."""
RESET_CYCLES = 1 << 14
"""Cycles granted to the bus to become idle after a soft reset, besides the memory's latency."""


class HangError(DeviceError):
    """Neither done nor an error: the message says what each engine was doing."""

    def __init__(self, index: int, message: str) -> None:
        Exception.__init__(self, message)
        self.cause = Cause.WATCHDOG
        self.index = index


@dataclass(frozen=True)
class Feed:
    """Cycles of the first image in which an EXEC fed the array: first, last, and how many."""

    first: int
    last: int
    count: int


class RtlDevice:
    """The gateware, simulated.

    Parameters
    ----------
    config : ArchConfig
        The accelerator; its model is built at the first run unless the cache has it.
    latency : int
        Cycles from an accepted read burst to its first data, and from a burst's last write data to
        its response.
    bandwidth : float
        Data beats a cycle in each direction, at most 1.
    stalls : float, optional
        Chance that a bus channel pauses in a cycle, drawn from ``seed``.
    watchdog : int
        Cycles without progress after which the accelerator reports WATCHDOG, besides the latency.
    max_cycles : int, optional
        Longest run of one image.
    verilog : str, optional
        Verilog to simulate instead of the gateware's (tests of planted faults).
    asserts : bool
        Keep the gateware's assertions; slower.
    """

    name = "rtl"

    def __init__(self, config: ArchConfig, *, latency: int = 40, bandwidth: Fraction | float = 1,
                 stalls: float | None = None, seed: int = 0, watchdog: int = 1 << 14,
                 max_cycles: int | None = None, verilog: str | None = None,
                 asserts: bool = False) -> None:
        self.config = config
        self.feeds: dict[int, Feed] = {}
        self._timing = (latency, bandwidth, stalls or 0.0, seed)
        self._watchdog = watchdog + 4 * latency
        self._max_cycles = max_cycles
        self._verilog = verilog
        self._asserts = asserts
        self._model: Model | None = None
        self._stopped = False

    @property
    def model(self) -> Model:
        """The native model, built and out of reset."""
        if self._model is None:
            path = library(self.config, self._verilog, asserts=self._asserts)
            self._model = Model(path, self.config)
            self._model.timing(*self._timing)
            self._identify(self._model)
        return self._model

    def run(self, program: Program, inputs: Inputs, *, layers: bool = False,
            on_image: Callable[[int], None] | None = None) -> RunResult:
        """Run every image; see :class:`sigbit.runtime.Device`.

        Each image starts from a fresh DMA window; the memories on chip keep what they held. The
        timeline and :attr:`feeds` are those of the first image. :class:`HangError` if the
        accelerator makes no progress or exceeds ``max_cycles``; :class:`ModelError` if it breaks
        the AXI protocol.
        """
        program.require(self.config)
        stored = check_stored(program, inputs)
        collector = LayerCollector(program) if layers else None
        outputs: dict[str, list[Ints]] = {port.name: [] for port in program.outputs}
        collected: dict[str, list[Ints]] = {}
        counters: list[dict[str, int]] = []
        timeline: list[Event] = []
        memory = np.zeros(program.memory_bytes, np.uint8)
        with self._recovering():
            self._set_up(program, memory)
            watch = self.model.watch({i: collector.slots_of(i) for i in collector.execs}
                                     if collector else {})
            for image in range(len(next(iter(stored.values())))):
                memory[:] = window_of(program, stored, image)
                self._run_image(program, log=image == 0)
                if image == 0:
                    timeline = self._timeline(program)
                counters.append({name: self.model.read(OFFSET[name]) for name, _ in regs.COUNTERS})
                for name, value in unpack_outputs(program, memory).items():
                    outputs[name].append(value)
                for name, value in self._layers(collector, watch).items() if collector else ():
                    collected.setdefault(name, []).append(value)
                if on_image:
                    on_image(image)
        return RunResult(outputs={name: np.stack(v) for name, v in outputs.items()},
                         layers={name: np.stack(v) for name, v in collected.items()},
                         cycles=np.array([c["CYCLES"] for c in counters], np.int64),
                         counters=counters, timeline=timeline)

    # Driver

    def _identify(self, model: Model) -> None:
        """Check that the hardware is what ``config`` says."""
        wanted = {"MAGIC": regs.MAGIC, "VERSION": regs.VERSION,
                  "DIGEST_LO": int(self.config.digest[:8], 16),
                  "DIGEST_HI": int(self.config.digest[8:16], 16)}
        for name, value in wanted.items():
            if (got := model.read(OFFSET[name])) != value:
                raise ProgramError(f"the RTL model is not {self.config.name} "
                                   f"({self.config.digest[:16]}): {name} is 0x{got:08x}, "
                                   f"not 0x{value:08x}")

    def _set_up(self, program: Program, memory: NDArray[np.uint8]) -> None:
        """Connect the DMA window and write every register that describes the program.

        After an error the hardware is reset first; where its bus does not become idle, a new model
        takes its place.
        """
        if self._stopped and not self.soft_reset():
            self._model = None
        self._stopped = False
        self.model.connect(memory, BASE)
        low, high = program.write_window
        for name, value in (("MEM_BASE_LO", BASE & 0xFFFFFFFF), ("MEM_BASE_HI", BASE >> 32),
                            ("MEM_SIZE", memory.size), ("WRITE_LO", low), ("WRITE_HI", high),
                            ("PROGRAM_OFFSET", program.program_offset),
                            ("PROGRAM_COUNT", program.instructions.size // isa.WORD_BYTES),
                            ("WATCHDOG", self._watchdog),
                            ("IRQ_ENABLE", regs.IRQ_DONE | regs.IRQ_ERROR)):
            self.model.write(OFFSET[name], value)

    def _run_image(self, program: Program, *, log: bool) -> None:
        """Start, wait for the interrupt, acknowledge it; raise what went wrong."""
        model = self.model
        model.begin(log=log)
        model.write(OFFSET["CONTROL"], regs.CONTROL_START)
        budget = self._max_cycles
        while True:
            cycles = SLICE if budget is None else min(SLICE, budget)
            stop = model.run(cycles, 2 * self._watchdog)
            budget = None if budget is None else budget - cycles
            if stop == Stop.IRQ:
                break
            if stop == Stop.ASSERTION:
                raise ModelError(f"{program.name}: an assertion of the gateware failed "
                                 f"(its text is on standard output); {self._activity(program)}")
            if stop == Stop.IDLE or budget == 0:
                why = ("no progress" if stop == Stop.IDLE
                       else f"not done after {self._max_cycles} cycles")
                started = model.state().started[Engine.COMPUTE]
                raise HangError(started or 0, f"{program.name}: {why}; {self._activity(program)}")
        pending = model.read(OFFSET["IRQ_STATUS"])
        model.write(OFFSET["IRQ_STATUS"], pending)
        if pending & regs.IRQ_ERROR:
            raise DeviceError(Cause(model.read(OFFSET["CAUSE"])),
                              model.read(OFFSET["CAUSE_INDEX"]), program)
        if violations := model.violations:
            raise ModelError(f"{program.name}: {len(violations)} breaches of AXI, first: "
                             f"{violations[0]}")

    @contextmanager
    def _recovering(self) -> Iterator[None]:
        """Remember that the hardware must be reset; drop the model if its state is unknown."""
        try:
            yield
        except DeviceError:
            self._stopped = True
            raise
        except BaseException:
            self._model = None
            raise

    def soft_reset(self) -> bool:
        """Reset the accelerator; whether its bus became idle."""
        model = self.model
        model.write(OFFSET["CONTROL"], regs.CONTROL_SOFT_RESET)
        deadline = model.state().cycle + RESET_CYCLES + 4 * self._timing[0]
        while model.state().cycle < deadline:
            if model.read(OFFSET["STATUS"]) & regs.STATUS_BUS_IDLE:
                return True
        return False

    # Observation

    def _activity(self, program: Program) -> str:
        """What each engine was doing, for people."""
        state = self.model.state()
        parts = []
        for engine in Engine:
            started, retired = state.started[engine], state.retired[engine]
            if started is None:
                doing = "never started"
            elif started == retired:
                doing = f"finished instruction {started}"
            else:
                name = isa.Opcode(program.instructions[started * isa.WORD_BYTES] & 15).name
                doing = f"at instruction {started} ({name})"
            parts.append(f"{engine.name} {doing}")
        return (f"{'; '.join(parts)}; {state.reads} reads and {state.writes} writes outstanding, "
                f"nothing moved for {state.idle} cycles")

    def _layers(self, collector: LayerCollector, watch: Watch) -> dict[str, Ints]:
        collector.clear()
        for index in collector.execs:
            data = watch.bytes_of(index)
            if data is None:
                raise ModelError(f"the program is done, but EXEC {index} has not retired")
            collector.add(index, images.unpack_lanes(data, self.config.act_format.bits))
        return collector.layers()

    def _timeline(self, program: Program) -> list[Event]:
        """Instructions that both started and retired, by engine and start; sets ``feeds``."""
        starts: dict[tuple[int, int], int] = {}
        events = []
        for cycle, index, engine, retired in self.model.events().tolist():
            if not retired:
                starts[engine, index] = cycle
            elif (engine, index) in starts:
                events.append(Event(Engine(engine), index, starts[engine, index], cycle + 1))
        feeds = self.model.feeds()
        self.feeds = {int(i): Feed(*feeds[i].tolist()) for i in np.flatnonzero(feeds["count"])}
        return sorted(events, key=lambda event: (event.engine, event.start))
