"""The product of two magnitudes: a truth table if that is small, else a multiplication of
significands and a shift."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from amaranth.hdl import Cat, Const, Module, Mux, Signal, Value
from amaranth.lib import wiring
from amaranth.lib.wiring import In, Out

from sigbit_hw.arch.formats import EsbFormat, Format
from sigbit_hw.gateware.fabric import xcup
from sigbit_hw.gateware.fabric.kinds import Fabric
from sigbit_hw.gateware.parts.pipeline import delay

TABLE_INPUT_BITS = 8
"""Maximum total number of magnitude bits of both factors for a product by truth table."""

LINEAR_TABLE_INPUT_BITS = 6
"""The same for two fixed-point factors, whose multiplication needs no shift."""

SHIFT_BITS = 3
"""Bits of a shift per stage."""


def truth_table(index: Value, function: Callable[[int], int], width: int) -> Value:
    """``function(index)`` as one table for each of ``width`` bits."""
    results = [function(i) for i in range(1 << len(index))]
    return Cat(
        Const(sum((r >> bit & 1) << i for i, r in enumerate(results)), len(results)).bit_select(
            index, 1
        )
        for bit in range(width)
    )


class Factor:
    """Decomposition of a magnitude field: ``magnitude == significand << shift``.

    A fixed-point magnitude is its own significand. In other ESB formats, the significand has ``frac
    + 1`` bits. Levels are split into odd numbers and shifts if that makes the significand at least
    two bits narrower than the magnitude.

    Attributes
    ----------
    significands, shifts : tuple of int
        The values of every field.
    linear : bool
        True if the significand is the field itself.
    """

    def __init__(self, fmt: Format) -> None:
        self.fmt = fmt
        magnitudes = fmt.magnitudes
        self.significands, self.shifts = magnitudes, (0,) * len(magnitudes)
        if isinstance(fmt, EsbFormat):
            if fmt.exponent_bits > 1:
                self.shifts = tuple(max((f >> fmt.frac) - 1, 0) for f in range(len(magnitudes)))
                self.significands = tuple(
                    m >> s for m, s in zip(magnitudes, self.shifts, strict=True)
                )
        else:
            shifts = tuple(max((m & -m).bit_length() - 1, 0) for m in magnitudes)
            odd = tuple(m >> s for m, s in zip(magnitudes, shifts, strict=True))
            if max(odd).bit_length() + 2 <= fmt.range_bits:
                self.significands, self.shifts = odd, shifts
        self.linear = self.significands == tuple(range(len(magnitudes)))

    @property
    def bits(self) -> int:
        """Width of the significand."""
        return max(self.significands).bit_length()

    @property
    def shift_bits(self) -> int:
        """Width of the shift; 0 if it is always 0."""
        return max(self.shifts).bit_length()

    def split(self, field: Value) -> tuple[Value, Value]:
        """(significand, shift) of a field, in plain RTL."""
        fmt = self.fmt
        if self.linear:
            return field, Const(0, 0)
        if isinstance(fmt, EsbFormat):
            mantissa, exponent = field[: fmt.frac], field[fmt.frac :]
            shift = Mux(exponent.any(), exponent - 1, 0)[: self.shift_bits]
            return Cat(mantissa, exponent.any()), shift
        return (
            truth_table(field, lambda f: self.significands[f], self.bits),
            truth_table(field, lambda f: self.shifts[f], self.shift_bits),
        )


def multiplied_by_table(a_bits: int, b_bits: int) -> bool:
    """True if a :class:`Multiplier` is a table or an AND."""
    return a_bits + b_bits <= LINEAR_TABLE_INPUT_BITS or min(a_bits, b_bits) == 1


def multiplier_latency(a_bits: int, b_bits: int) -> int:
    """Cycles of a :class:`Multiplier`: 1 for the table or for the pairs of rows, and 1 for each
    level of the tree."""
    rows = (min(a_bits, b_bits) + 1) // 2
    return 1 if multiplied_by_table(a_bits, b_bits) else 1 + (rows - 1).bit_length()


class Multiplier(wiring.Component):
    """The product of two unsigned numbers, :func:`multiplier_latency` cycles later.

    A table for up to six input bits, an AND for a one-bit factor; else the rows of the narrower
    factor are added in pairs, and the pair sums by a tree with registers.

    Members
    -------
    ``a : In(a_bits)``, ``b : In(b_bits)``
    ``product : Out(a_bits + b_bits)``
        Their product.
    """

    def __init__(self, a_bits: int, b_bits: int) -> None:
        super().__init__({"a": In(a_bits), "b": In(b_bits), "product": Out(a_bits + b_bits)})

    def elaborate(self, platform: object) -> Module:
        m = Module()
        wide, narrow = (self.a, self.b) if len(self.a) >= len(self.b) else (self.b, self.a)
        width = len(self.product)
        if multiplied_by_table(len(wide), len(narrow)):
            product = Signal(width, reset_less=True)
            if len(narrow) == 1:
                m.d.sync += product.eq(wide & narrow.replicate(len(wide)))
            elif platform is Fabric.XCUP:
                values = [(i & (1 << len(wide)) - 1) * (i >> len(wide)) for i in range(1 << width)]
                m.d.sync += product.eq(
                    Cat(
                        xcup.tables(
                            m,
                            "product",
                            [
                                xcup.Table(
                                    tuple(Cat(wide, narrow)), tuple(v >> bit & 1 for v in values)
                                )
                                for bit in range(width)
                            ],
                        )
                    )
                )
            else:
                m.d.sync += product.eq(wide * narrow)
            m.d.comb += self.product.eq(product)
        elif platform is Fabric.XCUP:
            m.d.comb += self.product.eq(
                xcup.multiply(m, wide, narrow, multiplier_latency(len(wide), len(narrow)))
            )
        else:
            rows: list[Value] = []
            for k in range(0, len(narrow), 2):
                row = Signal(len(wide) + 2, name=f"row_{k}", reset_less=True)
                pair = [wide & bit.replicate(len(wide)) for bit in narrow[k : k + 2]]
                m.d.sync += row.eq(pair[0] + (pair[1] << 1) if len(pair) == 2 else pair[0])
                rows.append(row)
            step = 2
            while len(rows) > 1:
                level = []
                for k in range(0, len(rows), 2):
                    terms = rows[k : k + 2]
                    row = Signal(
                        min(len(wide) + 2 * step, width), name=f"sum_{step}_{k}", reset_less=True
                    )
                    m.d.sync += row.eq(
                        terms[0] + (terms[1] << step) if len(terms) == 2 else terms[0]
                    )
                    level.append(row)
                rows, step = level, 2 * step
            m.d.comb += self.product.eq(rows[0])
        return m


@dataclass(frozen=True)
class ProductForm:
    """Method of multiplying two magnitudes: by a truth table of both fields, else in stages: decode
    (unless both are fixed point), multiply significands, shift.

    Parameters
    ----------
    weight_format, act_format : Format
        Formats; the sign bit is ignored.
    """

    weight_format: Format
    act_format: Format

    @cached_property
    def factors(self) -> tuple[Factor, Factor]:
        """Decompositions of both magnitudes."""
        return Factor(self.weight_format), Factor(self.act_format)

    @property
    def fields(self) -> tuple[int, int]:
        """Total number of bits of both magnitude fields."""
        return self.weight_format.magnitude_bits, self.act_format.magnitude_bits

    @property
    def max(self) -> int:
        """The largest product."""
        return self.weight_format.max * self.act_format.max

    @property
    def bits(self) -> int:
        """Width of the largest product."""
        return self.max.bit_length()

    @property
    def linear(self) -> bool:
        """True if both formats are fixed point."""
        return all(factor.linear for factor in self.factors)

    @property
    def by_table(self) -> bool:
        """True if the product is a truth table of both fields."""
        return sum(self.fields) <= (LINEAR_TABLE_INPUT_BITS if self.linear else TABLE_INPUT_BITS)

    @property
    def max_shift(self) -> int:
        """Largest shift of a product of significands."""
        return sum(max(factor.shifts) for factor in self.factors)

    @property
    def latency(self) -> int:
        """Cycles from fields to product."""
        if self.by_table:
            return 1
        shift_stages = -(-self.max_shift.bit_length() // SHIFT_BITS)
        return (
            (not self.linear)
            + multiplier_latency(*(factor.bits for factor in self.factors))
            + shift_stages
        )

    def value(self, index: int) -> int:
        """The product for ``index``: the weight's field, and above it the activation's."""
        weights = self.weight_format.magnitudes
        return weights[index % len(weights)] * self.act_format.magnitudes[index // len(weights)]


class Product(wiring.Component):
    """The product of two magnitudes, in LSBs of both formats.

    Members
    -------
    ``weight : In(weight_format.magnitude_bits)``, ``act : In(act_format.magnitude_bits)``
        Magnitude fields.
    ``product : Out(form.bits)``
        The product of ``form.latency`` cycles ago.
    """

    def __init__(self, form: ProductForm) -> None:
        self.form = form
        weight_bits, act_bits = form.fields
        super().__init__(
            {"weight": In(weight_bits), "act": In(act_bits), "product": Out(form.bits)}
        )

    def elaborate(self, platform: object) -> Module:
        m, form = Module(), self.form
        if form.by_table:
            table = Signal.like(self.product, name="table", reset_less=True)
            m.d.sync += table.eq(truth_table(Cat(self.weight, self.act), form.value, form.bits))
            m.d.comb += self.product.eq(table)
            return m
        widths = [factor.bits for factor in form.factors]
        m.submodules.multiplier = multiplier = Multiplier(*widths)
        shifts: list[Value] = []
        for factor, field, port, name in zip(
            form.factors,
            (self.weight, self.act),
            (multiplier.a, multiplier.b),
            ("weight", "act"),
            strict=True,
        ):
            significand, shift = factor.split(field)
            wait = 0 if form.linear else 1
            m.d.comb += port.eq(delay(m, significand, wait, f"significand_{name}"))
            shifts.append(delay(m, shift, wait, f"shift_{name}"))
        product: Value = multiplier.product
        bits = form.max_shift.bit_length()
        if bits:
            total = Signal(bits, name="shift", reset_less=True)
            m.d.sync += total.eq(shifts[0] + shifts[1])
            shift = delay(m, total, multiplier_latency(*widths) - 1, "shift")
            for low in range(0, bits, SHIFT_BITS):
                shifted = Signal(len(self.product), name=f"shifted_{low}", reset_less=True)
                amount = shift[low : low + SHIFT_BITS]
                m.d.sync += shifted.eq(product << (amount << low))
                product, shift = shifted, delay(m, shift, 1, f"shift_{low}")
        m.d.comb += self.product.eq(product)
        return m
