"""Readable tables of the rows of ``sigbit bench convolutions``."""

from collections import defaultdict
from collections.abc import Iterable, Sequence

from sigbit.bench.convolutions.sweep import Row

COLUMNS = ("instruction set", "layout", "threads", "shapes", "largest error", "wrong", "crashes")
FAULTS = ("instruction set", "layout", "convolution", "input channels", "shapes", "kernel")


def summary(rows: Iterable[Row]) -> list[list[str]]:
    """One line for each row."""
    return [
        [
            row.instructions,
            row.layout.value,
            str(row.threads),
            str(row.shapes),
            f"{row.largest_error:.1e}",
            str(len(row.faults) - row.crashes),
            str(row.crashes),
        ]
        for row in rows
    ]


def faults(rows: Iterable[Row]) -> list[list[str]]:
    """One line for each kind of faulty convolution: kernel, stride and groups, and the input
    channels concerned."""
    lines = []
    for row in rows:
        channels: dict[str, set[int]] = defaultdict(set)
        count: dict[str, int] = defaultdict(int)
        last: dict[str, set[str]] = defaultdict(set)
        for fault in row.faults:
            s = fault.shape
            kind = "dense" if s.groups == 1 else f"{s.groups} groups"
            name = f"{s.kernel}x{s.kernel}, stride {s.stride}, {kind}"
            channels[name].add(s.inputs)
            count[name] += 1
            last[name].update(fault.kernels[-1:])
        lines += [
            [
                row.instructions,
                row.layout.value,
                name,
                _ranges(sorted(channels[name])),
                str(count[name]),
                ", ".join(sorted(last[name])) or "–",
            ]
            for name in channels
        ]
    return lines


def markdown(columns: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; empty if it has no lines."""
    head = [list(columns), ["---"] * len(columns)]
    text = "\n".join("| " + " | ".join(line) + " |" for line in [*head, *lines])
    return f"{text}\n" if lines else ""


def _ranges(numbers: Sequence[int]) -> str:
    """``1 to 3, 5`` for 1, 2, 3, 5."""
    parts: list[list[int]] = []
    for number in numbers:
        if parts and number == parts[-1][1] + 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ", ".join(str(a) if a == b else f"{a} to {b}" for a, b in parts)
