"""ArchConfig: all parameters of one accelerator, validated, with the widths derived from them."""

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any

from sigbit_hw.arch import limits
from sigbit_hw.arch.formats import EsbFormat, Format, TermGrid
from sigbit_hw.arch.numerics import PRE_BITS, dot_bits
from sigbit_hw.arch.params import STEP_BITS, STEP_FRACTION_BITS, ParamFormat
from sigbit_tools.shown import shown


@dataclass(frozen=True)
class ArchConfig:
    """One accelerator.

    Each cycle the array multiplies ``pixels`` x ``ic_lanes`` activations with ``oc_lanes`` x
    ``ic_lanes`` weights into ``pixels`` x ``oc_lanes`` stationary accumulators. The activation
    memory is a flat array of *slots*; a slot holds one pixel of ``ic_lanes`` channels; slot s
    lies in bank ``s % pixels``.

    Parameters
    ----------
    name : str
        Display name, a legal name (:mod:`~sigbit_hw.arch.names`); not part of the digest.
    weight_format, act_format : Format
        Native formats; the weight format is signed.
    pixels, oc_lanes, ic_lanes : int
        Array shape, powers of two; ``oc_lanes`` is a multiple of ``ic_lanes``.
    post_lanes : int
        Number of requantizers. Up to ``oc_lanes`` (and ``pixels * ic_lanes``): a multiple of
        ``ic_lanes``, one pixel per cycle. Above: ``oc_lanes`` times the number of pixels per cycle;
        requires ``oc_lanes`` equal to ``ic_lanes``.
    acc_bits : int
        Accumulator width, 16 to 32.
    term_radix_bits : int
        Left shift of the accumulators between digit weights of multi-term layers.
    act_slots, weight_words, param_groups, tables : int
        Depths, powers of two: activation slots, words of ``oc_lanes * ic_lanes`` weights, groups of
        :attr:`param_lanes` post-processing parameters, activation tables of 256 entries.
    segments : int
        Entries of the segment table.
    queue_depth : int
        Instructions each engine's queue holds.
    bus_bits : int
        Bits of a beat, over all ports together: 64, 128, 256 or 512.
    burst_beats : int
        Longest AXI burst, a power of two up to 256.
    outstanding_reads : int
        Read bursts in flight on each port.
    step_bits, fraction_bits : int
        Bits of a requantizer's step, and how many of them are fraction bits
        (:class:`~sigbit_hw.arch.params.ParamFormat`).
    result_bits : int
        Width of a requantizer's result: up to 8 bits, at least the width of an activation code.
    ports : int
        AXI4 master ports: 1, 2 or 4 of ``bus_bits / ports`` (at least 64) each. Port i carries part
        i of every beat.
    ultra_ram : bool
        The activation memory is UltraRAM on parts that have it (UltraScale+), not block RAM; not
        part of the digest.
    """

    name: str
    weight_format: Format
    act_format: Format
    pixels: int
    oc_lanes: int
    ic_lanes: int
    post_lanes: int
    acc_bits: int
    term_radix_bits: int
    act_slots: int
    weight_words: int
    param_groups: int
    tables: int
    segments: int = 16
    queue_depth: int = 8
    bus_bits: int = 128
    burst_beats: int = 16
    outstanding_reads: int = 8
    ports: int = 1
    step_bits: int = STEP_BITS
    fraction_bits: int = STEP_FRACTION_BITS
    result_bits: int = PRE_BITS
    ultra_ram: bool = False

    def __post_init__(self) -> None:
        limits.check(self)

    @property
    def params(self) -> ParamFormat:
        """Storage format of the post-processing parameters."""
        return ParamFormat(self.acc_bits, self.step_bits, self.fraction_bits)

    @property
    def macs(self) -> int:
        """Multiply-accumulates per cycle."""
        return self.pixels * self.oc_lanes * self.ic_lanes

    @property
    def slot_bits(self) -> int:
        """Bits of one activation slot."""
        return self.ic_lanes * self.act_format.lane_bits

    @property
    def weight_word_bits(self) -> int:
        """Bits of one weight word."""
        return self.oc_lanes * self.ic_lanes * self.weight_format.bits

    @property
    def bus_bytes(self) -> int:
        """Bytes of one bus beat; every DMA address is a multiple of it."""
        return self.bus_bits // 8

    @property
    def port_bytes(self) -> int:
        """Bytes of a beat carried by one port."""
        return self.bus_bytes // self.ports

    @property
    def slot_bytes(self) -> int:
        """Bytes of one activation slot in memory."""
        return self.slot_bits // 8

    @property
    def weight_word_bytes(self) -> int:
        """Bytes of one weight word in memory."""
        return self.weight_word_bits // 8

    @property
    def slots_per_block(self) -> int:
        """Slots that the channels of one output block fill: ``oc_lanes / ic_lanes``."""
        return self.oc_lanes // self.ic_lanes

    @property
    def slots_per_move(self) -> int:
        """Maximum number of slots that ``LOAD`` writes, or ``STORE`` reads, per cycle: those of a
        bus beat, one slot per bank."""
        return min(self.pixels, self.bus_bits // self.slot_bits)

    @property
    def drain_slots(self) -> int:
        """Channel slots that the drain writes per cycle for each pixel."""
        return self.param_lanes // self.ic_lanes

    @property
    def drain_pixels(self) -> int:
        """Pixels that the drain writes per cycle."""
        return self.post_lanes // self.param_lanes

    @property
    def param_lanes(self) -> int:
        """Channels of a parameter group: those post-processed per cycle."""
        return min(self.post_lanes, self.oc_lanes)

    @property
    def groups_per_block(self) -> int:
        """Parameter groups of one output block: ``oc_lanes / param_lanes``."""
        return self.oc_lanes // self.param_lanes

    def drain_cycles(self, planes: int, *, maximum: bool = False) -> int:
        """Cycles to drain one block into ``planes`` output planes: a block of accumulators or, with
        ``maximum``, of maxima, which have one parameter group only."""
        groups = 1 if maximum else self.groups_per_block
        return self.pixels // self.drain_pixels * groups * planes

    @cached_property
    def dot_bits(self) -> int:
        """Width of one ``ic_lanes``-long dot product, two's complement."""
        return dot_bits(self.weight_format, self.act_format, self.ic_lanes)

    def weight_grid(self, terms: int) -> TermGrid:
        """Values that a weight of ``terms`` terms can take."""
        return TermGrid(self.weight_format, self.term_radix_bits, terms)

    def act_grid(self, terms: int) -> TermGrid:
        """Stored values that an activation of ``terms`` planes can take."""
        return TermGrid(self.act_format, self.term_radix_bits, terms)

    def to_json(self) -> dict[str, Any]:
        """Return plain values that :meth:`from_json` accepts."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {name: plain[name].to_json() for name in ("weight_format", "act_format")}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ArchConfig":
        """Return the ArchConfig of :meth:`to_json`'s result; ``ValueError`` names missing, unknown
        and wrong fields."""
        if not isinstance(value, dict):
            raise ValueError(f"an ArchConfig must be a JSON object, not {type(value).__name__}")
        known = {f.name for f in fields(cls)}
        required = {f.name for f in fields(cls) if f.default is f.default_factory}
        if unknown := set(value) - known:
            raise ValueError(
                f"unknown ArchConfig fields {shown(sorted(unknown))}; known are {sorted(known)}"
            )
        if missing := required - set(value):
            raise ValueError(f"missing ArchConfig fields {sorted(missing)}")
        value = dict(value)
        for name in ("weight_format", "act_format"):
            try:
                value[name] = Format.from_json(value[name])
            except ValueError as error:
                raise ValueError(f"{name}: {error}") from error
        return cls(**value)

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over all fields except name and kind of memory: the identity that programs
        are bound to."""
        content = {k: v for k, v in self.to_json().items() if k not in ("name", "ultra_ram")}
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


_esb4 = partial(
    ArchConfig,
    weight_format=EsbFormat(4, 1),
    act_format=EsbFormat(4, 2),
    term_radix_bits=3,
    acc_bits=24,
    tables=8,
)

PRESETS: dict[str, ArchConfig] = {
    c.name: c
    for c in (
        _esb4(
            name="nano",
            pixels=2,
            oc_lanes=4,
            ic_lanes=4,
            post_lanes=4,
            act_slots=4096,
            weight_words=1024,
            param_groups=128,
            bus_bits=64,
            queue_depth=4,
            outstanding_reads=4,
        ),
        _esb4(
            name="micro",
            pixels=4,
            oc_lanes=8,
            ic_lanes=8,
            post_lanes=8,
            act_slots=8192,
            weight_words=1024,
            param_groups=128,
            bus_bits=64,
        ),
        _esb4(
            name="ecp5",
            pixels=4,
            oc_lanes=16,
            ic_lanes=8,
            post_lanes=8,
            act_slots=16384,
            weight_words=1024,
            param_groups=256,
            bus_bits=64,
        ),
        _esb4(
            name="mid",
            pixels=4,
            oc_lanes=16,
            ic_lanes=16,
            post_lanes=16,
            act_slots=131072,
            weight_words=2048,
            param_groups=512,
            bus_bits=128,
            burst_beats=64,
        ),
        _esb4(
            name="mobile",
            pixels=16,
            oc_lanes=8,
            ic_lanes=8,
            post_lanes=32,
            act_slots=262144,
            weight_words=8192,
            param_groups=1024,
            bus_bits=128,
            burst_beats=64,
        ),
        _esb4(
            name="zcu102",
            pixels=32,
            oc_lanes=16,
            ic_lanes=16,
            post_lanes=256,
            act_slots=262144,
            weight_words=4096,
            param_groups=512,
            bus_bits=512,
            ports=4,
            burst_beats=32,
            outstanding_reads=16,
        ),
        _esb4(
            name="kv260",
            pixels=16,
            oc_lanes=16,
            ic_lanes=16,
            post_lanes=64,
            act_slots=65536,
            weight_words=2048,
            param_groups=512,
            bus_bits=256,
            ports=2,
            burst_beats=32,
            outstanding_reads=16,
            ultra_ram=True,
        ),
        _esb4(
            name="dense",
            pixels=8,
            oc_lanes=32,
            ic_lanes=32,
            post_lanes=128,
            act_slots=65536,
            weight_words=2048,
            param_groups=256,
            bus_bits=512,
            ports=4,
            burst_beats=32,
            outstanding_reads=16,
        ),
    )
}
"""The shipped accelerators by name: 32, 256, 512, 1,024, 1,024, 8,192, 4,096 and 8,192
multiply-accumulates per cycle. ``mid`` and ``dense`` are for dense networks, ``mobile`` for
depthwise-separable ones, ``kv260`` for the K26 module."""
