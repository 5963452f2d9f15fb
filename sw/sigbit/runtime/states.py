"""States of Programs between their runs."""

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.program import Program, ProgramError

Bytes = NDArray[np.uint8]


class KeptStates:
    """Bytes of the states of any number of Programs, by their digests; those that are not kept are
    the initial ones."""

    def __init__(self) -> None:
        self._kept: dict[str, dict[str, Bytes]] = {}

    def of(self, program: Program) -> list[tuple[slice, Bytes]]:
        """Return the places of the states in the DMA window, and their bytes."""
        kept = self._kept.get(program.digest, {})
        return [(part, kept.get(name, data)) for name, part, data in program.initial_states()]

    def put(self, program: Program, memory: Bytes) -> None:
        """Write the states to the DMA window ``memory``."""
        for part, data in self.of(program):
            memory[part] = data

    def keep(self, program: Program, memory: Bytes) -> None:
        """Keep the states in the DMA window ``memory`` for the next run."""
        if program.states:
            parts = program.initial_states()
            self._kept[program.digest] = {name: memory[part].copy() for name, part, _ in parts}

    def reset(self, program: Program, names: Collection[str] = ()) -> None:
        """Return to the initial states, of all or of those with ``names``."""
        check_names(program, names)
        if names:
            for name in names:
                self._kept.get(program.digest, {}).pop(name, None)
        else:
            self._kept.pop(program.digest, None)

    def clear(self) -> None:
        """Return to the initial states of all Programs."""
        self._kept.clear()


def check_names(program: Program, names: Collection[str]) -> None:
    """Raise :class:`ProgramError` if a state does not exist."""
    known = [port.name for port in program.states]
    if unknown := sorted(set(names) - set(known)):
        raise ProgramError(f"{program.name} has no states {unknown}; it has {known}")
