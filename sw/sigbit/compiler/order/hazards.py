"""The last verifier: a proof that the engines of a finished Program cannot disturb each other.

It reads only the Program, and proves that its effect is that of its instructions one after another;
:mod:`~sigbit.compiler.order.contents`, which follows along, checks that this is the intended one.

Vector clocks over the four activities (load, issue, drain, store) grow along program order within
an activity, from an EXEC's issue to its drain, along ``sync`` and along tokens. Two conflicting
accesses are safe if the clock of the later one contains the earlier one.
"""

from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.order.access import (
    READERS,
    WRITERS,
    Access,
    Entries,
    Memory,
    Thread,
    accesses,
    depths,
)
from sigbit.errors import require
from sigbit_hw.arch.assembler import listing
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import ENGINE_OF, TOKEN_MAX, Engine, Exec, Halt, Instr, Store, engines_of
from sigbit_hw.arch.program import Program
from sigbit_hw.arch.timing import QUEUE_AHEAD

Ints = NDArray[np.int64]

WINDOW_BEATS_MAX = 1 << 26
"""Maximum number of beats that STORE may write: the record of each beat takes 9 bytes."""


def verify_hazards(program: Program, follow: Callable[[Access], None] | None = None) -> None:
    """Raise :class:`~sigbit.errors.VerifyError` unless every pair of conflicting accesses is
    ordered, every read entry was written before, and no token counter can under- or overflow;
    ``follow`` is called with every access, in program order."""
    code = program.listing
    require(bool(code) and isinstance(code[-1], Halt), "the program does not end with HALT")
    require(not any(isinstance(i, Halt) for i in code[:-1]), "HALT comes before the end")
    _verify_window(program)
    _verify_counters(code, program.config)
    _Race(program).verify(follow)


_Clocks = dict[Thread, NDArray[np.int32]]
"""By activity: its count at its last access to every entry of a memory, 0 for none."""


def _clocks(threads: tuple[Thread, ...], depth: int) -> _Clocks:
    return {thread: np.zeros(depth, np.int32) for thread in threads}


class _Race:
    """Vector clocks of the activities, and the last accesses to every entry of every memory."""

    def __init__(self, program: Program) -> None:
        self.code, self.config = program.listing, program.config
        self.bytes = program.memory_bytes
        self.low, high = (bound // self.config.bus_bytes for bound in program.write_window)
        require(
            high - self.low <= WINDOW_BEATS_MAX,
            f"STORE may write {high - self.low} beats, at most {WINDOW_BEATS_MAX} can be verified",
        )
        self.clocks = np.zeros((len(Thread), len(Thread)), np.int64)
        self.tokens: dict[tuple[int, int], deque[Ints]] = {
            (a, b): deque() for a in Engine for b in Engine
        }
        sizes = depths(self.config, self.bytes) | {Memory.WINDOW: high - self.low}
        self.written = {m: _clocks(WRITERS[m], size) for m, size in sizes.items()}
        self.read = {m: _clocks(READERS[m], size) for m, size in sizes.items()}
        self.known = {m: np.zeros(size, bool) for m, size in sizes.items()}
        for port in program.states:  # STORE may write them: :func:`_verify_window`
            first = port.offset // self.config.bus_bytes - self.low
            beats = port.bytes(self.config) * program.images // self.config.bus_bytes
            self.known[Memory.WINDOW][first : first + beats] = True

    def verify(self, follow: Callable[[Access], None] | None) -> None:
        """Walk the program once."""
        done = 0
        for access in accesses(self.code, self.config, self.bytes):
            self._take(range(done, access.index + (access.thread != Thread.DRAIN)))
            done = access.index + 1
            self._begin(access)
            self._check(access)
            if follow:
                follow(access)
            instr = self.code[access.index]
            drains_later = isinstance(instr, Exec) and instr.drain and access.thread == Thread.ISSUE
            if not drains_later:
                self._give(access)
        for (giver, taker), left in self.tokens.items():
            require(
                not left,
                f"{len(left)} tokens from {Engine(giver).name} to "
                f"{Engine(taker).name} are never taken",
            )

    def _take(self, indices: range) -> None:
        """Join the clocks of the tokens that instructions wait for."""
        for index in indices:
            instr = self.code[index]
            engine = ENGINE_OF[instr.opcode]
            thread = {
                Engine.LOAD: Thread.LOAD,
                Engine.COMPUTE: Thread.ISSUE,
                Engine.STORE: Thread.STORE,
            }[engine]
            for giver in engines_of(instr.wait):
                queue = self.tokens[giver, engine]
                require(
                    bool(queue),
                    f"{self._name(index)} waits for a token that no earlier instruction gives",
                )
                self._join(thread, queue.popleft())

    def _join(self, thread: Thread, clock: Ints) -> None:
        self.clocks[thread] = np.maximum(self.clocks[thread], clock)

    def _begin(self, access: Access) -> None:
        """Order the activity after its predecessors, and count it."""
        if access.thread == Thread.DRAIN:
            self._join(Thread.DRAIN, self.clocks[Thread.ISSUE])
        elif access.thread == Thread.ISSUE:
            instr = self.code[access.index]
            if isinstance(instr, Exec) and instr.sync:
                self._join(Thread.ISSUE, self.clocks[Thread.DRAIN])
        self.clocks[access.thread, access.thread] += 1

    def _check(self, access: Access) -> None:
        clock = self.clocks[access.thread].copy()
        now = int(clock[access.thread])
        if access.thread == Thread.DRAIN:
            clock[Thread.ISSUE] -= 1  # an EXEC drains while its own later blocks still read
        for memory, entries in self._changing(access.reads):
            self._require(bool(self.known[memory][entries].all()), access, memory, "never written")
            self._order(access, memory, entries, self.written[memory], clock, "written")
            self.read[memory][access.thread][entries] = now
        for memory, entries in self._changing(access.writes):
            self._order(access, memory, entries, self.written[memory], clock, "written")
            self._order(access, memory, entries, self.read[memory], clock, "read")
            self.written[memory][access.thread][entries] = now
            self.known[memory][entries] = True

    def _changing(self, entries: dict[Memory, Entries]) -> Iterator[tuple[Memory, Entries]]:
        """``entries`` that may change: all on-chip memories, and the part of the DMA window that
        STORE may write, counted from its start."""
        for memory, part in entries.items():
            if memory == Memory.WINDOW and isinstance(part, slice):
                first, last = max(part.start, self.low), max(part.stop, self.low)
                part = slice(first - self.low, last - self.low)
            yield memory, part

    def _order(
        self,
        access: Access,
        memory: Memory,
        entries: Entries,
        tables: _Clocks,
        clock: Ints,
        what: str,
    ) -> None:
        """Check that ``clock`` contains every earlier access of other activities to ``entries``."""
        for thread, table in tables.items():
            if thread != access.thread and self.clocks[thread, thread] > clock[thread]:
                before = bool((table[entries] <= clock[thread]).all())
                self._require(before, access, memory, f"{what} at the same time")

    def _give(self, access: Access) -> None:
        instr = self.code[access.index]
        thread = Thread.DRAIN if access.thread == Thread.ISSUE else access.thread
        if access.thread == Thread.ISSUE:
            self._join(Thread.DRAIN, self.clocks[Thread.ISSUE])
        engine = ENGINE_OF[instr.opcode]
        for taker in engines_of(instr.signal):
            self.tokens[engine, taker].append(self.clocks[thread].copy())

    def _require(self, condition: bool, access: Access, memory: Memory, why: str) -> None:
        require(
            condition,
            f"{self._name(access.index)}: its {access.thread.name.lower()} uses "
            f"{memory.name} that may be {why}"
            if not condition
            else "",
        )

    def _name(self, index: int) -> str:
        return f"instruction {index} ({listing([self.code[index]])[8:]})"


def _verify_window(program: Program) -> None:
    """Check that STORE writes only inside the write window, which contains all states, but neither
    program nor constants nor inputs."""
    low, high = program.write_window
    for index, instr in enumerate(program.listing):
        if isinstance(instr, Store):
            end = instr.address + instr.beats * program.config.bus_bytes
            inside = low <= instr.address and end <= high
            require(inside, f"instruction {index} stores outside the write window")
    for port in program.states:
        end = port.offset + port.bytes(program.config) * program.images
        require(low <= port.offset and end <= high, f"STORE may not write state {port.name}")
    fixed = [
        (program.program_offset, program.instructions.size),
        (program.image_offset, program.image.size),
        *((p.offset, p.bytes(program.config) * program.images) for p in program.inputs),
    ]
    for start, size in fixed:
        apart = not size or start + size <= low or high <= start
        require(apart, f"STORE may write what must not change at byte {start}")


def _verify_counters(code: list[Instr], config: ArchConfig) -> None:
    """Check that no token counter can exceed its maximum, in program order or concurrently.

    Dispatch is in order and queues are bounded: when an instruction runs, those of another engine
    that are further back than the depth of its queue have taken their tokens, and so have those
    whose answering token it has taken itself.
    """
    engines = [ENGINE_OF.get(i.opcode) for i in code]
    for giver in Engine:
        for taker in Engine:
            given, own, known = 0, 0, 0
            takes: list[int] = []
            answers: deque[int] = deque()
            for index, instr in enumerate(code):
                if engines[index] == taker:
                    if giver in engines_of(instr.wait):
                        takes.append(own)
                    if giver in engines_of(instr.signal):
                        answers.append(len(takes))
                    own += 1
                elif engines[index] == giver:
                    if answers and taker in engines_of(instr.wait):
                        known = answers.popleft()
                    given += taker in engines_of(instr.signal)
                    sure = bisect_left(takes, own - config.queue_depth - QUEUE_AHEAD)
                    pending = given - max(sure, known)
                    require(
                        pending <= TOKEN_MAX,
                        f"instruction {index}: up to {pending} tokens from {giver.name} to "
                        f"{taker.name} may be pending, but a counter holds {TOKEN_MAX}",
                    )
