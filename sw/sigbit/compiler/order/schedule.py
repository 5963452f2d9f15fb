"""Pass: the program order of all instructions.

Dispatch is in order over all engines and queues are short, so the order decides how far loads run
ahead. Loads are put in the order in which a rough model of the machine would start them: what is
needed first goes first, but nothing that has to wait delays loads that are possible in the
meantime. Each is then inserted into the program where the LOAD queue has room for it: earlier it
would delay the compute instructions behind it, later the LOAD engine might run dry. A store follows
the tile that completes its value.
"""

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from sigbit.compiler.cost import issue_cycles
from sigbit.compiler.place.memory import Placed
from sigbit.compiler.stage.moves import Fetch
from sigbit.compiler.stage.stage import Bytes, Staged, verify_constants
from sigbit.compiler.stage.window import WindowMap, window_map
from sigbit.compiler.tile.tiles import Tile
from sigbit.errors import require
from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Fill, Instr, Load, LoadKind, Store

LATENCY = 64
"""Approximate number of cycles from a memory's answer, or from dispatch, until the next engine
starts."""

WINDOW = 64
"""Number of fetches among which the next one is chosen."""


@dataclass(frozen=True)
class Step:
    """One instruction; addresses of LOAD and STORE count from the start of ``region``. ``tile``,
    ``fetch`` and ``store`` are the index of its origin, -1 for the other two; ``value`` is the one
    that a fetch fills or a store takes."""

    instr: Instr
    region: str = ""
    tile: int = -1
    fetch: int = -1
    store: int = -1
    value: str = ""


@dataclass(frozen=True)
class Scheduled:
    """Instructions in program order, without tokens and HALT."""

    placed: Placed
    tiles: tuple[Tile, ...]
    steps: tuple[Step, ...]
    constants: Bytes

    def window(self, config: ArchConfig) -> WindowMap:
        """Memory map of the DMA window."""
        return window_map(self.placed.network, len(self.steps) + 1, self.constants.size, config)


def schedule(staged: Staged, config: ArchConfig) -> Scheduled:
    """Interleave fetches, tiles and stores."""
    steps: list[Step] = []
    plan = _Plan(staged, config)
    fetches = iter(plan.positions)
    fetch, position = next(fetches, (-1, 0))
    stores = 0
    for index in range(len(staged.tiles) + 1):
        while fetch >= 0 and position <= index:
            item = staged.fetches[fetch]
            tag = staged.tiles[item.need].op if item.need < len(staged.tiles) else 0
            instr = replace(item.instr, tag=tag)
            steps.append(Step(instr, item.region, fetch=fetch, value=item.value))
            fetch, position = next(fetches, (-1, 0))
        if index < len(staged.tiles):
            tile = staged.tiles[index]
            steps += [Step(replace(i, tag=tile.op)) for i in tile.segments]
            steps += [Step(replace(tile.out, tag=tile.op))] if tile.out else []
            steps.append(Step(replace(tile.execute, tag=tile.op), tile=index))
        while stores < len(staged.stores) and staged.stores[stores].after <= index:
            store = staged.stores[stores]
            tag = staged.tiles[min(index, len(staged.tiles) - 1)].op if staged.tiles else 0
            written = replace(store.instr, tag=tag)
            steps.append(Step(written, store.region, store=stores, value=store.value))
            stores += 1
    return Scheduled(staged.placed, staged.tiles, tuple(steps), staged.constants)


class _Plan:
    """A run of the staged program on a rough model: engines are busy for as long as their data
    take, and wait only for each other's results."""

    def __init__(self, staged: Staged, config: ArchConfig) -> None:
        self._staged, self._config = staged, config
        self._begin: list[int] = []
        self._finish: list[int] = []
        self._stored: list[int] = []
        self._cycles = [_move_cycles(f.instr, config) for f in staged.fetches]
        self._array = self._writer = self._loader = 0
        self._order: list[int] = []
        self._started: list[int] = []
        self._run()

    @cached_property
    def positions(self) -> list[tuple[int, int]]:
        """Fetches in order, each with the tile before which it is placed."""
        queue = max(1, self._config.queue_depth - 1)
        tiles = np.array([begin - LATENCY for begin in self._begin], np.int64)
        free = [0] * queue + self._started
        wanted = np.searchsorted(tiles, np.array(free[: len(self._order)], np.int64)).tolist()
        found = []
        limit = len(tiles)
        for fetch, position in zip(reversed(self._order), reversed(wanted), strict=True):
            item = self._staged.fetches[fetch]
            limit = min(limit, item.need)
            found.append((fetch, max(min(position, limit), self._earliest(item))))
        return found[::-1]

    def _earliest(self, item: Fetch) -> int:
        """The first tile before which a fetch may be placed."""
        last = self._staged.stores[item.stores - 1].after if item.stores else -1
        return max(item.after, last) + 1

    def _run(self) -> None:
        waiting = list(range(len(self._staged.fetches)))
        ready = 0
        while True:
            urgent = self._staged.fetches[waiting[0]].need if waiting else len(self._staged.tiles)
            self._compute(urgent, ready)
            if not waiting:
                break
            fetch = waiting.pop(self._choice(waiting))
            item = self._staged.fetches[fetch]
            start = max(self._loader, self._possible(item))
            self._loader = start + self._cycles[fetch]
            self._order.append(fetch)
            self._started.append(start)
            ready = self._loader + LATENCY

    def _compute(self, count: int, ready: int) -> None:
        """Run the tiles before ``count``, and the stores after them."""
        stores = self._staged.stores
        while len(self._begin) < count:
            index = len(self._begin)
            begin = max(self._array, ready)
            self._array = begin + _tile_cycles(self._staged.tiles[index], self._config)
            self._begin.append(begin)
            self._finish.append(self._array)
            while len(self._stored) < len(stores) and stores[len(self._stored)].after <= index:
                cycles = _move_cycles(stores[len(self._stored)].instr, self._config)
                self._writer = max(self._writer, self._array + LATENCY) + cycles
                self._stored.append(self._writer)

    def _possible(self, item: Fetch) -> int:
        """Earliest start of a fetch if the LOAD engine were free."""
        tile = self._finish[item.after] if item.after >= 0 else 0
        return max(tile, self._stored[item.stores - 1] if item.stores else 0)

    def _choice(self, waiting: list[int]) -> int:
        """The next one of the ``waiting`` fetches: the first one or, while that cannot start, the
        first that is completed before it can."""
        urgent = self._possible(self._staged.fetches[waiting[0]])
        if urgent > self._loader:
            passed: set[str] = set()
            for place, fetch in enumerate(waiting[:WINDOW]):
                item = self._staged.fetches[fetch]
                if self._earliest(item) <= len(self._begin) and item.value not in passed:
                    start = max(self._loader, self._possible(item))
                    if start + self._cycles[fetch] <= urgent:
                        return place
                if item.value:
                    passed.add(item.value)
        return 0


def _tile_cycles(tile: Tile, config: ArchConfig) -> int:
    """Cycles of the array for a tile."""
    planes = tile.out.n_planes if tile.out else 1
    return issue_cycles(tile.execute, tile.segments, planes, config)


def _move_cycles(instr: Load | Fill | Store, config: ArchConfig) -> int:
    """Cycles of a LOAD, FILL or STORE: its beats, or the steps in which its slots or items move,
    whichever is more."""
    runs = instr.n1 * instr.n2
    if isinstance(instr, Load) and instr.kind != LoadKind.ACTS:
        return max(instr.beats, runs * instr.n0 * images.steps_of_item(instr.kind, config))
    steps = runs * -(-instr.n0 // config.slots_per_move)
    return steps if isinstance(instr, Fill) else max(instr.beats, steps)


def verify_schedule(scheduled: Scheduled, staged: Staged, config: ArchConfig) -> None:
    """Check that every fetch, tile and store appears once; that a tile's fetches come before it and
    its constants are on chip; that a fetch comes after the tiles and stores whose memory it takes;
    and that a store comes right after its tile."""
    tiles = stores = 0
    fetched = np.zeros(len(staged.fetches), bool)
    needs = np.array([f.need for f in staged.fetches], np.int64)
    own: list[Instr] = []
    for step in scheduled.steps:
        tag = step.instr.tag
        if step.fetch >= 0:
            item = staged.fetches[step.fetch]
            require(
                not fetched[step.fetch]
                and (replace(item.instr, tag=tag), item.region, item.value)
                == (step.instr, step.region, step.value),
                f"fetch {step.fetch} is not what it was",
            )
            require(item.after < tiles, f"a fetch comes before tile {item.after} has run")
            require(item.stores <= stores, f"a fetch comes before store {item.stores - 1}")
            fetched[step.fetch] = True
        elif step.tile >= 0:
            require(step.tile == tiles, f"tile {step.tile} comes where {tiles} should")
            missing = int((~fetched[: np.searchsorted(needs, tiles, "right")]).sum())
            require(missing == 0, f"tile {tiles} runs before {missing} of its fetches")
            late = stores < len(staged.stores) and staged.stores[stores].after < tiles
            require(not late, f"tile {tiles} runs before store {stores}")
            tile = staged.tiles[tiles]
            wanted = [*tile.segments, *([tile.out] if tile.out else []), tile.execute]
            right = [replace(i, tag=tile.op) for i in wanted] == [*own, step.instr]
            require(right, f"tile {tiles} is not what it was")
            own = []
            tiles += 1
        elif step.store >= 0:
            require(step.store == stores, f"store {step.store} comes where {stores} should")
            store = staged.stores[stores]
            moved = (replace(store.instr, tag=tag), store.region, store.value)
            right = moved == (step.instr, step.region, step.value)
            require(right, f"store {stores} is not what it was")
            early = store.after >= tiles and tiles < len(staged.tiles)
            require(not early, f"store {stores} comes before its tile")
            stores += 1
        else:
            own.append(step.instr)
    whole = bool(fetched.all()) and tiles == len(staged.tiles) and stores == len(staged.stores)
    require(whole and not own, "fetches, tiles or stores were lost")
    fetch_or_tile = [s for s in scheduled.steps if s.fetch >= 0 or s.tile >= 0]
    events = [staged.fetches[s.fetch] if s.fetch >= 0 else s.tile for s in fetch_or_tile]
    verify_constants(staged, events, config)
