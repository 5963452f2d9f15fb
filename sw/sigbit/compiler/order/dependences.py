"""Pass: set tokens and sync, so that concurrent engines respect the program order.

Every pair of conflicting accesses of different engines needs a token from the earlier to the later
one, counted by a counter for each ordered pair of engines. Of the tokens an instruction needs from
an engine, the latest implies the others, and tokens that an earlier instruction of the same engine
has awaited imply older ones; the remaining ones give each signal one wait, in the same order.
"""

from bisect import bisect_right
from dataclasses import replace
from operator import itemgetter

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.order.access import READERS, WRITERS, Entries, Memory, Thread, accesses, depths
from sigbit.compiler.order.schedule import Scheduled
from sigbit.errors import CompileError, require
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import ENGINE_OF, TOKEN_MAX, Engine, Exec, Instr, engines_of
from sigbit_hw.arch.timing import QUEUE_AHEAD

Edges = dict[tuple[Engine, Engine], dict[int, int]]
"""By (giver, taker): index of the latest required instruction, by index of the one that requires
it."""
Pairs = list[tuple[int, int]]

ENGINES = {
    Thread.LOAD: Engine.LOAD,
    Thread.ISSUE: Engine.COMPUTE,
    Thread.DRAIN: Engine.COMPUTE,
    Thread.STORE: Engine.STORE,
}


class _History:
    """Last writers and readers of the entries of one memory: instruction indices, -1 for none."""

    def __init__(self, memory: Memory, depth: int) -> None:
        self._writer = {t: np.full(depth, -1, np.int32) for t in WRITERS[memory]}
        self._reader = {t: np.full(depth, -1, np.int32) for t in READERS[memory]}

    def written(self, thread: Thread, entries: Entries) -> dict[Thread, int]:
        """Latest writers of ``entries`` by thread, without ``thread`` itself."""
        return _latest(self._writer, thread, entries)

    def touched(self, thread: Thread, entries: Entries) -> dict[Thread, int]:
        """Latest writers or readers of ``entries``; see :meth:`written`."""
        return _latest(self._writer, thread, entries) | _latest(self._reader, thread, entries)

    def read(self, thread: Thread, index: int, entries: Entries) -> None:
        """Record that ``index`` reads ``entries``."""
        self._reader[thread][entries] = index

    def write(self, thread: Thread, index: int, entries: Entries) -> None:
        """Record a write, which replaces all earlier accesses: whatever comes after it also comes
        after them."""
        for table in (*self._writer.values(), *self._reader.values()):
            table[entries] = -1
        self._writer[thread][entries] = index


def _latest(
    tables: dict[Thread, NDArray[np.int32]], thread: Thread, entries: Entries
) -> dict[Thread, int]:
    found = {t: int(table[entries].max()) for t, table in tables.items() if t != thread}
    return {t: index for t, index in found.items() if index >= 0}


def synchronize(scheduled: Scheduled, config: ArchConfig) -> Scheduled:
    """``scheduled`` with the ``wait``, ``signal`` and ``sync`` fields set."""
    window = scheduled.window(config)
    program = [window.place(step.instr, step.region) for step in scheduled.steps]
    edges, syncs = _conflicts(program, config, window.end)
    tokens = _within_counters(edges, program, config)
    wait, signal = [0] * len(program), [0] * len(program)
    for (giver, taker), pairs in tokens.items():
        for a, b in pairs:
            signal[a] |= 1 << taker
            wait[b] |= 1 << giver
    steps = []
    for i, step in enumerate(scheduled.steps):
        instr = step.instr
        if i in syncs and isinstance(instr, Exec):
            instr = replace(instr, sync=True)
        if wait[i] or signal[i]:
            instr = replace(instr, wait=wait[i], signal=signal[i])
        steps.append(step if instr is step.instr else replace(step, instr=instr))
    return replace(scheduled, steps=tuple(steps))


def _conflicts(
    program: list[Instr], config: ArchConfig, window_bytes: int
) -> tuple[Edges, set[int]]:
    """Edges between engines, and the EXECs that must wait for earlier ones to drain."""
    sizes = depths(config, window_bytes)
    histories = {memory: _History(memory, size) for memory, size in sizes.items()}
    edges: Edges = {}
    syncs: set[int] = set()
    synced = -1
    for access in accesses(program, config, window_bytes):
        taker, index = ENGINES[access.thread], access.index
        found = [histories[m].written(access.thread, e) for m, e in access.reads.items()]
        found += [histories[m].touched(access.thread, e) for m, e in access.writes.items()]
        for thread, latest in (pair for each in found for pair in each.items()):
            giver = ENGINES[thread]
            if giver != taker:
                needs = edges.setdefault((giver, taker), {})
                needs[index] = max(needs.get(index, -1), latest)
            elif thread == Thread.DRAIN and access.thread == Thread.ISSUE and latest >= synced:
                syncs.add(index)
                synced = index
        for memory, entries in access.reads.items():
            histories[memory].read(access.thread, index, entries)
        for memory, entries in access.writes.items():
            histories[memory].write(access.thread, index, entries)
    return edges, syncs


def _reduced(needs: dict[int, int]) -> Pairs:
    """Edges that do not follow from earlier ones: givers and takers both ascend strictly."""
    pairs: Pairs = []
    for taker in sorted(needs):
        if not pairs or needs[taker] > pairs[-1][0]:
            pairs.append((needs[taker], taker))
    return pairs


def _within_counters(
    edges: Edges, program: list[Instr], config: ArchConfig
) -> dict[tuple[Engine, Engine], Pairs]:
    """Reduced edges, made stricter where a counter could overflow.

    Two adjacent edges (a, b), (c, d) with c before b in program order become the one edge (c, b).
    If there are no such edges, the giver first waits for the taker.
    """
    edges = {key: dict(needs) for key, needs in edges.items()}
    positions = {e: np.cumsum([ENGINE_OF[i.opcode] == e for i in program]) for e in Engine}
    for _ in range(len(program) + 1):
        tokens = {key: _reduced(needs) for key, needs in edges.items()}
        for (giver, taker), pairs in tokens.items():
            answers = tokens.get((taker, giver), [])
            back = _merge(pairs, answers, positions[taker], config)
            if back is not None:
                b, a = back
                needs = edges.setdefault((taker, giver), {})
                needs[a] = max(needs.get(a, -1), b)
                edges[giver, taker] = {t: g for g, t in pairs}
                break
        else:
            return tokens
    raise CompileError("token counters overflow in every order of execution")


def _merge(
    pairs: Pairs, answers: Pairs, position: NDArray[np.int64], config: ArchConfig
) -> tuple[int, int] | None:
    """Merge ``pairs`` in place until the counter cannot overflow; return an edge (taker, giver) to
    add if that is not enough.

    A token has certainly been taken if its taker is further back than the depth of the taker's
    queue, or if the giver has awaited a later one of the taker's tokens, ``answers``; ``position``
    counts the taker's instructions.
    """
    m = first = 0
    while m < len(pairs):
        at = pairs[m][0]
        answer = bisect_right(answers, at, key=itemgetter(1)) - 1
        known = answers[answer][0] if answer >= 0 else -1
        while (
            pairs[first][1] <= known
            or position[at] - position[pairs[first][1]] >= config.queue_depth + QUEUE_AHEAD
        ):
            first += 1
        if m + 1 - first <= TOKEN_MAX:
            m += 1
            continue
        for k in range(first, m):
            if pairs[k + 1][0] < pairs[k][1]:
                pairs[k : k + 2] = [(pairs[k + 1][0], pairs[k][1])]
                m -= 1
                break
        else:
            return pairs[(first + m) // 2][1], at
    return None


def verify_synchronized(after: Scheduled, before: Scheduled) -> None:
    """Check that nothing except tokens and ``sync`` has changed, and that there are as many waits
    as signals."""
    balance = np.zeros((len(Engine), len(Engine)), np.int64)
    for step, old in zip(after.steps, before.steps, strict=True):
        instr = step.instr
        plain: Instr = replace(instr, wait=0, signal=0)
        if isinstance(plain, Exec):
            plain = replace(plain, sync=False)
        require(replace(step, instr=plain) == old, "an instruction was changed")
        engine = ENGINE_OF[instr.opcode]
        for other in engines_of(instr.signal):
            balance[engine, other] += 1
        for other in engines_of(instr.wait):
            balance[other, engine] -= 1
    require(not balance.any(), "there are not as many waits as signals")
