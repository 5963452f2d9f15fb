"""QuantSpec: what a network is quantized to."""

from dataclasses import dataclass
from functools import cache, cached_property

from sigbit.quant.errors import QuantizationError
from sigbit.quant.grid import LevelGrid
from sigbit.quant.scales import scale_rule
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import EsbFormat, TermGrid
from sigbit_hw.arch.numerics import Y_MAX, Y_MIN

BYTE = Y_MAX - Y_MIN
"""Largest value of an unsigned 8-bit tensor."""
_WEIGHTS, _ACTIVATIONS = EsbFormat(4, 1), EsbFormat(4, 2)


@dataclass(frozen=True)
class QuantSpec:
    """Formats, terms and scale rules; :meth:`from_arch` fits them to an accelerator.

    Parameters
    ----------
    weight_format, act_format : EsbFormat
        Native formats of the array.
    radix_bits : int
        Bits between the digit weights of tensors and weights of several terms.
    acc_bits : int
        Width of the accumulators, which no layer may overflow.
    first_last_terms : int
        Terms of the weights of layers that read an input or produce an output (2: about 8 bits).
    residual_terms : int
        Terms of the weights of every further source that is added into a layer's accumulators.
    wide_head : bool
        Give the tensors that only layers producing an output read 8 bits instead of the native
        format.
    input_range : (float, float), optional
        Real values of the network's inputs; taken from the calibration batch if absent. The stored
        integers are 0 … 255 for a range from 0 on, else -128 … 127.
    weight_scale, act_scale : str
        Scale rules ("dda", "mse", "learned", "range") of weights, per output channel if
        ``per_channel``, and of activations.
    """

    weight_format: EsbFormat = _WEIGHTS
    act_format: EsbFormat = _ACTIVATIONS
    radix_bits: int = 3
    acc_bits: int = 24
    first_last_terms: int = 2
    residual_terms: int = 2
    wide_head: bool = True
    input_range: tuple[float, float] | None = None
    weight_scale: str = "dda"
    act_scale: str = "mse"
    per_channel: bool = True

    def __post_init__(self) -> None:
        if not self.weight_format.signed:
            raise QuantizationError(f"weight_format must be signed, not {self.weight_format}")
        for name in ("first_last_terms", "residual_terms"):
            if not 1 <= getattr(self, name) <= 3:
                raise QuantizationError(f"{name} must be in [1, 3], not {getattr(self, name)!r}")
        if not 16 <= self.acc_bits <= 32:
            raise QuantizationError(f"acc_bits must be in [16, 32], not {self.acc_bits!r}")
        if self.input_range is not None and not self.input_range[0] < self.input_range[1]:
            raise QuantizationError(
                f"input_range must be (low, high) with low < high, not {self.input_range}"
            )
        scale_rule(self.weight_scale)
        scale_rule(self.act_scale)

    @classmethod
    def from_arch(cls, config: ArchConfig, **changes: object) -> "QuantSpec":
        """The spec with the native formats, radix and accumulators of ``config``; ``changes`` are
        other fields.
        """
        arch = {
            "weight_format": config.weight_format,
            "act_format": config.act_format,
            "radix_bits": config.term_radix_bits,
            "acc_bits": config.acc_bits,
        }
        return cls(**(arch | changes))  # type: ignore[arg-type]

    def weight_grid(self, terms: int) -> LevelGrid:
        """Levels of weights of ``terms`` terms."""
        return _levels(self.weight_format, self.radix_bits, terms)

    def weight_contiguous(self, terms: int) -> int:
        """Largest n such that all integers in [-n, n] are weights of ``terms`` terms."""
        return _contiguous(self.weight_format, self.radix_bits, terms)

    @cached_property
    def byte_planes(self) -> int:
        """Digits that store every integer in [-128, 255] (or [0, 255] where the native format is
        unsigned).
        """
        for planes in (1, 2, 3):
            if _contiguous(self.act_format, self.radix_bits, planes) >= BYTE:
                return planes
        raise QuantizationError(
            f"8-bit tensors are not possible: three digits of {self.act_format} at radix "
            f"2**{self.radix_bits} do not hold every integer up to {BYTE}"
        )


@cache
def _levels(native: EsbFormat, radix_bits: int, terms: int) -> LevelGrid:
    return LevelGrid.of(TermGrid(native, radix_bits, terms))


@cache
def _contiguous(native: EsbFormat, radix_bits: int, terms: int) -> int:
    return TermGrid(native, radix_bits, terms).contiguous


@dataclass(frozen=True)
class ActGrid:
    """How a tensor is stored: ``level = stored + zero``; ``planes`` digits; ``pre_shift`` (j)
    relates the levels to the 8-bit pre-activation: one level is ``2**j`` steps of y, counted from
    ``-offset``.
    """

    levels: LevelGrid
    planes: int
    zero: int
    pre_shift: int
    low: int
    high: int

    @property
    def offset(self) -> int:
        """128 where negative values are cut off anyway, so that y serves the positive ones with all
        its range.
        """
        return -Y_MIN if self.low == 0 else 0

    @property
    def wide(self) -> bool:
        """Whether the tensor stores y itself."""
        return self.planes > 1


def act_grid(spec: QuantSpec, nonnegative: bool, wide: bool) -> ActGrid:
    """The grid of a tensor: native, or 8 bits (y itself) if ``wide``."""
    if wide:
        low, high = (0, BYTE) if nonnegative else (Y_MIN, Y_MAX)
        if low < 0 and not spec.act_format.signed:
            raise QuantizationError(
                f"a tensor with negative values needs a signed act_format, not {spec.act_format}"
            )
        return ActGrid(LevelGrid.uniform(low, high), spec.byte_planes, 0, 0, low, high)
    native = LevelGrid.of(spec.act_format)
    if nonnegative and native.signed and native.is_uniform:
        zero, levels = native.max, LevelGrid.uniform(0, 2 * native.max)
    elif nonnegative:
        zero, levels = 0, LevelGrid(native.magnitudes, False)
    elif native.signed:
        zero, levels = 0, native
    else:
        raise QuantizationError(
            f"a tensor with negative values needs a signed act_format, not {spec.act_format}"
        )
    room, j = (BYTE if nonnegative else Y_MAX), 16
    while (levels.max + 0.5) * 2.0**j > room:
        j -= 1
    return ActGrid(levels, 1, zero, j, levels.min, levels.max)
