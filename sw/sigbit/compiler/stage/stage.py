"""Pass: determine the fetches before and the stores after every tile, and the places of constants
on chip and in memory."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.place.memory import Placed
from sigbit.compiler.stage.moves import Fetch, Store, list_moves
from sigbit.compiler.stage.ring import Ring
from sigbit.compiler.stage.window import CONSTANTS
from sigbit.compiler.tile.tiles import Tile, Tiled
from sigbit.errors import CompileError, require
from sigbit.ir.constants import digest
from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Load, LoadKind

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Staged:
    """Tiles with on-chip addresses, fetches in the order of need, stores in the order of ``after``,
    and the constants' bytes."""

    placed: Placed
    tiles: tuple[Tile, ...]
    fetches: tuple[Fetch, ...]
    stores: tuple[Store, ...]
    constants: Bytes


class _Constants:
    """Bytes of the constants region; equal pieces are stored once."""

    def __init__(self, align: int) -> None:
        self._align = align
        self._offsets: dict[bytes, int] = {}
        self._pieces: list[Bytes] = []
        self._size = 0

    def add(self, data: Bytes) -> tuple[bytes, int]:
        """Add ``data``; return its (digest, offset)."""
        key = digest(data)
        if key not in self._offsets:
            self._offsets[key] = self._size
            padded = np.pad(data, (0, -data.size % self._align))
            self._pieces.append(padded)
            self._size += padded.size
        return key, self._offsets[key]

    def image(self) -> Bytes:
        """Return all bytes."""
        return np.concatenate([np.zeros(0, np.uint8), *self._pieces])


def stage(tiled: Tiled, config: ArchConfig) -> Staged:
    """Assign weights, parameters and tables their places on chip, in rings, and list all transfers
    between the memories."""
    tiles, fetches, constants = _stage_constants(tiled, config)
    stores, moves = list_moves(tiled, config)
    fetches = sorted([*moves, *fetches], key=lambda fetch: fetch.need)
    return Staged(tiled.placed, tuple(tiles), tuple(fetches), tuple(stores), constants)


def _stage_constants(tiled: Tiled, config: ArchConfig) -> tuple[list[Tile], list[Fetch], Bytes]:
    """Tiles with addresses, loads of constants in the order of need, and the constants' bytes."""
    items, depths = _items(config), _depths(config)
    constants = _Constants(config.bus_bytes)
    rings = {kind: Ring(depth) for kind, depth in depths.items()}
    tiles, fetches = [], []
    for index, tile in enumerate(tiled.tiles):
        places = {}
        for kind, data in _constants_of(tile).items():
            size = data.size // items[kind]
            if not size:
                continue
            if size > depths[kind]:
                raise CompileError(
                    f"{tiled.placed.network.ops[tile.op].where}: needs {size} entries of "
                    f"{kind.name.lower()} at once, but {config.name} has {depths[kind]}: use a "
                    "larger one"
                )
            key, offset = constants.add(data)
            places[kind], fresh, after = rings[kind].place(key, size, index)
            if fresh:
                load = Load(
                    kind=kind,
                    address=offset,
                    dst=places[kind],
                    n0=size,
                    beats=images.beats(data.size, config),
                )
                fetches.append(Fetch(load, index, after, CONSTANTS))
        out = tile.out and replace(
            tile.out, param=places.get(LoadKind.PARAMS, 0), table=places[LoadKind.TABLE]
        )
        execute = replace(tile.execute, weights=places.get(LoadKind.WEIGHTS, 0))
        tiles.append(replace(tile, out=out, execute=execute))
    return tiles, fetches, constants.image()


def _constants_of(tile: Tile) -> dict[LoadKind, Bytes]:
    return {
        LoadKind.WEIGHTS: tile.weights,
        LoadKind.PARAMS: tile.params,
        LoadKind.TABLE: tile.tables,
    }


_KINDS = (LoadKind.WEIGHTS, LoadKind.PARAMS, LoadKind.TABLE)
"""Kinds of constants."""


def _items(config: ArchConfig) -> dict[LoadKind, int]:
    """Bytes of one entry."""
    return {kind: images.item_bytes(kind, config) for kind in _KINDS}


def _depths(config: ArchConfig) -> dict[LoadKind, int]:
    return {kind: images.depth(kind, config) for kind in _KINDS}


def verify_staged(staged: Staged, config: ArchConfig) -> None:
    """Check that with fetches in order of need, each tile finds its constants on chip at the
    addresses it uses; that fetches can come after everything they have to wait for; and that every
    value is loaded and stored once."""
    fetches, needs = staged.fetches, [f.need for f in staged.fetches]
    require(needs == sorted(needs), "fetches are not in order of need")
    for fetch in fetches:
        late = max([fetch.after, *(s.after for s in staged.stores[: fetch.stores][-1:])])
        require(late < max(fetch.need, 1), f"a fetch for tile {fetch.need} must wait for {late}")
    events: list[Fetch | int] = []
    for tile in range(len(staged.tiles)):
        events += fetches[bisect_left(needs, tile) : bisect_right(needs, tile)]
        events.append(tile)
    verify_constants(staged, events, config)
    values = staged.placed.network.values.values()
    loads = sorted(v.load.memory for v in values if v.load)
    found = sorted(f.region for f in fetches if f.region not in ("", CONSTANTS))
    require(found == loads, "not every value is loaded once")
    stores = sorted(v.store.memory for v in values if v.store)
    require(sorted(s.region for s in staged.stores) == stores, "not every value is stored once")


def verify_constants(staged: Staged, events: Iterable[Fetch | int], config: ArchConfig) -> None:
    """Check that with fetches and tiles (their indices) in the order of ``events``, each tile finds
    its constants on chip at the addresses it uses."""
    depths, items = _depths(config), _items(config)
    memory = {kind: np.zeros((depths[kind], items[kind]), np.uint8) for kind in depths}
    for event in events:
        if isinstance(event, Fetch):
            if event.region == CONSTANTS:
                i = event.instr
                assert isinstance(i, Load)
                kind = i.kind
                require(i.dst + i.n0 <= depths[kind], f"{kind.name} out of range")
                data = staged.constants[i.address : i.address + i.n0 * items[kind]]
                memory[kind][i.dst : i.dst + i.n0] = data.reshape(i.n0, -1)
            continue
        tile = staged.tiles[event]
        starts = {
            LoadKind.WEIGHTS: tile.execute.weights,
            LoadKind.PARAMS: tile.out.param if tile.out else 0,
            LoadKind.TABLE: tile.out.table if tile.out else 0,
        }
        for kind, data in _constants_of(tile).items():
            count = data.size // items[kind]
            held = memory[kind][starts[kind] : starts[kind] + count].ravel()
            require(np.array_equal(held, data), f"tile {event} finds wrong {kind.name}")
