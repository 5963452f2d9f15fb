"""Pass: determine the fetches before and the stores after every tile, and the places of constants
on chip and in memory."""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.network import MemoryTensor, Network
from sigbit.compiler.place.memory import Placed
from sigbit.compiler.stage.moves import Fetch, Store, list_moves
from sigbit.compiler.stage.ring import Ring
from sigbit.compiler.stage.window import CONSTANTS
from sigbit.compiler.tile.tiles import Tile, Tiled
from sigbit.compiler.tile.words import Words, block_words, word_blocks
from sigbit.errors import CompileError, require
from sigbit.ir.constants import digest
from sigbit_hw.arch import addressing, images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Load, LoadKind
from sigbit_hw.arch.program import Port

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
    stores, moves = list_moves(tiled, config)
    constants = _Constants(config.bus_bytes)
    tiles, fetches = _stage_constants(tiled, stores, constants, config)
    moves = [_placed_constant(m, tiled.placed.network, constants, config) for m in moves]
    fetches = sorted([*moves, *fetches], key=lambda fetch: fetch.need)
    return Staged(tiled.placed, tuple(tiles), tuple(fetches), tuple(stores), constants.image())


def _placed_constant(
    move: Fetch, network: Network, constants: _Constants, config: ArchConfig
) -> Fetch:
    """``move`` with its place among the constants if it loads a constant tensor."""
    tensor = network.memory.get(move.region)
    if tensor is None or tensor.kind != "constant":
        return move
    assert isinstance(move.instr, Load)
    _, offset = constants.add(tensor_data(tensor, config))
    instr = replace(move.instr, address=move.instr.address + offset)
    return replace(move, instr=instr, region=CONSTANTS)


def tensor_data(tensor: MemoryTensor, config: ArchConfig) -> Bytes:
    """Bytes of a constant tensor."""
    assert tensor.constant is not None
    port = Port("", tensor.shape, 0, tensor.planes, tensor.phases, 1.0, 0, 0, 0)
    return port.pack(tensor.constant, config)


def _stage_constants(
    tiled: Tiled, stores: list[Store], constants: _Constants, config: ArchConfig
) -> tuple[list[Tile], list[Fetch]]:
    """Tiles with addresses, and loads of weights, parameters and tables in the order of need."""
    items, depths = _items(config), _depths(config)
    stored = {store.region: index + 1 for index, store in enumerate(stores)}
    rings = {kind: Ring(depth) for kind, depth in depths.items()}
    tiles, fetches = [], []
    for index, tile in enumerate(tiled.tiles):
        places = {}
        if tile.words:
            size = sum(w.count for w in tile.words)
            place, fresh, after = rings[LoadKind.WEIGHTS].place(tile.words, size, index)
            places[LoadKind.WEIGHTS] = place
            if fresh:
                loads = _word_loads(tile.words, place, config)
                for words, load in zip(tile.words, loads, strict=True):
                    fetches.append(Fetch(load, index, after, words.memory, stored[words.memory]))
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
    return tiles, fetches


def _word_loads(pieces: tuple[Words, ...], dst: int, config: ArchConfig) -> Iterator[Load]:
    """Loads of ``pieces`` to weight words from ``dst`` on, one after another."""
    for words in pieces:
        size = config.weight_word_bytes
        yield Load(
            kind=LoadKind.WEIGHTS,
            address=words.first * size,
            dst=dst,
            n0=words.count,
            beats=images.beats(words.count * size, config),
        )
        dst += words.count


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
    loads = sorted(v.name for v in values if v.load)
    found = sorted(f.value for f in fetches if isinstance(f.instr, Load) and f.value)
    require(found == loads, "not every value is loaded once")
    stores = sorted(v.store.memory for v in values if v.store)
    require(sorted(s.region for s in staged.stores) == stores, "not every value is stored once")
    _verify_words(staged, config)
    _verify_constant_tensors(staged, config)


def _verify_words(staged: Staged, config: ArchConfig) -> None:
    """Check that values of weight digits are stored in the order of weight words, and loaded as
    such after that."""
    network, placed = staged.placed.network, staged.placed
    stored: dict[str, int] = {}
    for number, store in enumerate(staged.stores):
        value, layout = network.values[store.value], placed.layouts[store.value]
        if not value.weights:
            continue
        stored[store.region] = number + 1
        block = np.arange(word_blocks(value, config))[:, None, None, None] * config.oc_lanes
        digit = np.arange(value.planes)[:, None, None] * layout.plane_step
        slot = np.arange(layout.slots)[:, None] * layout.slot_step
        wanted = block + digit + slot + np.arange(config.oc_lanes)
        found = addressing.block_slots(store.instr)
        right = np.array_equal(found.ravel(), placed.bases[store.value] + wanted.ravel())
        size = block_words(value, config) * word_blocks(value, config) * config.weight_word_bytes
        right &= store.instr.beats * config.bus_bytes == size and store.instr.address == 0
        require(right, f"{store.value} is not stored as weight words")
    for fetch in staged.fetches:
        if isinstance(fetch.instr, Load) and fetch.instr.kind == LoadKind.WEIGHTS:
            late = fetch.region == CONSTANTS or fetch.stores >= stored.get(fetch.region, 1 << 30)
            require(late, f"weight words of {fetch.region} are loaded before they are stored")


def _verify_constant_tensors(staged: Staged, config: ArchConfig) -> None:
    """Check that loads of constant tensors find their elements."""
    network = staged.placed.network
    for fetch in staged.fetches:
        value = network.values.get(fetch.value)
        tensor = network.memory[value.load.memory] if value and value.load else None
        if tensor is None or tensor.kind != "constant" or not isinstance(fetch.instr, Load):
            continue
        assert value is not None
        assert value.load is not None
        assert tensor.constant is not None
        rows = slice(value.load.first, value.load.first + value.shape[1])
        channels, _, width = tensor.shape
        shape = (channels, value.shape[1], width)
        port = Port("", shape, 0, tensor.planes, tensor.phases, 1.0, 0, 0, 0)
        start = fetch.instr.address
        data = staged.constants[start : start + port.bytes(config)]
        right = fetch.region == CONSTANTS and np.array_equal(
            port.unpack(data, config), tensor.constant[:, rows]
        )
        require(right, f"{value.name} is loaded from elsewhere")


CONSTANT = -1
"""Number of a weight word that is a constant."""


def _word_numbers(staged: Staged, config: ArchConfig) -> dict[str, int]:
    """Numbers of the first weight words of all values of weight digits, by their tensors."""
    numbers, end = {}, 0
    for tensor in staged.placed.network.memory.values():
        if tensor.kind == "words":
            numbers[tensor.name] = end
            end += word_blocks(tensor, config) * block_words(tensor, config)
    return numbers


def verify_constants(staged: Staged, events: Iterable[Fetch | int], config: ArchConfig) -> None:
    """Check that with fetches and tiles (their indices) in the order of ``events``, each tile finds
    its constants on chip at the addresses it uses."""
    depths, items = _depths(config), _items(config)
    memory = {kind: np.zeros((depths[kind], items[kind]), np.uint8) for kind in depths}
    words = np.full(depths[LoadKind.WEIGHTS], CONSTANT)
    numbers = _word_numbers(staged, config)
    for event in events:
        if isinstance(event, Fetch):
            i = event.instr
            if isinstance(i, Load) and i.kind != LoadKind.ACTS:
                kind: LoadKind = i.kind
                require(i.dst + i.n0 <= depths[kind], f"{kind.name} out of range")
                if event.region == CONSTANTS:
                    data = staged.constants[i.address : i.address + i.n0 * items[kind]]
                    memory[kind][i.dst : i.dst + i.n0] = data.reshape(i.n0, -1)
                if kind == LoadKind.WEIGHTS:
                    first = i.address // items[kind] + numbers.get(event.region, 0)
                    taken = CONSTANT if event.region == CONSTANTS else first + np.arange(i.n0)
                    words[i.dst : i.dst + i.n0] = taken
            continue
        tile = staged.tiles[event]
        held = words[tile.execute.weights :]
        wanted = [numbers[w.memory] + w.first + np.arange(w.count) for w in tile.words]
        wanted = wanted or [np.full(tile.weights.size // items[LoadKind.WEIGHTS], CONSTANT)]
        found = np.concatenate(wanted)
        right = np.array_equal(held[: found.size], found)
        require(right, f"tile {event} finds other weight words")
        starts = {
            LoadKind.WEIGHTS: tile.execute.weights,
            LoadKind.PARAMS: tile.out.param if tile.out else 0,
            LoadKind.TABLE: tile.out.table if tile.out else 0,
        }
        for part, data in _constants_of(tile).items():
            count = data.size // items[part]
            there = memory[part][starts[part] : starts[part] + count].ravel()
            require(np.array_equal(there, data), f"tile {event} finds wrong {part.name}")
