"""Pass: split values that do not fit on chip into bands of rows, loaded and stored as they are
used."""

from sigbit.compiler.fit.bands import band, fusable
from sigbit.compiler.network import Network
from sigbit.compiler.place.layout import Laid, lay_out
from sigbit.compiler.place.memory import live_slots, plan
from sigbit.errors import require
from sigbit_hw.arch.config import ArchConfig

SHARE = 8
"""Upper bound, as a fraction of the activation memory, for the bands of one step and for inputs
that are loaded as a whole."""


def fit(network: Network, config: ArchConfig) -> Network:
    """``network`` with as few banded values as necessary for every value to find a place; if this
    is impossible, the last attempt, for the next passes to refuse."""
    laid = lay_out(network, config)
    limit = config.act_slots // SHARE
    sizes = {name: layout.size for name, layout in laid.layouts.items()}
    names = {n for n, v in network.values.items() if v.load and sizes[n] > limit}
    budgets = [limit, limit // 2, limit // 4]
    while True:
        for budget in budgets:
            laid = lay_out(band(network, names, budget, config), config)
            if plan(laid, config) is not None:
                return laid.network
        victim = _victim(network, laid, names)
        if victim:
            names |= {victim}
        elif budgets[0] <= config.pixels:
            return laid.network
        else:
            budgets = [budgets[-1] // 2]


def _victim(network: Network, laid: Laid, names: set[str]) -> str | None:
    """The value to split next, among those alive where most slots are: an input, else one that need
    not be stored, else any other; of these one that is not in use there, if possible, and the
    largest."""
    now, layouts = laid.network, laid.layouts
    slots = live_slots(laid)
    worst = max(range(len(slots)), key=lambda i: slots[i])
    op = now.ops[worst] if worst < len(now.ops) else None
    touched = {op.result, *(o.value for o in op.operands)} if op else set()
    found = []
    for name, (born, last) in now.life.items():
        if born <= worst <= last and name in network.values and name not in names:
            value = network.values[name]
            if not value.weights and (value.shape[1] > 1 or name not in touched):
                rank = 0 if value.load else 1 if fusable(network, name) else 2
                found.append((rank, name in touched, -layouts[name].size, name))
    return min(found)[3] if found else None


def verify_fitted(network: Network, config: ArchConfig) -> None:
    """Check that rows in memory begin at whole beats and lie inside their tensor, that every row of
    a stored tensor is stored exactly once, and that none is loaded before."""
    stored: dict[str, list[tuple[int, int, int]]] = {}
    for name, value in network.values.items():
        for rows in (value.load, value.store):
            if rows:
                tensor = network.memory[rows.memory]
                channels, height, width = tensor.shape
                end = rows.first + value.shape[1]
                require(end <= height, f"{name} lies outside of {tensor.name}")
                require(
                    (value.shape[0], value.shape[2], value.planes, value.phases)
                    == (channels, width, tensor.planes, tensor.phases),
                    f"{name} is not like {tensor.name}",
                )
                slots = tensor.planes * -(-channels // config.ic_lanes) * tensor.phases
                row = slots * -(-width // tensor.phases) * config.slot_bytes
                aligned = rows.first * row % config.bus_bytes == 0
                require(aligned, f"{name} begins within a beat")
        if value.store:
            done = network.writers[name][-1]
            rows = value.store
            stored.setdefault(rows.memory, []).append((rows.first, value.shape[1], done))
    for tensor in network.memory.values():
        if tensor.kind not in ("input", "constant"):
            pieces = sorted(stored.get(tensor.name, []))
            ends = [first + count for first, count, _ in pieces]
            whole = [first for first, _, _ in pieces] == [0, *ends[:-1]]
            require(whole and ends[-1:] == [tensor.shape[1]], f"{tensor.name} is not stored once")
    for name, value in network.values.items():
        if value.load and network.memory[value.load.memory].kind in ("spill", "words"):
            first, end = value.load.first, value.load.first + value.shape[1]
            stores = [
                late
                for start, count, late in stored[value.load.memory]
                if start < end and first < start + count
            ]
            early = min((i for i, _ in network.uses[name]), default=-1)
            require(max(stores) < early, f"{name} is loaded before it is stored")
