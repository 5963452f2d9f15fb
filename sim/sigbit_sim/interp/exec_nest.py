"""The arithmetic of ``EXEC``: gather, multiply-accumulate or maximum, requantize, look up."""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch import addressing, numerics
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import Format
from sigbit_hw.arch.isa import WRAP_MIN, Exec, Mode, Out, Seg

Ints = NDArray[np.int64]
Codes = NDArray[np.uint8]

Table = NDArray[Any]
"""Values by code: float32, float64 or int64."""

_UNBOUNDED = 63
"""Bits of the modulus of values that BLAS sums: larger than all that it sums exactly."""

CHUNK_VALUES = 1 << 23
"""Maximum number of operands gathered at once, which bounds the memory that a layer needs."""


class Misuse(Exception):
    """An instruction violates a rule that every compiler must obey; the message names it."""


def need(condition: bool, message: str) -> None:
    """Raise :class:`Misuse` unless ``condition``."""
    if not condition:
        raise Misuse(message)


@lru_cache(maxsize=1 << 12)
def bank_conflicts(out: Out, execute: Exec, config: ArchConfig) -> int:
    """Cached ``addressing.bank_conflicts``."""
    return addressing.bank_conflicts(out, execute, config)


def need_banks(out: Out, execute: Exec, config: ArchConfig) -> None:
    """Raise :class:`Misuse` if two slots written in the same drain cycle lie in the same bank."""
    shape = Exec(mode=execute.mode, run=execute.run, wrap=execute.wrap)
    place = Out(
        n_slots=out.n_slots,
        phases=out.phases,
        d_slot=out.d_slot,
        d_pix=out.d_pix,
        d_col=out.d_col,
        d_line=out.d_line,
    )
    need(
        not bank_conflicts(place, shape, config),
        f"writes two slots of one bank in a cycle of the drain ({config.drain_pixels} pixels of "
        f"{config.drain_slots} channel slots) with d_slot={out.d_slot}, d_pix={out.d_pix}, "
        f"d_col={out.d_col}, d_line={out.d_line}, phases={out.phases}, wrap={execute.wrap}",
    )


@dataclass(frozen=True)
class Nest:
    """An ``EXEC`` with its segments, checked.

    Blocks are numbered ``row * blocks_of_run + block``; all arrays of lanes are
    ``[blocks, pixels, …]``.
    """

    execute: Exec
    segments: tuple[Seg, ...]
    config: ArchConfig

    def __post_init__(self) -> None:
        e, lanes = self.execute, self.config.pixels
        least = min(WRAP_MIN, lanes)
        need(
            e.run <= e.wrap or e.wrap >= least,
            f"lines that end inside a run must have at least {least} pixels, not wrap={e.wrap}",
        )
        steps = addressing.column_steps(e.wrap, self.config)
        for name, found, wanted in (
            ("block_step", e.block_step, steps["block_step"]),
            ("group_step", e.group_step, steps["group_step"]),
        ):
            need(found == wanted, f"{name} must be {wanted} for wrap={e.wrap}, not {found}")
        for s in self.segments:
            need(
                s.gap % lanes == 0,
                f"segment {s.index}: gap must be a multiple of pixels={lanes}, not {s.gap}",
            )
        need(
            (e.drain and not e.keep) or e.n_ocb * self.blocks == 1,
            "an EXEC that keeps its accumulators or does not drain must have one block only",
        )

    @property
    def channels(self) -> int:
        """Channels of the result, in whole blocks."""
        lanes = self.config.oc_lanes if self.execute.mode == Mode.MAC else self.config.ic_lanes
        return self.execute.n_ocb * lanes

    @property
    def blocks(self) -> int:
        """Blocks per output-channel block."""
        return self.execute.n_rows * addressing.blocks_of_run(self.execute, self.config)

    @property
    def valid(self) -> NDArray[np.bool_]:
        """Lanes within their run: shape ``[blocks, pixels]``."""
        lanes = addressing.valid_lanes(self.execute, self.config)
        return np.tile(lanes, (self.execute.n_rows, 1))

    @property
    def steps(self) -> int:
        """Steps per block, which are also the weight words per output-channel block."""
        return sum(s.steps for s in self.segments)

    def bases(self, segment: Seg) -> Ints:
        """Slots of every lane at a block's first step: shape ``[n_ocb, blocks, pixels]``."""
        bases = addressing.block_bases(segment, self.execute, self.config)
        lanes = addressing.lane_offsets(segment, self.execute, self.config)
        slots = bases[..., None] + lanes
        return slots.reshape(self.execute.n_ocb, self.blocks, self.config.pixels)


def modular_values(fmt: Format, bits: int) -> Ints:
    """Values of all codes modulo ``2**bits``, as two's-complement numbers."""
    half = 1 << (bits - 1)
    values = [*fmt.magnitudes, *(-m for m in fmt.magnitudes if fmt.signed)]
    return np.array([(v + half) % (1 << bits) - half for v in values], np.int64)


class Activations:
    """The activation memory, checked lane by lane.

    Parameters
    ----------
    config : ArchConfig
        The accelerator.
    strict : bool
        Whether reading a slot that was never written is a :class:`Misuse`.

    Attributes
    ----------
    codes : Codes
        Shape ``[slots, ic_lanes]``.
    values : NDArray
        Their values, in the smallest type of integers that holds all of them; those of very wide
        formats modulo ``2**63``.
    written : NDArray[np.bool_]
        Slots that have been written.
    """

    def __init__(self, config: ArchConfig, *, strict: bool) -> None:
        shape = (config.act_slots, config.ic_lanes)
        self.codes: Codes = np.zeros(shape, np.uint8)
        value_of = modular_values(config.act_format, _UNBOUNDED)
        narrow = np.min_scalar_type(-1 - int(np.abs(value_of).max()))
        self._value_of = value_of.astype(narrow)
        self.values = np.zeros(shape, narrow)
        self.written = np.zeros(config.act_slots, bool)
        self._strict = strict

    def write(self, slots: Ints, codes: Codes | np.uint8) -> None:
        """Write ``codes`` to ``slots``, which lie within the memory."""
        self.codes[slots] = codes
        self.values[slots] = self._value_of[codes]
        self.written[slots] = True

    def slots(self, bases: Ints, taps: Ints, valid: NDArray[np.bool_]) -> Ints:
        """Slots ``bases + taps`` that lanes read: shape ``[blocks, pixels, taps]``.

        ``bases`` and ``valid`` are ``[blocks, pixels]``; lanes that are not valid read what the
        first lane of their block reads.
        """
        bases = np.where(valid, bases, bases[:, :1])
        slots = bases[..., None] + taps
        if bases.min() + taps.min() < 0 or bases.max() + taps.max() >= len(self.codes):
            outside = slots[(slots < 0) | (slots >= len(self.codes))]
            raise Misuse(f"reads slot {outside[0]} of {len(self.codes)}")
        if self._strict and not self.written[slots].all():
            unknown = slots[~self.written[slots]]
            raise Misuse(f"reads slot {unknown[0]}, which was never written")
        return slots


def accumulate(nest: Nest, acts: Activations, weights: Codes, acc: Ints) -> Ints:
    """Accumulators ``[blocks, pixels, channels]`` of a MAC nest, ``acc`` before the first step.

    ``weights`` ``[n_ocb, steps, oc_lanes, ic_lanes]`` are the codes of the words in the order of
    execution. The result is exact modulo ``2**acc_bits``.
    """
    c = nest.config
    first = 0
    for segment in nest.segments:
        steps = segment.steps
        if segment.shift:
            acc = numerics.wrap(acc << c.term_radix_bits, c.acc_bits)
        words = weights[:, first : first + steps]
        acc = numerics.wrap(acc + _segment_sum(nest, segment, acts, words), c.acc_bits)
        first += steps
    return acc


def _segment_sum(nest: Nest, segment: Seg, acts: Activations, words: Codes) -> Ints:
    """Contribution of one segment: ``[blocks, pixels, n_ocb * oc_lanes]``, modulo ``2**64`` or
    more."""
    c = nest.config
    n_ocb, steps = words.shape[:2]
    depth = steps * c.ic_lanes
    w_table, x_table = _value_tables(c, depth)
    matrix = w_table[words.swapaxes(1, 2)].reshape(n_ocb, c.oc_lanes, depth)
    bases, taps, valid = nest.bases(segment), addressing.tap_offsets(segment), nest.valid
    shared = bool((bases == bases[:1]).all())
    total = np.empty((nest.blocks, c.pixels, n_ocb, c.oc_lanes), np.int64)
    count = max(1, CHUNK_VALUES // (c.pixels * depth))
    for group in (slice(None),) if shared else (slice(o, o + 1) for o in range(n_ocb)):
        rows = matrix[group].reshape(-1, depth)
        base = bases[group.start or 0]
        for start in range(0, nest.blocks, count):
            part = slice(start, start + count)
            slots = acts.slots(base[part], taps, valid[part])
            if x_table.dtype == np.int64:
                x = x_table[acts.codes.take(slots, axis=0)]
            else:
                x = acts.values.take(slots, axis=0).astype(x_table.dtype)
            y = x.reshape(-1, depth) @ rows.T
            total[part, :, group] = y.reshape(*x.shape[:2], -1, c.oc_lanes)
    return total.reshape(nest.blocks, c.pixels, -1)


def _value_tables(config: ArchConfig, depth: int) -> tuple[Table, Table]:
    """Values by code of weights and activations, in the fastest type in which a sum of ``depth``
    products is exact: float32 or float64 (BLAS), else int64 modulo ``2**acc_bits``."""
    bound = depth * numerics.product_bound(config.weight_format, config.act_format)
    dtype = np.float32 if bound <= 1 << 24 else np.float64 if bound <= 1 << 53 else np.int64
    bits = config.acc_bits if dtype is np.int64 else _UNBOUNDED
    formats = (config.weight_format, config.act_format)
    weight, act = (modular_values(fmt, bits).astype(dtype) for fmt in formats)
    return weight, act


def maximum(nest: Nest, acts: Activations, best: Ints) -> Ints:
    """Largest order keys ``[blocks, pixels, channels]`` of a MAX nest, starting from ``best``; a
    cleared key is 0."""
    c, e = nest.config, nest.execute
    keys = numerics.order_key(np.arange(1 << c.act_format.bits), c.act_format)
    best = best.reshape(nest.blocks, c.pixels, e.n_ocb, c.ic_lanes).transpose(2, 0, 1, 3)
    for segment in nest.segments:
        taps = addressing.tap_offsets(segment)
        for block, bases in enumerate(nest.bases(segment)):
            for tap in taps:
                slots = acts.slots(bases, tap[None], nest.valid)[..., 0]
                best[block] = np.maximum(best[block], keys[acts.codes.take(slots, axis=0)])
    return best.transpose(1, 2, 0, 3).reshape(nest.blocks, c.pixels, -1)


def table_index(nest: Nest, acc: Ints, params: Ints) -> Ints:
    """Index into the activation tables of accumulators or order keys ``[..., channels]``.

    ``params`` ``[3, channels]`` are base, step and tie, used by MAC.
    """
    c = nest.config
    if nest.execute.mode == Mode.MAX:
        codes = np.arange(1 << c.act_format.bits)
        code_of = np.empty_like(codes)
        code_of[numerics.order_key(codes, c.act_format)] = codes
        return numerics.passed(code_of, c.result_bits)[acc]
    base, step, tie = params
    y: Ints = numerics.table_index(numerics.requantize(acc, base, step, tie, bits=c.result_bits))
    return y
