"""Pass: first slots of all values, such that values alive at the same time never overlap.

Memory rests between uses as long as there is room for that: a halo is filled, and an input loaded,
only after the last reader of what lay there before, and whatever the LOAD engine has to wait for
holds up every load behind it.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from sigbit.compiler.errors import CompileError, require
from sigbit.compiler.layout import Laid, Layout
from sigbit.compiler.network import Network
from sigbit_hw.arch.config import ArchConfig


@dataclass(frozen=True)
class Placed:
    """Layouts and first slots of the values of a network."""

    network: Network
    layouts: dict[str, Layout]
    bases: dict[str, int]


RESTS = (1 << 30, 16, 8, 4, 2, 1)
"""Operations for which memory rests between two values, the best first."""


def place(laid: Laid, config: ArchConfig) -> Placed:
    """First fit with the longest rest that the activation memory allows; without any, in the order
    of definition or else the largest first; :class:`CompileError` if even that is too much."""
    network, layouts = laid.network, laid.layouts
    born, last = network.defined, network.last_use
    by_time = sorted(layouts, key=lambda n: (born[n], n))
    by_size = sorted(layouts, key=lambda n: (-layouts[n].size, born[n], n))
    plans = [_first_fit(by_time, laid, rest) for rest in RESTS]
    plans += [_first_fit(order, laid) for order in (by_time, by_size)]
    for bases in plans:
        if all(bases[n] + layouts[n].size <= config.act_slots for n in bases):
            return Placed(network, layouts, bases)
    worst = max(range(len(network.ops)), key=lambda i: _live(laid, i), default=-1)
    alive = [n for n in layouts if born[n] <= worst <= last[n]]
    sizes = ", ".join(f"{n} ({layouts[n].size})" for n in alive)
    where = network.ops[worst].where if network.ops else network.name
    needed = min(max(b[n] + layouts[n].size for n in b) for b in plans)
    raise CompileError(
        f"{where}: the activation memory of {config.name} has {config.act_slots} slots, but "
        f"{needed} are needed; alive in this layer: {sizes}. Use an accelerator with act_slots >= "
        f"{1 << (needed - 1).bit_length()}, or a smaller input"
    )


def verify_placed(placed: Placed, config: ArchConfig) -> None:
    """All values lie in the memory; those alive together do not overlap."""
    network, layouts, bases = placed.network, placed.layouts, placed.bases
    born, last = network.defined, network.last_use
    names = sorted(layouts)
    for i, a in enumerate(names):
        end = bases[a] + layouts[a].size
        require(bases[a] >= 0 and end <= config.act_slots, f"{a} lies outside the memory")
        for b in names[i + 1 :]:
            together = born[a] <= last[b] and born[b] <= last[a]
            apart = end <= bases[b] or bases[b] + layouts[b].size <= bases[a]
            require(apart or not together, f"{a} and {b} overlap while both are alive")


def _live(laid: Laid, index: int) -> int:
    """Slots alive during an operation."""
    born, last = laid.network.defined, laid.network.last_use
    return sum(v.size for n, v in laid.layouts.items() if born[n] <= index <= last[n])


def _first_fit(order: Sequence[str], laid: Laid, rest: int = 0) -> dict[str, int]:
    """Lowest first slots that keep clear of everything placed before and alive at the same time, or
    less than ``rest`` operations apart."""
    born, last, layouts = laid.network.defined, laid.network.last_use, laid.layouts
    bases: dict[str, int] = {}
    for name in order:
        others = sorted(
            (bases[n], bases[n] + layouts[n].size)
            for n in bases
            if born[n] <= last[name] + rest and born[name] <= last[n] + rest
        )
        base = 0
        for start, end in others:
            if base + layouts[name].size <= start:
                break
            base = max(base, end)
        bases[name] = base
    return bases
