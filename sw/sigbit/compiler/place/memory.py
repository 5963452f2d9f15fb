"""Pass: assign first slots to all values, such that values alive at the same time never overlap.

Memory rests between uses as long as there is room: a halo is filled, and an input loaded, only
after the last reader of the previous content, and every wait of the LOAD engine delays all loads
behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.network import Network
from sigbit.compiler.place.layout import Laid, Layout
from sigbit.errors import MemoryLimitError, require
from sigbit_hw.arch.config import ArchConfig

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Placed:
    """Layouts and first slots of the values of a network."""

    network: Network
    layouts: dict[str, Layout]
    bases: dict[str, int]


RESTS = (1 << 30, 16, 8, 4, 2, 1, 0)
"""Rest periods, in operations, before the LOAD engine writes to memory, the best first."""


def place(laid: Laid, config: ArchConfig) -> Placed:
    """Return the plan with the longest rests; raises :class:`MemoryLimitError` if there is none."""
    bases = plan(laid, config)
    if bases is not None:
        return Placed(laid.network, laid.layouts, bases)
    network, layouts = laid.network, laid.layouts
    slots = live_slots(laid)
    worst = max(range(len(slots)), key=lambda i: slots[i])
    alive = [n for n, (born, last) in network.life.items() if born <= worst <= last]
    sizes = ", ".join(f"{n} ({layouts[n].size})" for n in alive)
    where = network.ops[worst].where if worst < len(network.ops) else network.name
    needed = min(_end(_first_fit(order, laid, 1 << 62), laid) for order in _orders(laid))
    raise MemoryLimitError(
        f"{where}: the activation memory of {config.name} has {config.act_slots} slots, but "
        f"{needed} are needed; alive in this layer: {sizes}. Use an accelerator with act_slots >= "
        f"{1 << (needed - 1).bit_length()}, or a smaller input"
    )


def plan(laid: Laid, config: ArchConfig) -> dict[str, int] | None:
    """First slots of all values, or None if they do not fit.

    First fit in the order of definition, every value with the longest rest for which there is room.
    An early long rest may use the room that a later value needs: then no rest is longer than the
    next of :data:`RESTS`, and so on; the last attempt is without rests, the largest value first.
    """
    by_time, by_size = _orders(laid)
    if max(live_slots(laid)) > config.act_slots:
        return None
    tries = [(by_time, RESTS[longest:]) for longest in range(len(RESTS))]
    for order, rests in (*tries, (by_size, RESTS[-1:])):
        bases = _first_fit(order, laid, config.act_slots, rests)
        if _end(bases, laid) <= config.act_slots:
            return bases
    return None


def live_slots(laid: Laid) -> list[int]:
    """Number of slots alive during every operation, and after the last one."""
    change = np.zeros(len(laid.network.ops) + 2, np.int64)
    for name, (born, last) in laid.network.life.items():
        change[max(born, 0)] += laid.layouts[name].size
        change[last + 1] -= laid.layouts[name].size
    slots: list[int] = np.cumsum(change)[:-1].tolist()
    return slots


def verify_placed(placed: Placed, config: ArchConfig) -> None:
    """Check that all values lie in the memory and that those alive together do not overlap."""
    names = sorted(placed.layouts)
    first, end, born, last = _extents(names, placed)
    outside = (first < 0) | (end > config.act_slots)
    require(not outside.any(), f"{names[int(outside.argmax())]} lies outside the memory")
    for i, name in enumerate(names):
        together = (born[i] <= last) & (born <= last[i])
        overlap = together & (first[i] < end) & (first < end[i])
        overlap[i] = False
        other = names[int(overlap.argmax())]
        require(not overlap.any(), f"{name} and {other} overlap while both are alive")


def _extents(names: Sequence[str], placed: Placed) -> tuple[Ints, Ints, Ints, Ints]:
    """First slots, ends, first and last operations of values."""
    life = np.array([placed.network.life[n] for n in names], np.int64).reshape(-1, 2)
    first = np.array([placed.bases[n] for n in names], np.int64)
    sizes = np.array([placed.layouts[n].size for n in names], np.int64)
    return first, first + sizes, life[:, 0], life[:, 1]


def _orders(laid: Laid) -> tuple[list[str], list[str]]:
    """Names by first use, and by size."""
    life, layouts = laid.network.life, laid.layouts
    by_time = sorted(layouts, key=lambda n: (life[n][0], n))
    return by_time, sorted(layouts, key=lambda n: (-layouts[n].size, life[n][0], n))


def _end(bases: dict[str, int], laid: Laid) -> int:
    """Total number of slots that values occupy."""
    return max((base + laid.layouts[name].size for name, base in bases.items()), default=0)


def _first_fit(
    order: Sequence[str], laid: Laid, room: int, rests: Sequence[int] = (0,)
) -> dict[str, int]:
    """Lowest first slots that do not overlap anything placed before and alive at the same time.

    A value that the LOAD engine writes, or whose halo it fills, also avoids slots last used less
    than a number of operations before: the first of ``rests`` with which it ends within ``room``.
    """
    life = np.array([laid.network.life[n] for n in order], np.int64).reshape(-1, 2)
    starts, ends = np.zeros((2, len(order)), np.int64)
    for index, name in enumerate(order):
        value, size = laid.network.values[name], laid.layouts[name].size
        born, last = life[index].tolist()
        loaded = value.load is not None or value.halo is not None
        for rest in rests if loaded else rests[-1:]:
            near = (life[:index, 0] <= last) & (born <= life[:index, 1] + rest)
            base = _lowest(starts[:index][near], ends[:index][near], size)
            if base + size <= room:
                break
        starts[index], ends[index] = base, base + size
    return dict(zip(order, starts.tolist(), strict=True))


def _lowest(starts: Ints, ends: Ints, size: int) -> int:
    """Lowest slot from which ``size`` slots are free of the occupied ranges."""
    order = np.argsort(starts, kind="stable")
    base = 0
    for start, end in zip(starts[order].tolist(), ends[order].tolist(), strict=True):
        if base + size <= start:
            break
        base = max(base, end)
    return base
