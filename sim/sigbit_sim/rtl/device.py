"""The accelerator's RTL as a device: the Verilator model behind its own driver.

The driver uses only the register map, as a driver for a board does; layers, timeline and feeding
come from the trace ports.
"""

import math
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigbit.runtime import (
    Check,
    DeviceError,
    KeptStates,
    LayerCollector,
    RunResult,
    check_stored,
    unlimited,
    unpack_outputs,
    window_of,
)
from sigbit.runtime.device import Inputs
from sigbit_hw.arch import images, launch, regs
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Engine
from sigbit_hw.arch.program import Program, ProgramError
from sigbit_hw.arch.regs import OFFSET, Cause
from sigbit_hw.arch.scrub import scrub_program
from sigbit_sim.memory import PLAIN, Memory, of_ports
from sigbit_sim.rtl.checkpoint import Checkpoint, Feed, Results
from sigbit_sim.rtl.native.build import OPTIMIZE, Purpose, library
from sigbit_sim.rtl.native.model import Model, ModelError, Stop
from sigbit_sim.rtl.netlist import netlist_library
from sigbit_sim.rtl.observation import activity, feeds, layers_of, timeline
from sigbit_sim.rtl.progress import Meter, Progress
from sigbit_synthesis.target import Target
from sigbit_tools.cache import key_of

Ints = NDArray[np.int64]

BASES = (0x12_4000_0000, 0x3_0000_0000, 0xFF_0000_0000, 0x8000_0000)
"""Bus addresses of the ports' parts of the DMA window; they use both words of MEM_BASE."""
SLICE = 1 << 16
"""Cycles between two checks for Ctrl-C, and between two progress reports."""
RESET_CYCLES = 1 << 14
"""Cycles granted to the bus to become idle after a soft reset, in addition to the memory's pauses
and those of the watchdog."""


class HangError(DeviceError):
    """Neither done nor an error; the message describes the state of each engine."""

    def __init__(self, index: int, message: str) -> None:
        Exception.__init__(self, message)
        self.cause = Cause.WATCHDOG
        self.index = index


class RtlDevice:
    """The gateware in simulation.

    Parameters
    ----------
    config : ArchConfig
        The accelerator; its model is built at the first run unless the cache has it.
    memory : MemoryTiming or sequence of it
        The memory behind every port, or one per port.
    stalls : float, optional
        Probability that a bus channel pauses in a cycle, drawn from ``seed``.
    watchdog : int
        Cycles without progress after which the accelerator reports WATCHDOG, in addition to the
        memory's pauses.
    max_cycles : int, optional
        Maximum number of cycles of a run; then the accelerator reports CYCLE_LIMIT.
    netlist : Target, optional
        Simulate the netlist that synthesis for this target makes, instead of the gateware.
    verilog : str, optional
        Verilog to simulate instead of either (for tests of planted faults).
    asserts : bool
        Keep the gateware's assertions; slower.
    quick : bool
        Build the gateware's model in a fraction of the time; it runs several times as long.
    purpose : Purpose
        Further purpose of the model. One that begins with random values draws them from ``seed``.
    progress : Callable, optional
        Called with a :class:`Progress` every :data:`SLICE` cycles.
    checkpoint : Path, optional
        File in which the simulation is saved every ``checkpoint_seconds`` and at Ctrl-C. The same
        call of :meth:`run` then resumes from it, with the same result as without interruption; at
        the end the file is deleted. Raises :class:`CheckpointError` if it belongs to another
        simulation.
    """

    sees_layers = True

    def __init__(
        self,
        config: ArchConfig,
        *,
        memory: Memory = PLAIN,
        stalls: float | None = None,
        seed: int = 0,
        watchdog: int = 1 << 14,
        max_cycles: int | None = None,
        netlist: Target | None = None,
        verilog: str | None = None,
        asserts: bool = False,
        quick: bool = False,
        purpose: Purpose = Purpose.RUN,
        progress: Callable[[Progress], None] | None = None,
        checkpoint: Path | None = None,
        checkpoint_seconds: float = 60,
    ) -> None:
        self.config = config
        self.name = "rtl" if netlist is None else f"netlist {netlist.value}"
        self.feeds: dict[int, Feed] = {}
        self._progress = progress
        self._checkpoint = checkpoint
        self._checkpoint_seconds = checkpoint_seconds
        memories = of_ports(memory, config.ports)
        self._timing = (memories, stalls or 0.0, seed)
        self._pause = 4 * max(
            m.latency + m.refresh_cycles + math.ceil(1 / m.bandwidth) for m in memories
        )
        self._watchdog = watchdog + self._pause
        self._max_cycles = max_cycles
        self._netlist = netlist
        self._verilog = verilog
        self._asserts = asserts
        self._quick = quick
        self._purpose = purpose
        # 31 bits that are not all 0, which would stand for zeros
        self._initial = seed % ((1 << 31) - 1) + 1 if purpose is Purpose.UNKNOWN else 0
        self._model: Model | None = None
        self._stopped = False
        self._states = KeptStates()

    @property
    def model(self) -> Model:
        """The native model, built and out of reset."""
        if self._model is None:
            self._library = self._build()
            self._model = Model(self._library, self.config, self._initial)
            self._model.timing(*self._timing)
            self._identify(self._model)
        return self._model

    def run(
        self,
        program: Program,
        inputs: Inputs,
        *,
        layers: bool = False,
        on_image: Callable[[int], None] | None = None,
        check: Check = unlimited,
    ) -> RunResult:
        """Run all images, ``program.images`` at a time; see :class:`sigbit.runtime.Device`.
        ``check`` is called every :data:`SLICE` cycles.

        Each run starts with fresh DMA windows; the on-chip memories keep their content. The
        timeline and :attr:`feeds` are those of the first run. Raises :class:`HangError` if the
        accelerator makes no progress, or continues after ``max_cycles``, without reporting it, and
        :class:`ModelError` if it breaks the AXI protocol.
        """
        program.require(self.config)
        stored = check_stored(program, inputs)
        runs = len(next(iter(stored.values()))) // program.images
        collector = LayerCollector(program) if layers else None
        meter = Meter(program, runs, self._progress) if self._progress else None
        with self._recovering():
            self._renew()
            watch = self.model.watch(
                {i: collector.slots_of(i) for i in collector.execs} if collector else {}
            )
            parts = self._connect(program)
            checkpoint = self._checkpoint_of(program, stored, layers)
            found = checkpoint.restore(self.model) if checkpoint else None
            results, spent = found or (Results(), 0)
            if not found:
                self._set_up(program)
            for run in range(len(results.counters), runs):
                if not found:
                    window = window_of(program, stored, run)
                    self._states.put(program, window)
                    self._start(window, parts, log=run == 0)
                    spent = 0
                self._states.reset(program)  # until this run is completed
                found = None
                self._finish(program, run, spent, meter, checkpoint, results, check)
                if run == 0:
                    results.timeline = timeline(self.model)
                    results.feeds = feeds(self.model)
                results.counters.append(launch.counters(lambda name: self.model.read(OFFSET[name])))
                memory = images.join_ports(parts, self.config)[: program.memory_bytes]
                for name, value in unpack_outputs(program, memory).items():
                    results.outputs.setdefault(name, []).append(value)
                for name, value in (
                    layers_of(collector, watch, self.config).items() if collector else ()
                ):
                    results.layers.setdefault(name, []).append(value)
                for image in range(run * program.images, (run + 1) * program.images):
                    if on_image:
                        on_image(image)
                self._states.keep(program, memory)
            if checkpoint:
                checkpoint.delete()
        self.feeds = results.feeds
        return RunResult(
            outputs={name: np.concatenate(v) for name, v in results.outputs.items()},
            layers={name: np.concatenate(v) for name, v in results.layers.items()},
            cycles=np.array([c["CYCLES"] for c in results.counters], np.int64),
            counters=results.counters,
            timeline=results.timeline,
        )

    def reset_state(self, program: Program, names: Collection[str] = ()) -> None:
        """Return to initial states; see :class:`sigbit.runtime.Device`."""
        self._states.reset(program, names)

    def scrub(self) -> None:
        """Clear the accelerator: :func:`~sigbit_hw.arch.scrub.scrub_program`, soft reset, registers
        as after a reset; forget all states."""
        self._states.clear()
        program = scrub_program(self.config)
        with self._recovering():
            self._renew()
            parts = self._connect(program)
            self._set_up(program)
            self._start(program.memory(), parts, log=False)
            self._finish(program, 0, 0, None, None, Results(), unlimited)
            self.soft_reset()
            for name, value in launch.blank(self.config).items():
                self.model.write(OFFSET[name], value)

    def reset(self) -> None:
        """Stop the current run: a new model, out of reset, replaces the old one; forget all
        states."""
        self._states.clear()
        self._model = None
        self._stopped = False

    def _build(self) -> Path:
        if self._netlist is None or self._verilog is not None:
            return library(
                self.config,
                self._verilog,
                asserts=self._asserts,
                optimize="-O0" if self._quick else OPTIMIZE,
                inline=not self._quick,
                purpose=self._purpose,
            )
        return netlist_library(self.config, self._netlist)

    # Driver

    def _identify(self, model: Model) -> None:
        """Check that the hardware matches ``config``."""
        for name, value in launch.identity(self.config).items():
            if (got := model.read(OFFSET[name])) != value:
                raise ProgramError(
                    f"the RTL model is not {self.config.name} "
                    f"({self.config.digest[:16]}): {name} is 0x{got:08x}, "
                    f"not 0x{value:08x}"
                )

    def _renew(self) -> None:
        """Reset the hardware after an error, of a run or of the bus since then; if its bus does not
        become idle, replace the model. A model that resumes from a checkpoint is always new."""
        if self._model and not self._stopped:
            self._stopped = bool(self.model.read(OFFSET["STATUS"]) & regs.STATUS_ERROR)
        if (self._stopped and not self.soft_reset()) or self._checkpoint:
            self._model = None
        self._stopped = False

    def _set_up(self, program: Program) -> None:
        """Write every register that describes the program."""
        bases = BASES[: self.config.ports]
        values = launch.set_up_program(
            program, bases, watchdog=self._watchdog, cycle_limit=self._max_cycles or 0
        )
        for name, value in values.items():
            self.model.write(OFFSET[name], value)

    def _connect(self, program: Program) -> list[NDArray[np.uint8]]:
        """Give the ports memories for their parts of the window, and return them."""
        beats = images.beats(program.memory_bytes, self.config)
        parts = [
            np.zeros(beats * self.config.port_bytes, np.uint8) for _ in range(self.config.ports)
        ]
        self.model.connect(parts, BASES[: len(parts)])
        return parts

    def _checkpoint_of(
        self, program: Program, stored: dict[str, Ints], layers: bool
    ) -> Checkpoint | None:
        """The checkpoint of this simulation, if requested."""
        if self._checkpoint is None:
            return None
        data = [
            text
            for name, x in sorted(stored.items())
            for text in (name, repr(x.shape), x.tobytes().hex())
        ] + [state.tobytes().hex() for _, state in self._states.of(program)]
        key = key_of(
            program.digest,
            self._library.parent.name,
            repr(self._timing),
            repr((self._watchdog, layers)),
            *data,
        )
        return Checkpoint(self._checkpoint, key)

    def _start(
        self, window: NDArray[np.uint8], parts: list[NDArray[np.uint8]], *, log: bool
    ) -> None:
        """Fill the ports' memories with their parts of the window and start."""
        config = self.config
        window = np.pad(window, (0, sum(part.size for part in parts) - window.size))
        for part, data in zip(parts, images.split_ports(window, config), strict=True):
            part[:] = data
        self.model.begin(log=log)
        for name, value in launch.START.items():
            self.model.write(OFFSET[name], value)

    def _finish(
        self,
        program: Program,
        run: int,
        spent: int,
        meter: Meter | None,
        checkpoint: Checkpoint | None,
        results: Results,
        check: Check,
    ) -> None:
        """Wait for the interrupt and acknowledge it; raise the error, if any. ``spent`` is the
        number of cycles the run has taken before."""
        model = self.model
        saved = time.monotonic()
        # The accelerator's own limit comes first, if it works.
        budget = None if self._max_cycles is None else self._max_cycles + RESET_CYCLES - spent
        while True:
            check()
            cycles = SLICE if budget is None else min(SLICE, budget)
            try:
                stop = model.run(cycles, 2 * self._watchdog)
                spent += cycles
                if meter:
                    state = model.state()
                    meter.update(run, spent, state.finished, state.fed)
            except KeyboardInterrupt:
                if checkpoint:
                    checkpoint.save(model, results, spent=spent)
                raise
            budget = None if budget is None else budget - cycles
            if stop == Stop.IRQ:
                break
            if checkpoint and time.monotonic() - saved >= self._checkpoint_seconds:
                checkpoint.save(model, results, spent=spent)
                saved = time.monotonic()
            if stop == Stop.ASSERTION:
                raise ModelError(
                    f"{program.name}: an assertion of the gateware failed "
                    f"(its text is on standard output); {activity(model, program)}"
                )
            if stop == Stop.IDLE or budget == 0:
                why = (
                    "no progress"
                    if stop == Stop.IDLE
                    else f"neither done nor stopped after its limit of {self._max_cycles} cycles"
                )
                started = model.state().started[Engine.COMPUTE]
                raise HangError(started or 0, f"{program.name}: {why}; {activity(model, program)}")
        pending = model.read(OFFSET["IRQ_STATUS"])
        model.write(OFFSET["IRQ_STATUS"], pending)
        if pending & (regs.IRQ_ERROR | regs.IRQ_REFUSED):
            if cause := Cause(model.read(OFFSET["CAUSE"])):
                raise DeviceError(cause, model.read(OFFSET["CAUSE_INDEX"]), program)
            raise ModelError(f"{program.name}: the accelerator, not idle, refused to be started")
        if violations := model.violations:
            raise ModelError(
                f"{program.name}: {len(violations)} breaches of AXI, first: {violations[0]}"
            )

    @contextmanager
    def _recovering(self) -> Iterator[None]:
        """Remember that the hardware must be reset; discard the model if its state is unknown."""
        try:
            yield
        except DeviceError:
            self._stopped = True
            raise
        except BaseException:
            self._model = None
            raise

    def soft_reset(self) -> bool:
        """Reset the accelerator; return whether its bus became idle."""
        model = self.model
        model.write(OFFSET["CONTROL"], regs.CONTROL_SOFT_RESET)
        watchdog = model.read(OFFSET["WATCHDOG"])
        deadline = model.state().cycle + RESET_CYCLES + self._pause + watchdog
        while model.state().cycle < deadline:
            if model.read(OFFSET["STATUS"]) & regs.STATUS_BUS_IDLE:
                return True
        return False
