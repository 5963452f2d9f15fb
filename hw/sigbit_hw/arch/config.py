"""ArchConfig: every parameter of one accelerator, validated, with the widths that follow from
it."""

import hashlib
import json
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any

from sigbit_hw.arch.formats import EsbFormat, Format, TermGrid
from sigbit_hw.arch.names import check_name
from sigbit_hw.arch.numerics import product_bound
from sigbit_tools.shown import shown

COUNT_MAX = {"pixels": 1024, "oc_lanes": 1024, "queue_depth": 256, "outstanding_reads": 256}
"""Most of what no memory or bus limits otherwise."""


def _is_power_of_two(n: int) -> bool:
    return n > 0 and n & (n - 1) == 0


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
        For people, a legal name (:mod:`~sigbit_hw.arch.names`); not part of the digest.
    weight_format, act_format : Format
        Native formats; the weight format is signed.
    pixels, oc_lanes, ic_lanes : int
        Array shape, powers of two up to :data:`COUNT_MAX`; ``oc_lanes`` is a multiple of
        ``ic_lanes``.
    post_lanes : int
        Requantizers. Up to ``oc_lanes`` (and ``pixels * ic_lanes``): a multiple of ``ic_lanes``,
        one pixel a cycle. Above: ``oc_lanes`` times the pixels a cycle, for ``oc_lanes`` equal to
        ``ic_lanes``.
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
    ports : int
        AXI4 master ports: 1, 2 or 4 of ``bus_bits / ports`` (at least 64) each. Port i carries part
        i of every beat.
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

    def __post_init__(self) -> None:
        check_name(self.name, "name")
        for name in ("weight_format", "act_format"):
            if not isinstance(getattr(self, name), Format):
                raise ValueError(f"{name} must be a format, not {shown(getattr(self, name))}")
        for name in ("acc_bits", "term_radix_bits", "bus_bits"):
            if type(getattr(self, name)) is not int:
                raise ValueError(f"{name} must be an integer, not {shown(getattr(self, name))}")
        for name in (
            "pixels",
            "oc_lanes",
            "ic_lanes",
            "post_lanes",
            "act_slots",
            "weight_words",
            "param_groups",
            "tables",
            "segments",
            "queue_depth",
            "burst_beats",
            "outstanding_reads",
            "ports",
        ):
            value = getattr(self, name)
            if type(value) is not int or not _is_power_of_two(value):
                raise ValueError(f"{name} must be a power of two, not {shown(value)}")
            if value > COUNT_MAX.get(name, value):
                raise ValueError(f"{name} must be at most {COUNT_MAX[name]}, not {shown(value)}")
        if self.pixels < 2:
            raise ValueError(f"pixels must be at least 2, not {self.pixels}")
        if not self.weight_format.signed:
            raise ValueError(f"weight_format must be signed, not {self.weight_format}")
        if self.oc_lanes % self.ic_lanes:
            raise ValueError(
                f"oc_lanes must be a multiple of ic_lanes ({self.ic_lanes}), not {self.oc_lanes}"
            )
        if self.post_lanes % self.ic_lanes or self.post_lanes > self.pixels * self.ic_lanes:
            raise ValueError(
                f"post_lanes must be a multiple of ic_lanes ({self.ic_lanes}), at most pixels * "
                f"ic_lanes ({self.pixels * self.ic_lanes}), not {self.post_lanes}"
            )
        if self.post_lanes > self.oc_lanes != self.ic_lanes:
            raise ValueError(
                f"post_lanes must be at most oc_lanes ({self.oc_lanes}) unless oc_lanes equals "
                f"ic_lanes ({self.ic_lanes}), not {self.post_lanes}"
            )
        if not 16 <= self.acc_bits <= 32:
            raise ValueError(f"acc_bits must be in [16, 32], not {self.acc_bits}")
        if self.dot_bits > self.acc_bits:
            raise ValueError(
                f"acc_bits must be at least {self.dot_bits}, not {self.acc_bits}: a sum of "
                f"{self.ic_lanes} products of {self.weight_format} and {self.act_format} needs as "
                "many; formats with more fraction bits span less"
            )
        if not 1 <= self.term_radix_bits <= 7:
            raise ValueError(f"term_radix_bits must be in [1, 7], not {self.term_radix_bits}")
        if self.bus_bits not in (64, 128, 256, 512):
            raise ValueError(f"bus_bits must be 64, 128, 256 or 512, not {self.bus_bits!r}")
        if self.ports > 4 or self.bus_bits < 64 * self.ports:
            raise ValueError(
                f"ports must be 1, 2 or 4, of at least 64 bits each: {self.ports} ports cannot "
                f"share {self.bus_bits} bits"
            )
        if self.weight_word_bits % self.bus_bits:
            raise ValueError(
                f"a weight word ({self.oc_lanes} * {self.ic_lanes} * {self.weight_format.bits} = "
                f"{self.weight_word_bits} bits) must be a multiple of bus_bits ({self.bus_bits})"
            )
        if self.slot_bits % 8:
            raise ValueError(
                f"a slot ({self.ic_lanes} * {self.act_format.lane_bits} = {self.slot_bits} bits) "
                "must be whole bytes"
            )
        if not self.slot_bits <= self.bus_bits:
            raise ValueError(f"a slot ({self.slot_bits} bits) must fit bus_bits ({self.bus_bits})")
        if not self.segments <= 16:
            raise ValueError(f"segments must be at most 16, not {self.segments}")
        if not self.tables <= 16:
            raise ValueError(f"tables must be at most 16, not {self.tables}")
        if self.act_slots > 1 << 20 or self.act_slots < 4 * self.pixels:
            raise ValueError(
                f"act_slots must be in [{4 * self.pixels}, {1 << 20}], not {self.act_slots}"
            )
        if self.weight_words > 1 << 16:
            raise ValueError(f"weight_words must be at most {1 << 16}, not {self.weight_words}")
        if self.param_groups > 1 << 12:
            raise ValueError(f"param_groups must be at most {1 << 12}, not {self.param_groups}")
        if not 1 <= self.burst_beats <= 256 or self.burst_beats * self.port_bytes > 4096:
            raise ValueError(
                f"a burst of {self.burst_beats} beats of {8 * self.port_bytes} bits must fit 256 "
                "beats and 4 KiB"
            )

    @property
    def macs(self) -> int:
        """Multiply-accumulates a cycle."""
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
        """Bytes of a beat that one port carries."""
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
    def drain_slots(self) -> int:
        """Channel slots that the drain writes a cycle, of every pixel."""
        return self.param_lanes // self.ic_lanes

    @property
    def drain_pixels(self) -> int:
        """Pixels that the drain writes a cycle."""
        return self.post_lanes // self.param_lanes

    @property
    def param_lanes(self) -> int:
        """Channels of a parameter group: those post-processed in a cycle."""
        return min(self.post_lanes, self.oc_lanes)

    @property
    def groups_per_block(self) -> int:
        """Parameter groups of one output block: ``oc_lanes / param_lanes``."""
        return self.oc_lanes // self.param_lanes

    def drain_cycles(self, planes: int) -> int:
        """Cycles to drain one block of accumulators into ``planes`` output planes."""
        return self.pixels // self.drain_pixels * self.groups_per_block * planes

    @cached_property
    def dot_bits(self) -> int:
        """Width of one ``ic_lanes``-long dot product, two's complement."""
        bound = self.ic_lanes * product_bound(self.weight_format, self.act_format)
        return bound.bit_length() + 1

    def weight_grid(self, terms: int) -> TermGrid:
        """Values a weight of ``terms`` terms can take."""
        return TermGrid(self.weight_format, self.term_radix_bits, terms)

    def act_grid(self, terms: int) -> TermGrid:
        """Stored values an activation of ``terms`` planes can take."""
        return TermGrid(self.act_format, self.term_radix_bits, terms)

    def to_json(self) -> dict[str, Any]:
        """Plain values, accepted by :meth:`from_json`."""
        plain = {f.name: getattr(self, f.name) for f in fields(self)}
        return plain | {name: plain[name].to_json() for name in ("weight_format", "act_format")}

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> "ArchConfig":
        """The ArchConfig of :meth:`to_json`'s result; ``ValueError`` names missing, unknown and
        wrong fields."""
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
        """SHA-256 (hex) over all fields but the name: the identity that programs are bound to."""
        content = {k: v for k, v in self.to_json().items() if k != "name"}
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
            outstanding_reads=16,
        ),
    )
}
"""The shipped accelerators by name: 32, 256, 512, 1,024, 1,024 and 8,192 multiply-accumulates a
cycle. ``mid`` is for dense networks, ``mobile`` for depthwise-separable ones."""
