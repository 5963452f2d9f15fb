"""Limits of an ArchConfig, set by instructions, numerics and the bus."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Protocol

from sigbit_hw.arch import bus, isa
from sigbit_hw.arch.formats import Format
from sigbit_hw.arch.names import check_name
from sigbit_hw.arch.numerics import PRE_BITS
from sigbit_hw.arch.params import ParamFormat
from sigbit_tools.shown import shown

RADIX_BITS_MAX = 7
"""Maximum shift of the accumulators between digit weights, in bits."""

DEPTHS_MAX: Mapping[str, int] = MappingProxyType(
    {
        "act_slots": 1 << isa.SLOT_BITS,
        "weight_words": 1 << isa.WEIGHT_WORD_BITS,
        "param_groups": 1 << isa.PARAM_GROUP_BITS,
        "tables": 1 << isa.TABLE_BITS,
        "segments": 1 << isa.SEGMENT_BITS,
    }
)
"""Maximum depths, set by the widths of the instruction fields."""

COUNTS_MAX: Mapping[str, int] = MappingProxyType(
    {"pixels": 1024, "oc_lanes": 1024, "queue_depth": 256, "outstanding_reads": 256}
)
"""Maximum values of parameters that neither the instructions nor the bus limit."""

_POWERS_OF_TWO = (
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
)


class Parameters(Protocol):
    """Attributes of an ``ArchConfig`` that the checks read."""

    @property
    def name(self) -> str: ...

    @property
    def weight_format(self) -> Format: ...

    @property
    def act_format(self) -> Format: ...

    @property
    def pixels(self) -> int: ...

    @property
    def oc_lanes(self) -> int: ...

    @property
    def ic_lanes(self) -> int: ...

    @property
    def post_lanes(self) -> int: ...

    @property
    def acc_bits(self) -> int: ...

    @property
    def term_radix_bits(self) -> int: ...

    @property
    def step_bits(self) -> int: ...

    @property
    def fraction_bits(self) -> int: ...

    @property
    def result_bits(self) -> int: ...

    @property
    def act_slots(self) -> int: ...

    @property
    def burst_beats(self) -> int: ...

    @property
    def bus_bits(self) -> int: ...

    @property
    def ports(self) -> int: ...

    @property
    def ultra_ram(self) -> bool: ...

    @property
    def dot_bits(self) -> int: ...

    @property
    def weight_word_bits(self) -> int: ...

    @property
    def slot_bits(self) -> int: ...

    @property
    def port_bytes(self) -> int: ...


def check(config: Parameters) -> None:
    """Check all parameters; ``ValueError`` names the wrong parameter and the allowed values."""
    for rules in (_types, _array, _accumulators, _requantizers, _bus, _depths):
        rules(config)


def _types(c: Parameters) -> None:
    check_name(c.name, "name")
    for name in ("weight_format", "act_format"):
        if not isinstance(getattr(c, name), Format):
            raise ValueError(f"{name} must be a format, not {shown(getattr(c, name))}")
    for name in ("acc_bits", "term_radix_bits", "bus_bits", "result_bits"):
        if type(getattr(c, name)) is not int:
            raise ValueError(f"{name} must be an integer, not {shown(getattr(c, name))}")
    if type(c.ultra_ram) is not bool:
        raise ValueError(f"ultra_ram must be true or false, not {shown(c.ultra_ram)}")
    for name in _POWERS_OF_TWO:
        value = getattr(c, name)
        if type(value) is not int or value <= 0 or value & (value - 1):
            raise ValueError(f"{name} must be a power of two, not {shown(value)}")
        if value > COUNTS_MAX.get(name, value):
            raise ValueError(f"{name} must be at most {COUNTS_MAX[name]}, not {shown(value)}")


def _array(c: Parameters) -> None:
    if c.pixels < 2:
        raise ValueError(f"pixels must be at least 2, not {c.pixels}")
    if not c.weight_format.signed:
        raise ValueError(f"weight_format must be signed, not {c.weight_format}")
    if c.oc_lanes % c.ic_lanes:
        raise ValueError(
            f"oc_lanes must be a multiple of ic_lanes ({c.ic_lanes}), not {c.oc_lanes}"
        )
    if c.post_lanes % c.ic_lanes or c.post_lanes > c.pixels * c.ic_lanes:
        raise ValueError(
            f"post_lanes must be a multiple of ic_lanes ({c.ic_lanes}), at most pixels * "
            f"ic_lanes ({c.pixels * c.ic_lanes}), not {c.post_lanes}"
        )
    if c.post_lanes > c.oc_lanes != c.ic_lanes:
        raise ValueError(
            f"post_lanes must be at most oc_lanes ({c.oc_lanes}) unless oc_lanes equals "
            f"ic_lanes ({c.ic_lanes}), not {c.post_lanes}"
        )


def _accumulators(c: Parameters) -> None:
    ParamFormat(c.acc_bits, c.step_bits, c.fraction_bits)
    if c.dot_bits > c.acc_bits:
        raise ValueError(
            f"acc_bits must be at least {c.dot_bits}, not {c.acc_bits}: a sum of "
            f"{c.ic_lanes} products of {c.weight_format} and {c.act_format} needs as "
            "many; formats with more fraction bits span less"
        )
    if not 1 <= c.term_radix_bits <= RADIX_BITS_MAX:
        raise ValueError(
            f"term_radix_bits must be in [1, {RADIX_BITS_MAX}], not {c.term_radix_bits}"
        )


def _requantizers(c: Parameters) -> None:
    least = max(2, c.act_format.bits)
    if not least <= c.result_bits <= PRE_BITS:
        raise ValueError(
            f"result_bits must be in [{least}, {PRE_BITS}] with activations of "
            f"{c.act_format.bits} bits, not {c.result_bits}"
        )


def _bus(c: Parameters) -> None:
    if c.bus_bits not in bus.WIDTHS:
        raise ValueError(f"bus_bits must be {_one_of(bus.WIDTHS)}, not {c.bus_bits!r}")
    if c.ports not in bus.PORT_COUNTS or c.bus_bits < bus.PORT_BITS_MIN * c.ports:
        raise ValueError(
            f"ports must be {_one_of(bus.PORT_COUNTS)}, of at least {bus.PORT_BITS_MIN} bits "
            f"each: {c.ports} ports cannot share {c.bus_bits} bits"
        )
    if c.weight_word_bits % c.bus_bits:
        raise ValueError(
            f"a weight word ({c.oc_lanes} * {c.ic_lanes} * {c.weight_format.bits} = "
            f"{c.weight_word_bits} bits) must be a multiple of bus_bits ({c.bus_bits})"
        )
    if c.slot_bits % 8:
        raise ValueError(
            f"a slot ({c.ic_lanes} * {c.act_format.lane_bits} = {c.slot_bits} bits) "
            "must be whole bytes"
        )
    if c.slot_bits > c.bus_bits:
        raise ValueError(f"a slot ({c.slot_bits} bits) must fit bus_bits ({c.bus_bits})")
    if c.burst_beats > bus.BURST_MAX or c.burst_beats * c.port_bytes > bus.PAGE_BYTES:
        raise ValueError(
            f"a burst of {c.burst_beats} beats of {8 * c.port_bytes} bits must fit "
            f"{bus.BURST_MAX} beats and {bus.PAGE_BYTES} bytes"
        )


def _depths(c: Parameters) -> None:
    for name, most in DEPTHS_MAX.items():
        if getattr(c, name) > most:
            raise ValueError(f"{name} must be at most {most}, not {getattr(c, name)}")
    if c.act_slots < 4 * c.pixels:
        raise ValueError(
            f"act_slots must be at least 4 * pixels ({4 * c.pixels}), not {c.act_slots}"
        )


def _one_of(numbers: Sequence[int]) -> str:
    return f"{', '.join(map(str, numbers[:-1]))} or {numbers[-1]}"
