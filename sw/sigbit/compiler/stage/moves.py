"""Transfers between the activation memory and the DMA window, and fills of halos.

The memory of a value may have held other values before, which lived until an earlier operation:
nothing of them is read, written or stored any more after their last tile and STORE.
"""

from dataclasses import dataclass

import numpy as np

from sigbit.compiler.network import Rows
from sigbit.compiler.stage.halo import halo_fills
from sigbit.compiler.stage.window import row_bytes, tensor_bytes
from sigbit.compiler.tile.tiles import Tiled
from sigbit.compiler.tile.words import block_words, word_blocks
from sigbit_hw.arch import images, isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Block, LoadKind


@dataclass(frozen=True)
class Store:
    """A STORE of ``value``, which is complete after tile ``after``; the address counts from the
    start of ``region``."""

    instr: isa.Store
    after: int
    region: str
    value: str


@dataclass(frozen=True)
class Fetch:
    """A LOAD or FILL that tile ``need`` waits for, and that must come after tile ``after`` and
    after the first ``stores`` of all stores.

    ``region`` of the DMA window (CONSTANTS or a tensor's name): the address counts from its
    start.
    Fetches of one ``value`` stay in order: a halo overwrites the data that a load puts beside the
    image.
    """

    instr: isa.Load | isa.Fill
    need: int
    after: int
    region: str = ""
    stores: int = 0
    value: str = ""


def list_moves(tiled: Tiled, config: ArchConfig) -> tuple[list[Store], list[Fetch]]:
    """Stores in the order of ``after``; loads and fills in no particular order."""
    return _Moves(tiled, config).lists()


class _Moves:
    """Tiles that use every value, and the previous uses of its memory."""

    def __init__(self, tiled: Tiled, config: ArchConfig) -> None:
        self._placed, self._config = tiled.placed, config
        self._network = network = tiled.placed.network
        self._first: dict[int, int] = {}
        self._last: dict[int, int] = {}
        for index, tile in enumerate(tiled.tiles):
            self._first.setdefault(tile.op, index)
            self._last[tile.op] = index
        layouts, bases = tiled.placed.layouts, tiled.placed.bases
        self._names = list(network.values)
        self._start = np.array([bases[n] for n in self._names])
        self._stop = self._start + np.array([layouts[n].size for n in self._names])
        self._born, self._dead = np.array([network.life[n] for n in self._names]).reshape(-1, 2).T
        self._used = np.array([self._last_tile(n) for n in self._names])

    def lists(self) -> tuple[list[Store], list[Fetch]]:
        """See :func:`list_moves`."""
        stores = sorted(self._stores(), key=lambda item: item[1].after)
        order = {name: index for index, (name, _) in enumerate(stores)}
        moves: list[Fetch] = []
        for number, name in enumerate(self._names):
            need = self._first_use(name)
            after, count = self._before(number, order)
            value = self._network.values[name]
            if value.load:
                written = self._rows_stored(value.load, value.shape[1], stores)
                start, beats, block = self._whole(name)
                load = isa.Load(
                    kind=LoadKind.ACTS,
                    address=self._address(value.load),
                    beats=beats,
                    dst=start,
                    **block,
                )
                region, late = value.load.memory, max(count, written)
                moves.append(Fetch(load, need, after, region, late, name))
            needs = [need] if self._network.uses[name] else []
            needs += [stores[order[name]][1].after] if value.store else []
            if needs:
                fills = halo_fills(self._placed, name, self._config)
                moves += [Fetch(fill, min(needs), after, "", count, name) for fill in fills]
        return [store for _, store in stores], moves

    def _stores(self) -> list[tuple[str, Store]]:
        stores = []
        for name, value in self._network.values.items():
            if value.store:
                writers = [self._last[i] for i in self._network.writers[name]]
                after = max(writers, default=self._first_use(name))
                after = max(after, self._loaded(value.store))
                start, beats, block = self._words(name) if value.weights else self._whole(name)
                address = self._address(value.store)
                store = isa.Store(address=address, beats=beats, src=start, **block)
                stores.append((name, Store(store, after, value.store.memory, name)))
        return stores

    def _loaded(self, rows: Rows) -> int:
        """The tile that needs the last part of a state, before which nothing of it is stored."""
        op = self._network.loaded.get(rows.memory, -1)
        return -1 if op < 0 else self._first[op]

    def _first_use(self, name: str) -> int:
        """The first tile that reads a value; values without readers are needed from the start."""
        return min((self._first[i] for i, _ in self._network.uses[name]), default=0)

    def _last_tile(self, name: str) -> int:
        uses = [*self._network.writers[name], *(i for i, _ in self._network.uses[name])]
        return max((self._last[i] for i in uses), default=-1)

    def _before(self, number: int, order: dict[str, int]) -> tuple[int, int]:
        """The last tile that used a value's memory for other values, and the number of stores that
        must be completed."""
        shared = (
            (self._start < self._stop[number])
            & (self._start[number] < self._stop)
            & (self._dead < self._born[number])
        )
        earlier = np.flatnonzero(shared)
        after = int(self._used[earlier].max(initial=-1))
        count = max((order.get(self._names[i], -1) + 1 for i in earlier), default=0)
        return after, count

    def _rows_stored(self, rows: Rows, height: int, stores: list[tuple[str, Store]]) -> int:
        """Number of stores that must be completed before ``rows`` can be loaded."""
        needed = 0
        if self._network.memory[rows.memory].kind in ("spill", "words"):
            for index, (name, _) in enumerate(stores):
                value = self._network.values[name]
                if value.store and value.store.memory == rows.memory:
                    first, last = value.store.first, value.store.first + value.shape[1]
                    if first < rows.first + height and rows.first < last:
                        needed = index + 1
        return needed

    def _whole(self, name: str) -> tuple[int, int, Block]:
        """First slot, bus beats and block of a whole value without its halo."""
        layout = self._placed.layouts[name]
        block = layout.loads
        slots = block["n0"] * block["n1"] * block["n2"]
        beats = images.beats(slots * self._config.slot_bytes, self._config)
        return self._placed.bases[name] + layout.at(0, 0, 0, 0), beats, block

    def _words(self, name: str) -> tuple[int, int, Block]:
        """First slot, bus beats and block of a value as weight words."""
        value, c = self._network.values[name], self._config
        assert value.store is not None
        block: Block = {
            "n0": c.oc_lanes,
            "n1": block_words(value, c),
            "n2": word_blocks(value, c),
            "d1": self._placed.layouts[name].slot_step,
            "d2": c.oc_lanes,
        }
        size = tensor_bytes(self._network.memory[value.store.memory], c)
        return self._placed.bases[name], images.beats(size, c), block

    def _address(self, rows: Rows) -> int:
        """Position of ``rows`` in their region."""
        return rows.first * row_bytes(self._network.memory[rows.memory], self._config)
