"""Pass: what to fetch for every tile, and where it lies on chip and among the constants."""

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.errors import CompileError, require
from sigbit.compiler.halo import halo_fills
from sigbit.compiler.memory import Placed
from sigbit.compiler.ring import Ring
from sigbit.compiler.tiles import Tile, Tiled
from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Instr, LoadKind, Opcode

Bytes = NDArray[np.uint8]

CONSTANTS = "constants"
"""Name of the region of the DMA window that holds weights, parameters and tables."""


@dataclass(frozen=True)
class Fetch:
    """A LOAD or FILL that tile ``need`` waits for and that must come after tile ``after``.

    ``region`` of the DMA window (CONSTANTS or an input's name): the address counts from its start.
    """

    instr: Instr
    need: int
    after: int
    region: str = ""


@dataclass(frozen=True)
class Staged:
    """Tiles with on-chip addresses, fetches in the order of need, and the constants' bytes."""

    placed: Placed
    tiles: tuple[Tile, ...]
    fetches: tuple[Fetch, ...]
    constants: Bytes


class _Constants:
    """Bytes of the constants region; equal pieces are kept once."""

    def __init__(self, align: int) -> None:
        self._align = align
        self._offsets: dict[bytes, int] = {}
        self._pieces: list[Bytes] = []
        self._size = 0

    def add(self, data: Bytes) -> tuple[bytes, int]:
        """(digest, offset) of ``data``."""
        key = hashlib.sha256(data.tobytes()).digest()
        if key not in self._offsets:
            self._offsets[key] = self._size
            padded = np.pad(data, (0, -data.size % self._align))
            self._pieces.append(padded)
            self._size += padded.size
        return key, self._offsets[key]

    def image(self) -> Bytes:
        """All bytes."""
        return np.concatenate([np.zeros(0, np.uint8), *self._pieces])


def stage(tiled: Tiled, config: ArchConfig) -> Staged:
    """Give weights, parameters and tables their places on chip, in rings, and list all fetches."""
    placed = tiled.placed
    constants = _Constants(config.bus_bytes)
    memories = {
        kind: (Ring(depth), item, depth)
        for kind, item, depth in (
            (LoadKind.WEIGHTS, config.weight_word_bytes, config.weight_words),
            (LoadKind.PARAMS, config.param_lanes * images.ITEM_BYTES, config.param_groups),
            (LoadKind.TABLE, images.TABLE_BYTES, config.tables),
        )
    }
    operands = _operand_fetches(tiled, config)
    tiles, fetches = [], []
    for index, tile in enumerate(tiled.tiles):
        fetches += [f for f in operands if f.need == index]
        places = {}
        data = {
            LoadKind.WEIGHTS: tile.weights,
            LoadKind.PARAMS: tile.params,
            LoadKind.TABLE: tile.tables,
        }
        for kind, (ring, item, depth) in memories.items():
            size = data[kind].size // item
            if not size:
                continue
            if size > depth:
                raise CompileError(
                    f"{placed.network.ops[tile.op].where}: needs {size} entries of "
                    f"{kind.name.lower()} at once, but {config.name} has {depth}: use a larger one"
                )
            key, offset = constants.add(data[kind])
            places[kind], fresh, after = ring.place(key, size, index)
            if fresh:
                load = Instr(
                    Opcode.LOAD,
                    kind=kind,
                    address=offset,
                    dst=places[kind],
                    n0=size,
                    beats=images.beats(data[kind].size, config),
                )
                fetches.append(Fetch(load, index, after, CONSTANTS))
        out = tile.out and tile.out.replace(
            param=places.get(LoadKind.PARAMS, 0), table=places[LoadKind.TABLE]
        )
        execute = tile.execute.replace(weights=places.get(LoadKind.WEIGHTS, 0))
        tiles.append(replace(tile, out=out, execute=execute))
    fetches += [f for f in operands if f.need == len(tiles)]
    return Staged(placed, tuple(tiles), tuple(fetches), constants.image())


def _operand_fetches(tiled: Tiled, config: ArchConfig) -> list[Fetch]:
    """Loads of the inputs and fills of all halos."""
    placed, network = tiled.placed, tiled.placed.network
    first, last = _tile_ranges(tiled)
    fetches = []
    for name in network.values:
        users = [first[i] for i, _ in network.uses[name]]
        need = min(users, default=len(tiled.tiles))
        after = max((last[i] for i in _before(placed, name)), default=-1)
        if name in network.inputs and (users or name in network.outputs):
            fetches.append(Fetch(_input_load(placed, name, config), need, after, name))
        if users:
            fetches += [Fetch(fill, need, after) for fill in halo_fills(placed, name, config)]
    return fetches


def _tile_ranges(tiled: Tiled) -> tuple[dict[int, int], dict[int, int]]:
    """First and last tile of every operation."""
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for index, tile in enumerate(tiled.tiles):
        first.setdefault(tile.op, index)
        last[tile.op] = index
    return first, last


def _before(placed: Placed, name: str) -> list[int]:
    """Operations that used the slots of a value before it was written."""
    network = placed.network
    start, end = placed.bases[name], placed.bases[name] + placed.layouts[name].size
    found = []
    for other, layout in placed.layouts.items():
        base = placed.bases[other]
        users = [network.defined[other], *(i for i, _ in network.uses[other])]
        if base < end and start < base + layout.size and max(users) < network.defined[name]:
            found += [i for i in users if i >= 0]
    return found


def _input_load(placed: Placed, name: str, config: ArchConfig) -> Instr:
    """The LOAD of a whole input: planes, channel slots and column phases lie evenly."""
    layout = placed.layouts[name]
    columns = layout.columns(0)
    planes = layout.planes * layout.slots * layout.phases
    slots = planes * layout.height * columns
    return Instr(
        Opcode.LOAD,
        kind=LoadKind.ACTS,
        beats=images.beats(slots * config.slot_bytes, config),
        dst=placed.bases[name] + layout.at(0, 0, 0, 0),
        n0=columns,
        n1=layout.height,
        n2=planes,
        d1=layout.pitch,
        d2=layout.phase_step,
    )


def verify_staged(staged: Staged, config: ArchConfig) -> None:
    """Fetched in order of need, each tile finds its constants on chip at the addresses it uses."""
    depths = {
        LoadKind.WEIGHTS: config.weight_words,
        LoadKind.PARAMS: config.param_groups,
        LoadKind.TABLE: config.tables,
    }
    items = {
        LoadKind.WEIGHTS: config.weight_word_bytes,
        LoadKind.TABLE: images.TABLE_BYTES,
        LoadKind.PARAMS: config.param_lanes * images.ITEM_BYTES,
    }
    memory = {kind: np.zeros((depths[kind], items[kind]), np.uint8) for kind in depths}
    fetches = list(staged.fetches)
    for index, tile in enumerate(staged.tiles):
        while fetches and fetches[0].need <= index:
            fetch = fetches.pop(0)
            i = fetch.instr
            require(fetch.after < index, f"a fetch for tile {index} must wait for {fetch.after}")
            if fetch.region == CONSTANTS:
                kind = LoadKind(i.kind)
                require(i.dst + i.n0 <= depths[kind], f"tile {index}: {kind.name} out of range")
                data = staged.constants[i.address : i.address + i.n0 * items[kind]]
                memory[kind][i.dst : i.dst + i.n0] = data.reshape(i.n0, -1)
        out = tile.out
        for kind, start, data in (
            (LoadKind.WEIGHTS, tile.execute.weights, tile.weights),
            (LoadKind.PARAMS, out.param if out else 0, tile.params),
            (LoadKind.TABLE, out.table if out else 0, tile.tables),
        ):
            count = data.size // items[kind]
            held = memory[kind][start : start + count].ravel()
            require(np.array_equal(held, data), f"tile {index} finds wrong {kind.name}")
    require(
        all(a.need <= b.need for a, b in zip(staged.fetches, staged.fetches[1:], strict=False)),
        "fetches are not in order of need",
    )
