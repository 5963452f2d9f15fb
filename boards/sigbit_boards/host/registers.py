"""Registers of the accelerator, by name, as steps of a driver."""

from collections.abc import Callable, Mapping

from sigbit_boards.host.steps import ReadRegisters, Step, WriteRegisters
from sigbit_hw.arch.regs import OFFSET, WORD_BYTES

Names = Callable[[bytes], dict[str, int]]
"""Converts the data read by a step to values by name."""


def writes(values: Mapping[str, int]) -> list[Step]:
    """Steps that write registers in the order of ``values``; adjacent registers share one."""
    groups: list[tuple[int, list[int]]] = []
    for name, value in values.items():
        offset = OFFSET[name]
        if groups and offset == groups[-1][0] + WORD_BYTES * len(groups[-1][1]):
            groups[-1][1].append(value)
        else:
            groups.append((offset, [value]))
    return [WriteRegisters(offset, tuple(words)) for offset, words in groups]


def block(first: str, last: str) -> tuple[ReadRegisters, Names]:
    """A step that reads the registers from ``first`` to ``last``, and a function that converts its
    result to values by name."""
    start = OFFSET[first]
    names = [name for name, offset in OFFSET.items() if start <= offset <= OFFSET[last]]

    def values(data: bytes) -> dict[str, int]:
        return {
            name: int.from_bytes(data[at : at + WORD_BYTES], "little")
            for name in names
            for at in (OFFSET[name] - start,)
        }

    return ReadRegisters(start, len(names)), values
