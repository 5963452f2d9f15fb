"""Dependencies between instructions, derived from their reads and writes."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.isa import Engine

Ints = NDArray[np.int64]


@dataclass
class Dependencies:
    """Tokens from accesses: tracks the last writer and readers of each entry of each memory."""

    written: dict[str, dict[int, int]] = field(default_factory=dict)
    read: dict[str, dict[tuple[int, Engine], int]] = field(default_factory=dict)
    engine: dict[int, Engine] = field(default_factory=dict)
    covered: dict[tuple[Engine, Engine], int] = field(default_factory=dict)

    def access(
        self, index: int, engine: Engine, reads: dict[str, Ints], writes: dict[str, Ints]
    ) -> tuple[dict[Engine, int], int]:
        """Record that instruction ``index`` reads and writes entries. Returns the instructions of
        other engines that it must wait for and that no earlier one has waited for, and the last one
        of its own engine (-1 if none) that wrote an entry that it reads or overwrites (results
        become visible when their instruction retires)."""
        latest = dict.fromkeys(Engine, -1)

        def after(other: int) -> None:
            latest[self.engine[other]] = max(latest[self.engine[other]], other)

        self.engine[index] = engine
        for memory, entries in reads.items():
            last = self.written.setdefault(memory, {})
            for entry in entries.tolist():
                after(last[entry])
        overwritten = [
            last[entry]
            for memory, entries in writes.items()
            for last in [self.written.setdefault(memory, {})]
            for entry in entries.tolist()
            if entry in last
        ]
        own = max([latest[engine], *(i for i in overwritten if self.engine[i] == engine)])
        for memory, entries in writes.items():
            last, readers = self.written.setdefault(memory, {}), self.read.setdefault(memory, {})
            for entry in entries.tolist():
                for other in (last.get(entry), *(readers.get((entry, e)) for e in Engine)):
                    if other is not None:
                        after(other)
        for memory, entries in reads.items():
            readers = self.read.setdefault(memory, {})
            readers.update({(entry, engine): index for entry in entries.tolist()})
        for memory, entries in writes.items():
            self.written[memory].update(dict.fromkeys(entries.tolist(), index))
        waits = {}
        for other, last_index in latest.items():
            if other != engine and last_index > self.covered.get((other, engine), -1):
                self.covered[other, engine] = last_index
                waits[other] = last_index
        return waits, own
