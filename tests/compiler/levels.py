"""Random operations on hand-made values, placed one behind the other, and their evaluation: once
element by element, once as the array's EXECs."""

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.network import Network, Op, Operand, Region, Value
from sigbit.compiler.place.layout import Laid, lay_out, verify_layout
from sigbit.compiler.place.memory import Placed
from sigbit.compiler.tile.tiles import Tile, Tiled
from sigbit_hw.arch import addressing, images, numerics
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Mode

Ints = NDArray[np.int64]


def parameters(
    config: ArchConfig, rng: np.random.Generator, channels: int, octaves: int
) -> dict[str, Ints]:
    """Base, step and tie of channels whose steps are up to ``2**octaves`` accumulator steps, a
    third of them powers of two."""
    scale = 2.0 ** -rng.integers(0, octaves, channels) * rng.choice([1, 1.3, 1.9], channels)
    base, step = config.params.affine(scale, rng.integers(-40, 40, channels) * scale)
    return {"base": base, "step": step, "tie": rng.integers(0, 2, channels)}


@dataclass
class Draft:
    """Values and operations of a network under construction, with the stored integers of the
    values that nothing writes."""

    rng: np.random.Generator
    config: ArchConfig
    values: dict[str, Value] = field(default_factory=dict)
    stored: dict[str, Ints] = field(default_factory=dict)
    ops: list[Op] = field(default_factory=list)

    def value(self, shape: tuple[int, int, int], planes: int, phases: int, *, given: bool) -> str:
        """A new value, its elements drawn at random if they are ``given``."""
        grid = self.config.act_grid(planes).values
        name = f"v{len(self.values)}"
        low, high = int(grid[0]), int(grid[-1])
        halo = int(self.rng.choice(grid))
        self.values[name] = Value(name, name, shape, planes, low, high, halo, phases)
        if given:
            self.stored[name] = self.rng.choice(grid, shape)
        return name

    def operand(
        self, region: Region, oc: int, *, plain: bool, most: int = 5, planes: int | None = None
    ) -> Operand:
        """Windows of a new value; ``plain`` ones have no weights."""
        rng, lanes = self.rng, self.config.ic_lanes
        kernel = tuple(int(k) for k in rng.integers(1, most + 1, 2))
        stride = tuple(int(s) for s in rng.choice([1, 1, 2, 3], 2))
        dilation = tuple(int(d) for d in rng.choice([1, 1, 2, 3], 2))
        padding = tuple(int(p) for p in rng.integers(-2, 4, 2))
        ends = [
            (n - 1) * s - p + (k - 1) * d
            for n, s, p, k, d in zip(
                (region.rows, region.columns), stride, padding, kernel, dilation, strict=True
            )
        ]
        height, width = (max(1, e + 1 + int(rng.integers(-2, 3))) for e in ends)
        groups = 1
        channels = oc
        if not plain:
            divisors = [g for g in range(1, oc + 1) if oc % g == 0]
            groups = int(rng.choice([1, 1, *divisors]))
            channels = groups * int(rng.integers(1, max(2, 20 // groups)))
        before = int(rng.integers(0, 3)) * lanes
        after = int(rng.choice([0, 0, 1, lanes]))
        phases = stride[1] if region.columns > 1 else int(rng.integers(1, 4))
        digits = planes or int(rng.choice([1, 1, 1, 2, 3]))
        name = self.value((before + channels + after, height, width), digits, phases, given=True)
        terms = 1 if plain else int(rng.choice([1, 1, 2, 3]))
        weights = None
        if not plain:
            shape = (oc, channels // groups, *kernel)
            weights = rng.choice(self.config.weight_grid(terms).values, shape)
        return Operand(
            name,
            (kernel[0], kernel[1]),
            channels,
            before,
            (stride[0], stride[1]),
            (padding[0], padding[1]),
            (dilation[0], dilation[1]),
            weights,
            terms,
            groups,
            self.values[name].halo,
        )

    def product(self, result: str, region: Region, channel: int, channels: int) -> Op:
        """A convolution of one or two operands, appended."""
        rng = self.rng
        count = 1 + (rng.random() < 0.3)
        operands = tuple(self.operand(region, channels, plain=False) for _ in range(count))
        values = self.config.act_grid(self.values[result].planes).values
        op = Op(
            f"op{len(self.ops)}",
            "conv",
            operands,
            result,
            region,
            channels,
            channel,
            **parameters(self.config, rng, channels, 9),
            table=rng.choice(values, numerics.TABLE_ENTRIES),
        )
        self.ops.append(op)
        return op

    def placed(self) -> Placed:
        """The values laid out and placed one behind the other."""
        network = Network("net", self.values, tuple(self.ops), {})
        laid: Laid = lay_out(network, self.config)
        verify_layout(laid, self.config)
        bases, end = {}, 0
        for name, layout in laid.layouts.items():
            end += int(self.rng.integers(0, 5))
            bases[name] = end
            end += layout.size
        assert end <= self.config.act_slots
        return Placed(network, laid.layouts, bases)


def random_draft(rng: np.random.Generator, config: ArchConfig) -> Draft:
    """Operations that together write every element of one or two values: lattices of pixels,
    ranges of channels, bands of lines."""
    d = Draft(rng, config)
    for _ in range(int(rng.integers(1, 3))):
        step = (int(rng.choice([1, 1, 2])), int(rng.choice([1, 1, 2, 3])))
        rows, columns = int(rng.integers(1, 9)), int(rng.choice([1, 2, 3, 4, 5, 7, 8, 13, 20]))
        height, width = rows * step[0], columns * step[1]
        cut = config.ic_lanes * int(rng.integers(1, 3))
        parts = [(0, cut), (cut, int(rng.integers(1, 20)))]
        if rng.random() < 0.6:
            parts = [(0, int(rng.integers(1, 40)))]
        channels = sum(n for _, n in parts)
        kind = str(rng.choice(["conv", "conv", "conv", "max", "copy"]))
        planes = 1 if kind == "max" else int(rng.choice([1, 1, 2, 3]))
        phases = int(rng.choice([1, 1, 2, 3, 4]))
        result = d.value((channels, height, width), planes, phases, given=False)
        half = rows // 2 if rng.random() < 0.3 else 0
        for first, count in parts:
            for y in range(step[0]):
                for x in range(step[1]):
                    for top, bottom in ((0, half), (half, rows)):
                        if top == bottom:
                            continue
                        region = Region(y + top * step[0], x, bottom - top, columns, step)
                        if kind == "conv":
                            d.product(result, region, first, count)
                            continue
                        most = 1 if kind == "copy" else 4
                        operand = d.operand(region, count, plain=True, most=most, planes=planes)
                        name = f"op{len(d.ops)}"
                        d.ops.append(Op(name, kind, (operand,), result, region, count, first))
    return d


def evaluate(d: Draft) -> dict[str, Ints]:
    """All values, by the definition of the operations."""
    values = dict(d.stored)
    for op in d.ops:
        value, r = d.values[op.result], op.region
        full = values.setdefault(op.result, np.zeros(value.shape, np.int64))
        if op.kind == "conv":
            assert op.table is not None
            sums = np.sum([_sums(d, values, op, o) for o in op.operands], axis=0)
            params = (a[:, None, None] for a in (op.base, op.step, op.tie) if a is not None)
            wrapped = numerics.wrap(sums, d.config.acc_bits)
            y = numerics.requantize(wrapped, *params, bits=d.config.result_bits)
            found = op.table[numerics.table_index(y)]
        else:
            found = _windows(d, values, op, op.operands[0]).max((3, 4))
        full[
            op.channel : op.channel + op.channels,
            r.y : r.y + (r.rows - 1) * r.step[0] + 1 : r.step[0],
            r.x : r.x + (r.columns - 1) * r.step[1] + 1 : r.step[1],
        ] = found
    return values


def _windows(d: Draft, values: dict[str, Ints], op: Op, o: Operand) -> Ints:
    """``[channels, rows, columns, kh, kw]``."""
    x = values[o.value][o.channel : o.channel + o.channels]
    y, x0 = (
        (np.arange(n) * o.stride[a] - o.padding[a])[:, None]
        + np.arange(o.kernel[a]) * o.dilation[a]
        for a, n in enumerate((op.region.rows, op.region.columns))
    )
    _, h, w = x.shape
    inside = ((y >= 0) & (y < h))[:, None, :, None] & ((x0 >= 0) & (x0 < w))[None, :, None]
    found = x[:, y.clip(0, h - 1)[:, None, :, None], x0.clip(0, w - 1)[None, :, None]]
    return np.where(inside, found, o.halo)


def _sums(d: Draft, values: dict[str, Ints], op: Op, o: Operand) -> Ints:
    assert o.weights is not None
    windows = _windows(d, values, op, o)
    windows = windows.reshape(o.groups, -1, *windows.shape[1:])
    weights = o.weights.reshape(o.groups, -1, *o.weights.shape[1:])
    sums = np.einsum("gcijkl,gockl->goij", windows, weights)
    return sums.reshape(-1, *sums.shape[2:])


def memory_of(d: Draft, placed: Placed) -> NDArray[np.uint8]:
    """Codes ``[act_slots, ic_lanes]`` with all given values and halos in place."""
    config = d.config
    memory = d.rng.integers(0, 1 << config.act_format.bits, (config.act_slots, config.ic_lanes))
    for name, x in d.stored.items():
        layout, value = placed.layouts[name], d.values[name]
        grid = config.act_grid(value.planes)
        spread = np.full(
            (
                layout.slots * config.ic_lanes,
                layout.top + layout.height + layout.bottom,
                layout.width + layout.left * layout.phases + layout.right,
            ),
            value.halo,
        )
        spread[: len(x), layout.top :, layout.left * layout.phases :][
            :, : layout.height, : layout.width
        ] = x
        codes = grid.encode(spread).reshape(
            value.planes, layout.slots, config.ic_lanes, *spread.shape[1:]
        )
        y = np.arange(spread.shape[1])[:, None] - layout.top
        columns = np.arange(spread.shape[2]) - layout.left * layout.phases
        plane, slot = np.ogrid[: value.planes, : layout.slots]
        places = layout.address(plane[..., None, None], slot[..., None, None], y, columns)
        memory[placed.bases[name] + places] = codes.transpose(0, 1, 3, 4, 2)
    return memory.astype(np.uint8)


def run_tiles(tiled: Tiled, memory: NDArray[np.uint8], config: ArchConfig) -> None:
    """Execute all tiles on ``memory``."""
    acc = np.zeros((1, 1, 1, config.pixels, config.oc_lanes), np.int64)
    for t in tiled.tiles:
        if t.execute.mode == Mode.MAX:
            _run_max(t, memory, config)
        else:
            acc = _run_mac(t, memory, acc, config)


def _run_mac(t: Tile, memory: NDArray[np.uint8], acc: Ints, config: ArchConfig) -> Ints:
    e = t.execute
    words = images.unpack_weights(t.weights, config)
    weights = np.asarray(config.weight_format.decode(words), np.int64)
    weights = weights[addressing.weight_words(e, t.segments) - e.weights]
    at = 0
    total = acc if e.keep else np.int64(0)
    for s in t.segments:
        total = total << (config.term_radix_bits * s.shift)
        slots = addressing.read_slots(s, e, config)
        acts = np.asarray(config.act_format.decode(memory[slots % len(memory)]), np.int64)
        steps = slots.shape[3]
        total = total + np.einsum("orbspi,osci->orbpc", acts, weights[:, at : at + steps])
        at += steps
    assert at == weights.shape[1]
    if not e.drain:
        return total
    assert t.out is not None
    params = (a.reshape(e.n_ocb, 1, 1, 1, -1) for a in images.unpack_params(t.params, config))
    wrapped = numerics.wrap(total, config.acc_bits)
    y = numerics.requantize(wrapped, *params, bits=config.result_bits)
    tables = images.unpack_table(t.tables, config)
    assert len(tables) == t.out.n_planes
    codes = tables[:, y & 255]
    codes = codes.reshape(*codes.shape[:-1], config.slots_per_block, config.ic_lanes)
    _write(t, memory, np.moveaxis(codes, 5, 2), config)
    return total


def _run_max(t: Tile, memory: NDArray[np.uint8], config: ArchConfig) -> None:
    found = []
    for s in t.segments:
        slots = addressing.read_slots(s, t.execute, config)
        found.append(memory[slots % len(memory)])
    codes = np.concatenate(found, axis=3)
    keys = numerics.order_key(codes, config.act_format)
    best = np.take_along_axis(codes, keys.argmax(3)[:, :, :, None], 3)[:, :, :, 0]
    _write(t, memory, images.unpack_table(t.tables, config)[:, best][:, :, None], config)


def _write(
    t: Tile, memory: NDArray[np.uint8], codes: NDArray[np.uint8], config: ArchConfig
) -> None:
    """Codes ``[planes, ocb, slots, rows, blocks, pixels, lanes]`` to their slots."""
    assert t.out is not None
    assert addressing.bank_conflicts(t.out, t.execute, config) == 0
    places = addressing.write_slots(t.out, t.execute, config)
    planes, n_ocb, slots, rows = codes.shape[:4]
    codes = codes.reshape(planes, n_ocb * slots, rows, -1, config.ic_lanes)
    codes = codes[:, : places.shape[1], :, : t.execute.run]
    memory[places] = codes.reshape(*places.shape, config.ic_lanes)


def read_value(d: Draft, placed: Placed, name: str, memory: NDArray[np.uint8]) -> Ints:
    """Stored integers of a value in ``memory``."""
    layout, value = placed.layouts[name], d.values[name]
    grid = np.ogrid[: layout.planes, : layout.slots, : layout.height, : layout.width]
    codes = memory[placed.bases[name] + layout.address(*grid)]
    codes = codes.transpose(0, 1, 4, 2, 3).reshape(layout.planes, -1, layout.height, layout.width)
    return d.config.act_grid(value.planes).decode(codes)[: value.shape[0]]
