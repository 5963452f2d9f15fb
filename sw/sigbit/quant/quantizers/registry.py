"""The methods by name: level tables, bit widths, learned parameters, and forms that the accelerator
does not support.

A level table holds integers; ``real = scale * integer``. :func:`embed` finds the terms with which a
native format represents them exactly.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from sigbit.errors import QuantizationError
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.numbers.scales import ScaleRule
from sigbit.quant.quantizers import inq, lq_nets, lsq_plus, nearest, qil, qn, ternary
from sigbit.quant.quantizers.base import Quantizer
from sigbit_hw.arch.formats import EsbFormat

Maker = Callable[[LevelGrid, ScaleRule, int | None, int], Quantizer]
"""(grid, the spec's scale rule, channels, bits) to quantizer."""


@dataclass(frozen=True)
class Side:
    """Definition of a method for weights, or for activations.

    ``levels`` is the level table of a bit width; ``learns_levels`` is True if it changes in
    training, within the accelerator's own grid.
    """

    bits: tuple[int, ...]
    levels: Callable[[int], LevelGrid]
    make: Maker
    learns_levels: bool = False
    positive_only: bool = False
    """True if it is defined only for nonnegative activations."""
    room: Callable[[int], LevelGrid] | None = None
    """Levels within which the table of ``levels`` moves if its offset is learned."""


@dataclass(frozen=True)
class Method:
    """A published method; a side that it does not define is None."""

    name: str
    weights: Side | None
    acts: Side | None


def symmetric(bits: int) -> LevelGrid:
    """``-(2^(b-1) - 1) ... 2^(b-1) - 1``."""
    top = max(1, (1 << (bits - 1)) - 1)
    return LevelGrid.uniform(-top, top)


def two_complement(bits: int) -> LevelGrid:
    """``-2^(b-1) ... 2^(b-1) - 1``."""
    return LevelGrid.uniform(-(1 << (bits - 1)), (1 << (bits - 1)) - 1)


def odd(bits: int) -> LevelGrid:
    """The ``2^b`` odd integers around 0."""
    return LevelGrid(tuple(range(1, 1 << bits, 2)), True)


def unsigned(bits: int) -> LevelGrid:
    """``0 ... 2^b - 1``."""
    return LevelGrid.uniform(0, (1 << bits) - 1)


def esb(bits: int, signed: bool = True) -> LevelGrid:
    """ESB(b, k) with the best k for a Gaussian: 0, 1, 1, then b - 3; the unsigned grid is the
    positive half of one with one more bit."""
    total = bits if signed else bits + 1
    return LevelGrid.of(EsbFormat(bits, max(min(total - 2, 1), total - 3), signed))


def powers_of_two(bits: int) -> LevelGrid:
    """0 and ``2^(b-2)`` powers of two of each sign (INQ); ternary at two bits."""
    return LevelGrid((0, *(1 << n for n in range(1 << (bits - 2)))), True)


def additive_powers(bits: int) -> tuple[int, ...]:
    """The ``2^bits`` magnitudes of APoT in units of the least power of two."""
    terms: dict[int, tuple[tuple[int, ...], ...]] = {
        1: ((0, 1),),
        2: ((0, 1, 2, 4),),
        3: ((0, 1, 4, 8), (0, 2)),
        4: ((0, 32, 8, 2), (0, 16, 4, 1)),
        5: ((0, 64, 16, 2), (0, 32, 8, 1), (0, 4)),
        6: ((0, 256, 32, 4), (0, 128, 16, 2), (0, 64, 8, 1)),
    }
    sums = {0}
    for choices in terms[bits]:
        sums = {a + b for a in sums for b in choices}
    return tuple(sorted(sums))


def qn_weights(bits: int) -> LevelGrid:
    """1: {+-1}; 2: {0, +-1}; 3: {0, +-1, +-2, +-4}; more: all integers below ``2^(b-1)``."""
    tables = {1: (1,), 2: (0, 1), 3: (0, 1, 2, 4)}
    return LevelGrid(tables[bits], True) if bits in tables else symmetric(bits)


def _plain(
    kind: type[Quantizer], rule: ScaleRule | None = None, one_bit: ScaleRule | None = None
) -> Maker:
    def make(grid: LevelGrid, given: ScaleRule, channels: int | None, bits: int) -> Quantizer:
        chosen = one_bit if bits == 1 and one_bit is not None else rule
        return kind(grid, chosen or given, channels)

    return make


def _basis(signed: bool) -> Maker:
    def make(grid: LevelGrid, given: ScaleRule, channels: int | None, bits: int) -> Quantizer:
        return lq_nets.LqNets(grid, lq_nets.BASIS, channels, bits, signed=signed)

    return make


_TO_8, _FROM_2 = tuple(range(1, 9)), tuple(range(2, 9))
_RULED = _plain(nearest.Folded)
_CLIPPED = Side(_TO_8, unsigned, _plain(Quantizer, nearest.CONSTANT))
_DOREFA = Side(_TO_8, odd, _plain(nearest.DoReFa, nearest.LARGEST_NOW, nearest.MEAN_NOW))

METHODS: dict[str, Method] = {
    method.name: method
    for method in (
        Method(
            "esb",
            Side(_FROM_2, esb, _RULED),
            Side(_FROM_2, lambda bits: esb(bits, False), _RULED),
        ),
        Method("uniform", Side(_FROM_2, symmetric, _RULED), Side(_TO_8, unsigned, _RULED)),
        Method(
            "lsq",
            Side(_FROM_2, two_complement, _plain(Quantizer, nearest.LSQ)),
            Side(_TO_8, unsigned, _plain(Quantizer, nearest.LSQ)),
        ),
        Method(
            "lsq+",
            Side(_FROM_2, two_complement, _plain(Quantizer, nearest.LSQ_PLUS_WEIGHTS)),
            Side(
                _TO_8,
                unsigned,
                lambda grid, given, channels, bits: lsq_plus.LsqPlus(
                    grid, nearest.LEARNED, channels, bits
                ),
                room=lsq_plus.room,
            ),
        ),
        Method("dorefa", _DOREFA, _CLIPPED),
        Method("wrpn", Side(_FROM_2, symmetric, _plain(nearest.Wrpn, nearest.CONSTANT)), _CLIPPED),
        Method("pact", _DOREFA, Side(_TO_8, unsigned, _plain(nearest.Pact, nearest.LEARNED))),
        Method(
            "lq-nets",
            Side((1, 2, 3, 4), symmetric, _basis(True), learns_levels=True),
            Side((1, 2, 3, 4), unsigned, _basis(False), learns_levels=True, positive_only=True),
        ),
        Method(
            "apot",
            Side(
                (2, 3, 4, 5, 6, 7),
                lambda bits: LevelGrid(additive_powers(bits - 1), True),
                _plain(nearest.Apot, nearest.LEARNED),
            ),
            Side(
                (1, 2, 3, 4, 5, 6),
                lambda bits: LevelGrid(additive_powers(bits), False),
                _plain(Quantizer, nearest.LEARNED),
            ),
        ),
        Method(
            "qil",
            Side(_FROM_2, symmetric, _plain(qil.Qil, qil.INTERVAL)),
            Side(_TO_8, unsigned, _plain(qil.Qil, qil.INTERVAL), positive_only=True),
        ),
        Method("inq", Side((2, 3, 4, 5), powers_of_two, _plain(inq.Inq, inq.POWERS)), None),
        Method(
            "qn",
            Side((1, 2, 3, 4, 5), qn_weights, _plain(qn.QuantizationNetwork, qn.WIDEST)),
            Side(
                (1, 2, 3, 4),
                unsigned,
                _plain(qn.QuantizationNetwork, qn.WIDEST),
                positive_only=True,
            ),
        ),
        Method(
            "ternary",
            Side((2,), symmetric, _plain(ternary.Ternary, ternary.CLUSTERS)),
            None,
        ),
    )
}
"""The methods by name."""


def side(name: str, what: str, bits: int | None) -> Side:
    """The side ``what`` ("weights", "activations") of the method ``name``. Raises an error if there
    is none, or none of ``bits`` bits (None if the method uses the accelerator's own grid)."""
    if name not in METHODS:
        raise QuantizationError(f"method must be one of {sorted(METHODS)}, not {name!r}")
    found = METHODS[name].weights if what == "weights" else METHODS[name].acts
    if found is None:
        able = sorted(m.name for m in METHODS.values() if m.acts is not None)
        raise QuantizationError(
            f"{name!r} quantizes weights only: choose a method for {what} of {able}"
        )
    if bits is None and name != "esb":
        raise QuantizationError(f"{name!r} needs the number of bits of {what}, in {found.bits}")
    if bits is not None and bits not in found.bits:
        raise QuantizationError(f"bits of {what} with {name!r} must be in {found.bits}, not {bits}")
    return found


def embed(levels: LevelGrid, natives: Iterable[LevelGrid]) -> tuple[int, int] | None:
    """(terms, factor): the first of ``natives`` (by terms, starting at 1) that contains ``factor``
    times every level, with the smallest factor; None if there is none."""
    values = levels.values
    for terms, native in enumerate(natives, start=1):
        table = set(native.values)
        for factor in range(1, native.max // max(map(abs, values)) + 1):
            if all(factor * v in table for v in values):
                return terms, factor
    return None
