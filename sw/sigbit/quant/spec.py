"""QuantSpec: the target formats of a quantized network."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any

from torch import Tensor

from sigbit.errors import QuantizationError
from sigbit.quant.numbers.grid import LevelGrid
from sigbit.quant.numbers.scales import scale_rule
from sigbit.quant.quantizers.registry import Side, embed, side
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import MAX_DIGITS, EsbFormat, Format, TermGrid
from sigbit_hw.arch.numerics import PRE_BITS, UNIT, Y_MAX, Y_MIN
from sigbit_hw.arch.params import STEP_BITS, STEP_FRACTION_BITS, ParamFormat

DIGITS = range(1, MAX_DIGITS + 1)
"""Possible numbers of digits of values and weights."""
BYTE = Y_MAX - Y_MIN
"""Largest value of an unsigned 8-bit tensor."""
_STEP_ROOM = PRE_BITS + 2
"""A step of y is at most ``2**(acc_bits - _STEP_ROOM)`` accumulator steps."""
_WEIGHTS, _ACTIVATIONS = EsbFormat(4, 1), EsbFormat(4, 2)


@dataclass(frozen=True)
class QuantSpec:
    """Formats, digits and scale rules; :meth:`from_arch` fits them to an accelerator.

    With the default formats a weight of one term is a 4-bit ESB value, of two terms about 8 bits;
    an activation of one plane has 15 levels, of two planes 127, of three planes 8 bits.

    Parameters
    ----------
    weight_format, act_format : Format
        Native formats of the array.
    radix_bits : int
        Bits between the digit weights of tensors and weights of several terms.
    acc_bits : int
        Width of the accumulators, which no layer may overflow.
    step_bits, fraction_bits : int
        Bits of a requantizer's step, and the number of fraction bits among them.
    weight_terms : int
        Terms of the weights of ordinary layers.
    act_planes : int
        Planes of ordinary activations.
    first_last_terms : int, optional
        Minimum number of terms of the weights of layers that read an input or produce an output,
        also if poolings follow; if absent, :attr:`byte_terms`.
    residual_terms : int, optional
        Terms of the weights of every further source that is added into a layer's accumulators; if
        absent, one more than the layer's own, up to :attr:`most_terms`.
    wide_head : bool
        Give the tensors that only layers producing an output read 8 bits instead of ``act_planes``.
    bits : mapping of str to (int, int)
        Weight terms and activation planes of single layers, by the name of their tensor in the
        prepared model; tensors that must share a grid take the most planes among them.
    input_range : (float, float), optional
        Real values of the network's inputs; taken from the calibration batch if absent. The levels
        are 0 … 255 for a range from 0 on, else -128 … 127; one or two fewer if 255 levels need
        fewer digits.
    weight_scale, act_scale : str
        Scale rules ("dda", "mse", "learned", "range", "percentile") of weights, per output channel
        if ``per_channel``, and of activations; for the methods "esb" and "uniform", which have no
        scale rule of their own.
    weight_method, act_method : str
        Methods (:data:`~sigbit.quant.quantizers.METHODS`) of weights and activations: of ordinary
        layers, and of the tensors between them. Layers that read an input or produce an output, and
        those in ``bits``, keep the accelerator's own grid.
    weight_bits, act_bits : int, optional
        Bits of the methods' level tables; absent for the accelerator's own grid, with "esb". The
        numbers of terms and planes follow from them (``embed``).
    layer_bits : mapping of str to (int, int or None)
        Bits of weights and activations with these methods for single layers, first and last ones
        too, by the name of their tensor; None leaves the activations' bits unchanged.
    given_weights, given_acts : bool
        True if weights and tensors that the float model itself quantizes get the terms and planes
        that hold their integers, unless ``weight_bits``, ``act_bits``, ``bits`` or ``layer_bits``
        say otherwise; else they are quantized like all others.
    """

    weight_format: Format = _WEIGHTS
    act_format: Format = _ACTIVATIONS
    radix_bits: int = 3
    acc_bits: int = 24
    step_bits: int = STEP_BITS
    fraction_bits: int = STEP_FRACTION_BITS
    weight_terms: int = 1
    act_planes: int = 1
    first_last_terms: int | None = None
    residual_terms: int | None = None
    wide_head: bool = True
    bits: Mapping[str, tuple[int, int]] = field(default_factory=lambda: MappingProxyType({}))
    input_range: tuple[float, float] | None = None
    weight_scale: str = "dda"
    act_scale: str = "mse"
    per_channel: bool = True
    weight_method: str = "esb"
    act_method: str = "esb"
    weight_bits: int | None = None
    act_bits: int | None = None
    layer_bits: Mapping[str, tuple[int, int | None]] = field(
        default_factory=lambda: MappingProxyType({})
    )
    given_weights: bool = True
    given_acts: bool = True

    def __post_init__(self) -> None:
        if not self.weight_format.signed:
            raise QuantizationError(f"weight_format must be signed, not {self.weight_format}")
        for name in ("weight_terms", "act_planes", "first_last_terms", "residual_terms"):
            value = getattr(self, name)
            optional = name in ("first_last_terms", "residual_terms")
            if value not in DIGITS and not (optional and value is None):
                raise QuantizationError(f"{name} must be in [1, {MAX_DIGITS}], not {value!r}")
        for name, pair in self.bits.items():
            if len(pair) != 2 or not all(n in DIGITS for n in pair):
                raise QuantizationError(
                    f"bits of {name!r} must be (weight terms, activation planes), each in "
                    f"[1, {MAX_DIGITS}], not {pair!r}"
                )
        try:
            ParamFormat(self.acc_bits, self.step_bits, self.fraction_bits)
        except ValueError as error:
            raise QuantizationError(str(error)) from error
        if self.input_range is not None and not self.input_range[0] < self.input_range[1]:
            raise QuantizationError(
                f"input_range must be (low, high) with low < high, not {self.input_range}"
            )
        scale_rule(self.weight_scale)
        scale_rule(self.act_scale)
        self._check_methods()

    def __deepcopy__(self, memo: dict[int, object]) -> "QuantSpec":
        return self

    def _check_methods(self) -> None:
        side(self.weight_method, "weights", self.weight_bits)
        side(self.act_method, "activations", self.act_bits)
        if both := sorted(set(self.bits) & set(self.layer_bits)):
            raise QuantizationError(f"{both[0]!r} is in bits and in layer_bits: choose one")
        if self.weight_bits is not None:
            self.weight_choice(self.weight_bits)
        for weight_bits, act_bits in self.layer_bits.values():
            self.weight_choice(weight_bits)
            if act_bits is not None:
                side(self.act_method, "activations", act_bits)

    def weight_choice(self, bits: int | None, terms: int | None = None) -> "WeightChoice":
        """Return the quantization and storage of weights of ``bits`` bits; for None, the
        accelerator's own grid of ``terms`` terms. Raise if no sum of terms holds the level
        table."""
        if bits is None:
            terms = self.weight_terms if terms is None else terms
            own = side("esb", "weights", None)
            return WeightChoice(own, self.weight_grid(terms), self.weight_format.bits, terms, 1)
        found = side(self.weight_method, "weights", bits)
        if found.learns_levels:
            fine = self.weight_contiguous(1) >= 1 << (bits + 2)
            terms = 1 if fine or bits <= 2 else 2
            return WeightChoice(found, self.weight_grid(terms), bits, terms, 1)
        levels = found.levels(bits)
        place = embed(levels, map(self.weight_grid, DIGITS))
        if place is None:
            raise QuantizationError(
                f"{self.weight_method!r} with {bits} bits has the levels {levels.values}, which no "
                f"sum of up to {MAX_DIGITS} terms of {self.weight_format} at radix "
                f"2**{self.radix_bits} has: use fewer bits or another weight_format"
            )
        return WeightChoice(found, levels, bits, *place)

    @classmethod
    def from_arch(cls, config: ArchConfig, **changes: Any) -> "QuantSpec":
        """Return the spec with the native formats, radix and accumulators of ``config``;
        ``changes`` are other fields."""
        arch: dict[str, Any] = {
            "weight_format": config.weight_format,
            "act_format": config.act_format,
            "radix_bits": config.term_radix_bits,
            "acc_bits": config.acc_bits,
            "step_bits": config.step_bits,
            "fraction_bits": config.fraction_bits,
        }
        return cls(**(arch | changes))

    @property
    def params(self) -> ParamFormat:
        """Storage format of the accelerator's requantization parameters."""
        return ParamFormat(self.acc_bits, self.step_bits, self.fraction_bits)

    def weight_grid(self, terms: int) -> LevelGrid:
        """Return the levels of weights of ``terms`` terms."""
        return _levels(self.weight_format, self.radix_bits, terms)

    def extra_terms(self, terms: int) -> int:
        """Return the terms of further sources of a layer whose weights have ``terms`` terms."""
        if self.residual_terms is not None:
            return self.residual_terms
        return max(terms, min(self.most_terms, terms + 1))

    def weight_contiguous(self, terms: int) -> int:
        """Return the largest n such that all integers in [-n, n] are weights of ``terms`` terms."""
        return _contiguous(self.weight_format, self.radix_bits, terms)

    def act_contiguous(self, planes: int) -> int:
        """Return the largest n such that all integers in [-n, n] ([0, n] if unsigned) fit
        ``planes`` planes."""
        return _contiguous(self.act_format, self.radix_bits, planes)

    def zero_of(self, levels: LevelGrid, planes: int) -> int:
        """Return the ``zero`` nearest to 0 with which ``planes`` digits store all integers from the
        smallest to the largest level."""
        reach = self.act_contiguous(planes)
        return min(0, levels.min) if not self.act_format.signed else max(0, levels.max - reach)

    def finest_step(self, y_scale: Tensor) -> Tensor:
        """Return the smallest accumulator step for which a step of y, ``y_scale``, stays within the
        requantizer's limits."""
        return y_scale / min(2.0 ** (self.acc_bits - _STEP_ROOM), self.params.step_max / UNIT)

    @property
    def byte_terms(self) -> int:
        """Terms that give weights 8 bits, up to three: further terms of so few bits add little."""
        return min(3, -(-8 // self.weight_format.bits))

    @property
    def most_terms(self) -> int:
        """Number of terms with which weights are as fine as any layer needs."""
        return max(1, min(3, 12 // self.weight_format.bits))

    @cached_property
    def byte_planes(self) -> int:
        """Digits that store 255 integers in a row, symmetric about 0 if the native format is
        signed; 256 from 0 on if it is not."""
        for planes in DIGITS:
            reach = self.act_contiguous(planes)
            if (2 * reach if self.act_format.signed else reach - 1) >= BYTE - 1:
                return planes
        raise QuantizationError(
            f"8-bit tensors are not possible: {MAX_DIGITS} digits of {self.act_format} at radix "
            f"2**{self.radix_bits} do not hold {BYTE} integers in a row"
        )


@cache
def _levels(native: Format, radix_bits: int, terms: int) -> LevelGrid:
    return LevelGrid.of(_term_grid(native, radix_bits, terms))


@cache
def _contiguous(native: Format, radix_bits: int, terms: int) -> int:
    return _term_grid(native, radix_bits, terms).contiguous


def _term_grid(native: Format, radix_bits: int, terms: int) -> TermGrid:
    """Return the grid, if its values are 64-bit integers."""
    width = native.range_bits + radix_bits * (terms - 1) + 1
    if width > 64:
        raise QuantizationError(
            f"{terms} digits of {native} at radix 2**{radix_bits} have values of {width} bits, "
            "more than any accumulator holds: use a format with more significant bits"
        )
    return TermGrid(native, radix_bits, terms)


@dataclass(frozen=True)
class ActGrid:
    """Storage of a tensor: ``level = stored + zero``; ``planes`` digits; ``pre_shift`` (j) and
    ``offset`` relate the levels to the 8-bit pre-activation: ``y = 2**j * level - offset``."""

    levels: LevelGrid
    planes: int
    zero: int
    pre_shift: int
    offset: int

    @property
    def low(self) -> int:
        """Smallest level."""
        return self.levels.min

    @property
    def high(self) -> int:
        """Largest level."""
        return self.levels.max

    @property
    def centre(self) -> float:
        """Position in ``[y, y + 1)`` of the values that y represents: the middle if y is finer than
        levels, as a border between two levels is then a border between two y; else y itself, which
        is the nearest."""
        return 0.5 if self.pre_shift > 0 else 0.0


@dataclass(frozen=True)
class WeightChoice:
    """A method's ``levels`` of ``bits`` bits; ``factor`` times each is a sum of ``terms`` terms."""

    side: Side
    levels: LevelGrid
    bits: int
    terms: int
    factor: int


def method_grid(spec: QuantSpec, bits: int, negative: float) -> ActGrid:
    """Return the grid of a tensor with ``bits`` bits by the spec's ``act_method``; ``negative`` as
    in :func:`act_grid`.

    If the method learns an offset, the grid of functions with a small negative part leaves room for
    it. Tensors from 0 on have the method's level table; its largest level is dropped if one plane
    fewer then suffices (a signed native format has two zeros). Other tensors have the integers, or
    the table's magnitudes of one bit less with both signs.
    """
    found = side(spec.act_method, "activations", bits)
    if negative and found.positive_only:
        raise QuantizationError(
            f"{spec.act_method!r} is defined for values from 0 on, behind a ReLU: choose another "
            "act_method for networks with other tensors"
        )
    if found.learns_levels:
        planes = (
            1 if bits <= 3 or len(LevelGrid.of(spec.act_format).values) >= (1 << bits) - 1 else 2
        )
        return act_grid(spec, 0, planes)
    levels = found.levels(bits)
    if found.room is not None and negative not in (0, 1) and bits < 8:
        levels = found.room(bits)
    elif negative and levels.is_uniform:
        top = max(1, (1 << (bits - 1)) - 1)
        low = -top if negative == 1 else -max(1, round(((1 << bits) - 1) * negative))
        levels = LevelGrid.uniform(low, top if negative == 1 else max(1, (1 << bits) - 1 + low))
    elif negative:
        levels = LevelGrid(found.levels(max(bits - 1, found.bits[0])).magnitudes, True)
    shorter = LevelGrid(levels.magnitudes[:-1], False)
    drops = levels.is_uniform and not levels.signed and levels.max > 2
    for planes in DIGITS:
        table = set(_levels(spec.act_format, spec.radix_bits, planes).values)
        for candidate in (levels, shorter) if drops else (levels,):
            for zero in (0, spec.zero_of(candidate, planes)):
                if all(v - zero in table for v in candidate.values):
                    plain = candidate.signed and candidate.floor is None
                    return _grid(candidate, planes, zero, 0 if plain else -Y_MIN)
    raise QuantizationError(
        f"{spec.act_method!r} with {bits} bits has the levels {levels.values}, which no sum of up "
        f"to {MAX_DIGITS} digits of {spec.act_format} at radix 2**{spec.radix_bits} has: use fewer "
        "bits or another act_format"
    )


def act_grid(spec: QuantSpec, negative: float, planes: int) -> ActGrid:
    """Return the grid of a tensor with ``planes`` digits whose negative values reach ``negative``
    (0, 1/8 or 1) times as far as its positive ones."""
    native = LevelGrid.of(spec.act_format)
    if planes == 1 and not native.is_uniform and (native.signed or not negative):
        if not negative:
            return _grid(LevelGrid(native.magnitudes, False), 1, 0, -Y_MIN)
        return _grid(native, 1, 0, 0)
    reach = spec.act_contiguous(planes)
    total = min(BYTE, 2 * reach if native.signed else reach)
    low = -(-Y_MIN if total == BYTE else total // 2) if negative == 1 else -int(total * negative)
    levels = LevelGrid.uniform(low, low + total)
    return _grid(levels, planes, spec.zero_of(levels, planes), 0 if negative == 1 else -Y_MIN)


def digit_grid(spec: QuantSpec, terms: int) -> ActGrid:
    """Return the grid of a tensor of ``terms`` weight digits: their values, of at most 8 bits."""
    kept = tuple(m for m in spec.weight_grid(terms).magnitudes if m <= Y_MAX)
    return _grid(LevelGrid(kept, True), terms, 0, 0)


def unshifted(spec: QuantSpec, grid: ActGrid) -> ActGrid:
    """Return a grid like ``grid`` whose zero is 0, of one more plane if it would lose levels."""
    if grid.zero == 0 or not spec.act_format.signed:
        return grid
    planes = min(grid.planes + 1, max(grid.planes, spec.byte_planes))
    top = min(BYTE, spec.act_contiguous(planes))
    levels = LevelGrid.uniform(max(grid.low, -top), top if grid.low >= 0 else min(top, Y_MAX))
    return _grid(levels, planes, 0, 0 if -grid.low >= grid.high else -Y_MIN)


def given_grid(spec: QuantSpec, levels: LevelGrid) -> ActGrid | None:
    """Return the grid of a tensor with exactly these ``levels``, at most 256, on the fewest planes;
    None if no number of planes has them."""
    for planes in DIGITS:
        table = set(_levels(spec.act_format, spec.radix_bits, planes).values)
        for zero in (0, spec.zero_of(levels, planes)):
            if all(v - zero in table for v in levels.values):
                plain = levels.signed and levels.floor is None
                return _grid(levels, planes, zero, 0 if plain else -Y_MIN)
    return None


def _grid(levels: LevelGrid, planes: int, zero: int, offset: int) -> ActGrid:
    """Return the grid with as many steps of y per level as the 256 values of y allow."""
    if levels.max - levels.min >= BYTE - 1:
        return ActGrid(levels, planes, zero, 0, 0 if offset == 0 else levels.min - Y_MIN)
    skewed = offset != 0 and levels.min < 0
    room, j = (Y_MAX if offset == 0 else BYTE), 16
    while (levels.max + 0.5 + skewed * (0.5 - levels.min)) * 2.0**j > room:
        j -= 1
    return _with_steps(levels, planes, zero, j, offset)


def _with_steps(levels: LevelGrid, planes: int, zero: int, j: int, offset: int) -> ActGrid:
    """Return the grid with ``2**j`` steps of y per level; ``offset`` applies to any number of steps
    unless levels reach below 0."""
    if offset != 0 and levels.min < 0:
        offset = levels.min * 2**j - 2**j // 2 - Y_MIN
    return ActGrid(levels, planes, zero, j, offset)
