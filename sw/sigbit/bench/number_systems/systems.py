"""The configurations of the equal-footing benchmark: every number system at every pair of widths,
in accelerators of one shape."""

from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat, Format, LevelFormat, TermGrid
from sigbit_hw.arch.limits import RADIX_BITS_MAX
from sigbit_hw.arch.numerics import ACC_BITS_MAX, ACC_BITS_MIN, dot_bits

WIDTHS = ((2, 2), (3, 3), (4, 4), (4, 8), (8, 8))
"""Bits of weights and activations."""
APOT = {3: LevelFormat((0, 1, 2, 4)), 4: LevelFormat((0, 1, 2, 3, 4, 6, 8, 10))}
"""Additive powers of two (Li et al., ICLR 2020) by width including the sign, in units of their
smallest step; at 3 bits they are powers of two."""

ACC_ROOM, ACC_LEAST_ROOM = 12, 6
"""An accumulator has 12 bits more than a dot product, within its limits; with fewer than 6
additional bits (64 steps) there is no accelerator."""

_shape = partial(
    ArchConfig,
    pixels=4,
    oc_lanes=32,
    ic_lanes=32,
    post_lanes=32,
    act_slots=8192,
    weight_words=512,
    param_groups=256,
    tables=8,
    bus_bits=256,
    ports=2,
)
"""4,096 multiply-accumulates per cycle with 32 requantizers and two 128-bit ports. A slot of 32
8-bit activations is as wide as the bus; 32 input lanes keep the fraction of the accumulators, and 4
x 32 outputs that of the operand memories, so small that networks of 32 or more channels fill
them."""


@dataclass(frozen=True)
class System:
    """A pair of formats under the name of its number system.

    Parameters
    ----------
    name : str
        "integer", "power of two", "ESB k=1" …, "APoT", for both sides, or weights' " x "
        activations'.
    weights, acts : Format
        Native formats.
    """

    name: str
    weights: Format
    acts: Format

    @property
    def widths(self) -> tuple[int, int]:
        """Widths of a weight and of an activation."""
        return self.weights.bits, self.acts.bits

    @property
    def key(self) -> str:
        """Name for files and accelerators: ``w4a4-esb-k1``."""
        words = self.name.lower().replace("=", "").split()
        return "-".join([f"w{self.weights.bits}a{self.acts.bits}", *words])


def _esb(bits: int, exponent_bits: int) -> EsbFormat:
    """Signed ESB grid with this number of exponent bits."""
    return EsbFormat(bits, bits - 1 - exponent_bits)


def _acts(bits: int, exponent_bits: int) -> EsbFormat:
    """The same for activations, unsigned at 2 bits: with a sign only the value 1 would be left."""
    return EsbFormat(2, 2 - exponent_bits, False) if bits == 2 else _esb(bits, exponent_bits)


def _named(bits: int, exponent_bits: int) -> str:
    if exponent_bits == 1:
        return "integer"
    return "power of two" if exponent_bits == bits - 1 else f"ESB k={bits - 1 - exponent_bits}"


def _of_widths(weight_bits: int, act_bits: int) -> list[System]:
    """All systems of one pair of widths, the integers first."""
    linear = _acts(act_bits, 1)
    found = [System("integer", _esb(weight_bits, 1), linear)]
    if weight_bits == 2:
        return [*found, System("power of two", _esb(2, 1), _acts(2, 2))]
    for exponent_bits in range(2, weight_bits):
        name, weights = _named(weight_bits, exponent_bits), _esb(weight_bits, exponent_bits)
        found.append(System(f"{name} x integer", weights, linear))
        acts, act_name = _acts(act_bits, exponent_bits), _named(act_bits, exponent_bits)
        found.append(System(name if name == act_name else f"{name} x {act_name}", weights, acts))
    if weight_bits == 4:
        found.append(System("APoT x integer", APOT[4], linear))
        if act_bits == 4:
            found.append(System("APoT", APOT[4], APOT[4]))
    return found


SYSTEMS = tuple(system for widths in WIDTHS for system in _of_widths(*widths))
"""The number systems that are compared."""


def of_format(name: str, form: Format) -> list[System]:
    """Systems of a user-defined format: as weights with integer activations of equal width, and on
    both sides."""
    return [
        System(f"{name} x integer", form, _acts(form.bits, 1)),
        System(name, form, form),
    ]


def radix(weights: Format, acts: Format) -> int:
    """Distance in bits between the digits of multi-digit values and weights: the maximum at which
    sums of digits have no gaps, of activations, or of weights if one activation holds 8 bits."""
    native = weights if acts.bits == 8 else acts
    steps = TermGrid(native, 1, 1).contiguous
    return min(RADIX_BITS_MAX, ((2 * steps if native.signed else steps) + 1).bit_length() - 1)


def refusal(system: System, lanes: int = 32) -> str | None:
    """Reason why there is no accelerator of ``system`` with ``lanes`` products per sum; None if
    there is one."""
    bits = dot_bits(system.weights, system.acts, lanes)
    if bits + ACC_LEAST_ROOM <= ACC_BITS_MAX:
        return None
    return (
        f"a sum of {lanes} products needs {bits} bits; an accumulator of {ACC_BITS_MAX} would hold "
        f"fewer than {1 << ACC_LEAST_ROOM} of them"
    )


def acc_bits(system: System, lanes: int = 32) -> int:
    """Width of the accumulators: 12 bits more than a sum of ``lanes`` products, within limits."""
    bits = dot_bits(system.weights, system.acts, lanes) + ACC_ROOM
    return max(ACC_BITS_MIN, min(ACC_BITS_MAX, bits))


def accelerator(system: System, **shape: Any) -> ArchConfig:
    """Accelerator of ``system``, in the benchmark's shape except for the fields in ``shape``;
    raises ``ValueError`` with the :func:`refusal` if there is none."""
    lanes = shape.get("ic_lanes", _shape.keywords["ic_lanes"])
    if reason := refusal(system, lanes):
        raise ValueError(f"{system.key}: {reason}")
    return _shape(
        name=system.key,
        weight_format=system.weights,
        act_format=system.acts,
        acc_bits=acc_bits(system, lanes),
        term_radix_bits=radix(system.weights, system.acts),
        **shape,
    )


def in_shape(config: ArchConfig) -> list[ArchConfig]:
    """Accelerators of all systems in the shape of ``config``: its lanes, memories and ports.
    Systems without an accelerator are omitted."""
    found = []
    for system in SYSTEMS:
        if refusal(system, config.ic_lanes) is None:
            with suppress(ValueError):
                found.append(
                    replace(
                        config,
                        name=f"{config.name}-{system.key}",
                        weight_format=system.weights,
                        act_format=system.acts,
                        acc_bits=acc_bits(system, config.ic_lanes),
                        term_radix_bits=radix(system.weights, system.acts),
                    )
                )
    return found


def sample(config: ArchConfig) -> ArchConfig:
    """A small accelerator with the same formats, accumulators and post-processing, 128
    multiply-accumulates per cycle, whose netlist is quick to simulate."""
    return replace(
        config,
        name=f"{config.name}-sample",
        pixels=2,
        oc_lanes=8,
        ic_lanes=8,
        post_lanes=8,
        act_slots=1024,
        weight_words=256,
        param_groups=128,
        bus_bits=64,
        ports=1,
        outstanding_reads=4,
    )


NAMED = tuple(PRESETS[name] for name in ("ecp5", "mid", "mobile", "zcu102", "kv260", "dense"))
"""Shipped accelerators with at least 512 multiply-accumulates, shown beside those of the
benchmark."""
