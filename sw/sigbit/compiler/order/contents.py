"""Owner of the data in every activation slot and weight word, in program order.

Ordered accesses are not necessarily correct: a LOAD or FILL placed before the last reader of the
data it overwrites is ordered behind nothing, and the reader gets the new value. This check requires
that every read finds the value that its operation is meant to read.
"""

import numpy as np

from sigbit.compiler.order.access import Access, Entries, Memory, Thread
from sigbit.compiler.order.schedule import Scheduled, Step
from sigbit.errors import require
from sigbit_hw.arch.config import ArchConfig

NOBODY = -1


class Contents:
    """Follows the accesses of a program whose instructions are those of ``scheduled``.

    A slot that an operation or a STORE may read is assigned to one of its operands by the placement
    of values: those that live together do not overlap.
    """

    def __init__(self, scheduled: Scheduled, config: ArchConfig) -> None:
        placed = scheduled.placed
        network = placed.network
        self._steps = scheduled.steps
        self._tiles = scheduled.tiles
        self._ops = network.ops
        self._names = list(network.values)
        self._values_of = {
            value.store.memory: name
            for name, value in network.values.items()
            if value.weights and value.store
        }
        self._number = {name: k for k, name in enumerate(self._names)}
        self._places = {
            name: slice(base, base + placed.layouts[name].size)
            for name, base in placed.bases.items()
        }
        self._stored: set[str] = set()
        self._states = {t.name for t in network.memory.values() if t.kind == "state"}
        self._words = np.full(config.weight_words, NOBODY, np.int32)
        self._owner = np.full(config.act_slots, NOBODY, np.int32)
        self._meant = np.full(config.act_slots, NOBODY, np.int32)

    def follow(self, access: Access) -> None:
        """Check the reads of ``access`` and record its writes; accesses come in program order."""
        step = self._steps[access.index]
        self._follow_words(access, step)
        if Memory.ACTS in access.reads:
            if access.thread == Thread.STORE:
                values = [step.value]
            else:
                operands = self._ops[self._tiles[step.tile].op].operands
                values = list(dict.fromkeys(operand.value for operand in operands))
            self._check(access.index, access.reads[Memory.ACTS], values)
        if Memory.ACTS in access.writes:
            tile = step.tile >= 0
            name = self._ops[self._tiles[step.tile].op].result if tile else step.value
            self._owner[access.writes[Memory.ACTS]] = self._number[name]

    def _follow_words(self, access: Access, step: Step) -> None:
        """Check that weight words are loaded once they are stored, and used by the operation that
        multiplies by their value, or are constants; and that states are loaded before."""
        if access.thread == Thread.STORE:
            self._stored.add(step.region)
        if access.thread == Thread.LOAD and step.region in self._states:
            late = step.region in self._stored
            require(not late, f"instruction {access.index} loads the next run's {step.region}")
        if Memory.WEIGHTS in access.writes:
            owner = self._values_of.get(step.region)
            stored = owner is None or step.region in self._stored
            require(stored, f"instruction {access.index} loads words that are not stored yet")
            self._words[access.writes[Memory.WEIGHTS]] = (
                NOBODY if owner is None else self._number[owner]
            )
        if Memory.WEIGHTS in access.reads:
            right = self._ops[self._tiles[step.tile].op].operands[0].right
            wanted = self._number[right] if right else NOBODY
            own = bool((self._words[access.reads[Memory.WEIGHTS]] == wanted).all())
            require(own, f"instruction {access.index} multiplies by other words")

    def _check(self, index: int, entries: Entries, values: list[str]) -> None:
        """Check that every slot of ``entries`` holds the one of ``values`` that lies there."""
        for name in values:
            self._meant[self._places[name]] = self._number[name]
        meant, found = self._meant[entries], self._owner[entries]
        wrong = np.flatnonzero((meant != found) | (meant == NOBODY))
        if wrong.size:
            wanted, there = (self._name(numbers[wrong[0]]) for numbers in (meant, found))
            require(False, f"instruction {index} reads {wanted} where {there} is by then")
        for name in values:
            self._meant[self._places[name]] = NOBODY

    def _name(self, number: np.int32) -> str:
        return "nothing" if number == NOBODY else self._names[int(number)]
