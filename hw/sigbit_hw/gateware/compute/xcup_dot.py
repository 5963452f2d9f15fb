"""The dot product made of UltraScale+ cells.

A signed product is its magnitude, inverted if it is negative, below an inverted sign bit: an
unsigned number that is 2**n too large, for n bits of magnitude. Therefore no adder extends signs,
and for a power of two of lanes the total excess is the top bit of the sum. The missing +1 of
negative products are carries of adders; every tree has one adder less than it has lanes.

If the inversion fits into the product's LUTs, products are *complete*, and the tree adds three
numbers at a time from its first level on. Otherwise an adder's LUTs invert them (they are *raw*):
both of a pair, or one of three. A search selects the adders of each level.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum
from functools import cache

from amaranth.hdl import Cat, Const, Module, Signal, Value

from sigbit_hw.gateware.fabric.xcup import (
    LUT_INPUTS,
    Row,
    Table,
    pack,
    register,
    register_sum,
    tables,
)
from sigbit_hw.gateware.parts.pipeline import delay
from sigbit_hw.gateware.parts.product import Product, ProductForm


@dataclass(frozen=True)
class Lane:
    """The operands of one product: magnitude fields, and one or two sign bits."""

    weight: Value
    act: Value
    signs: tuple[Value, ...]


class Inversion(Enum):
    """Place where negative products are inverted."""

    RAW = "raw"
    """In the tree."""
    DIRECT = "direct"
    """In the product's tables, which have both sign bits as inputs."""
    LATE = "late"
    """In the product's tables, one cycle later: their input is the product's sign."""


@dataclass(frozen=True)
class Level:
    """Number of adders of one level by their operands: r for a raw product, c for a complete
    number."""

    rr: int
    ccr: int
    ccc: int
    cc: int
    cr: int

    def after(self, raw: int, complete: int) -> tuple[int, int]:
        """Raw and complete numbers after the level."""
        adders = self.rr + self.ccr + self.ccc + self.cc + self.cr
        return (
            raw - 2 * self.rr - self.ccr - self.cr,
            complete - 2 * self.ccr - 3 * self.ccc - 2 * self.cc - self.cr + adders,
        )

    def luts(self, bits: float) -> float:
        """Estimate of the LUTs for complete numbers of ``bits`` bits."""
        return (self.rr + self.cc + self.cr) * bits + (self.ccr + self.ccc) * (bits + 1)


@dataclass(frozen=True)
class Plan:
    """A tree: its levels and an estimate of its LUTs."""

    luts: float
    levels: tuple[Level, ...] = ()


@cache
def plan(raw: int, complete: int, depth: int, bits: int, level: int = 1) -> Plan | None:
    """The cheapest tree of at most ``depth`` levels for products of ``bits`` bits, or None if there
    is none.

    Numbers are estimated to grow by 1.5 bits per level. A raw product that waits for two levels
    costs one shift register per bit.
    """
    if raw + complete == 1:
        return Plan(0) if complete else None
    if raw + complete > 3**depth:
        return None
    best: Plan | None = None
    for rr in range(raw // 2 + 1):
        for ccr in range(min(raw - 2 * rr, complete // 2) + 1):
            ccc, rest = divmod(complete - 2 * ccr, 3)
            for cc, cr in ((0, 0), (rest // 2, 0), (0, min(rest, 1, raw - 2 * rr - ccr))):
                adders = Level(rr, ccr, ccc, cc, cr)
                waiting, numbers = adders.after(raw, complete)
                rest_plan = plan(waiting, numbers, depth - 1, bits, level + 1)
                if rest_plan is None:
                    continue
                luts = adders.luts(bits + 1.5 * (level - 1)) + rest_plan.luts
                luts += waiting * bits if level > 1 else 0
                if best is None or luts < best.luts:
                    best = Plan(luts, (adders, *rest_plan.levels))
    return best


class Products:
    """Products of all lanes as rows of the tree, and their signs.

    Attributes
    ----------
    complete : bool
        True if the rows are inverted already.
    stages : int
        Cycles from codes to rows.
    """

    def __init__(self, form: ProductForm, signs: int, inversion: Inversion) -> None:
        self.form, self.signs, self.inversion = form, signs, inversion
        self.complete = inversion is not Inversion.RAW
        self.stages = {Inversion.RAW: form.latency, Inversion.DIRECT: 1, Inversion.LATE: 2}[
            inversion
        ]

    @property
    def inputs(self) -> int:
        """Inputs of the table of one product bit."""
        return (
            sum(self.form.fields)
            + {Inversion.RAW: 0, Inversion.DIRECT: self.signs, Inversion.LATE: 1}[self.inversion]
        )

    @property
    def possible(self) -> bool:
        """True if this form exists for these formats."""
        if self.inversion is Inversion.RAW:
            return True
        return self.inputs <= LUT_INPUTS and (self.inversion is Inversion.DIRECT or self.signs > 1)

    @property
    def by_cells(self) -> bool:
        """True if each bit is a table that fits one cell."""
        return self.form.by_table and self.inputs <= LUT_INPUTS

    def tables(self, inputs: Sequence[Value]) -> list[Table]:
        """Tables of the product's bits; signs are the last inputs."""
        fields = sum(self.form.fields)
        rows = [
            self.form.value(i & (1 << fields) - 1) ^ -((i >> fields).bit_count() & 1)
            for i in range(1 << len(inputs))
        ]
        return [
            Table(tuple(inputs), tuple(row >> bit & 1 for row in rows))
            for bit in range(self.form.bits)
        ]

    def luts(self) -> float:
        """LUTs per lane, except those for the sign."""
        if not self.by_cells:
            return 0  # the same for all forms: there is one
        given = [Signal() for _ in range(self.inputs)]
        return len(pack([table.reduced for table in self.tables(given)]))

    def build(self, m: Module, lanes: Sequence[Lane]) -> tuple[list[Row], list[Value]]:
        """Return (rows, signs of the products), :attr:`stages` cycles after the codes."""
        signs: list[Value] = [lane.signs[0] for lane in lanes]
        sign_tables = [
            Table.of(lambda a, b: a ^ b, *lane.signs) for lane in lanes if len(lane.signs) == 2
        ]
        if not self.by_cells:
            if sign_tables:
                signs = tables(m, "sign", sign_tables)
            fields = []
            for k, lane in enumerate(lanes):
                m.submodules[f"product_{k}"] = product = Product(self.form)
                m.d.comb += [product.weight.eq(lane.weight), product.act.eq(lane.act)]
                fields.append(product.product)
            return self._rows(m, fields, signs, self.stages)
        if self.inversion is Inversion.LATE:
            signs = [
                delay(m, sign, 1, f"sign_{k}", reset=True)
                for k, sign in enumerate(tables(m, "sign", sign_tables))
            ]
            lanes = [
                Lane(
                    delay(m, lane.weight, 1, f"weight_{k}"),
                    delay(m, lane.act, 1, f"act_{k}"),
                    (signs[k],),
                )
                for k, lane in enumerate(lanes)
            ]
            sign_tables = []
        outputs = [
            table
            for lane in lanes
            for table in self.tables(
                [*lane.weight, *lane.act, *(lane.signs if self.complete else ())]
            )
        ]
        bits = tables(m, "product", [*outputs, *sign_tables])
        signs = bits[len(outputs) :] or signs
        fields = []
        for k in range(len(lanes)):
            field = Signal(self.form.bits, name=f"product_{k}", reset_less=True)
            m.d.sync += field.eq(Cat(bits[k * self.form.bits : (k + 1) * self.form.bits]))
            fields.append(field)
        return self._rows(m, fields, signs, 1)

    def _rows(
        self, m: Module, fields: Sequence[Value], signs: Sequence[Value], wait: int
    ) -> tuple[list[Row], list[Value]]:
        signs = [delay(m, sign, wait, f"negative_{k}", reset=True) for k, sign in enumerate(signs)]
        top = (1 << self.form.bits) + self.form.max
        if self.complete:
            return [
                Row((*field, sign), top, inverted=1 << self.form.bits)
                for field, sign in zip(fields, signs, strict=True)
            ], list(signs)
        return [
            Row((*field, Const(1, 1)), top, sign=sign)
            for field, sign in zip(fields, signs, strict=True)
        ], list(signs)


def choose(form: ProductForm, signs: int, lanes: int, latency: int) -> tuple[Products, Plan]:
    """The cheapest form of products, and its tree."""
    best: tuple[float, Products, Plan] | None = None
    for inversion in Inversion:
        products = Products(form, signs, inversion)
        if not products.possible:
            continue
        raw, complete = (0, lanes) if products.complete else (lanes, 0)
        tree = plan(raw, complete, latency - products.stages, form.bits + 1)
        if tree is not None:
            luts = tree.luts + lanes * products.luts()
            if best is None or luts < best[0]:
                best = luts, products, tree
    assert best is not None, "pairs in every level are always possible"
    return best[1:]


def dot_product(
    m: Module, form: ProductForm, lanes: Sequence[Lane], width: int, latency: int
) -> tuple[Value, Value]:
    """(``dot`` in ``width`` bits, ``carry``) of a dot product of two or more lanes, ``latency``
    cycles after the operands, as defined by :class:`~sigbit_hw.gateware.compute.mac.DotProduct`."""
    products, tree = choose(form, len(lanes[0].signs), len(lanes), latency)
    rows, signs = products.build(m, lanes)
    carry = delay(m, signs[-1], latency - products.stages, "carry", reset=True)
    pending = signs[:-1]
    raw, complete = ([], rows) if products.complete else (rows, [])
    for number, level in enumerate(tree.levels, 1):
        last = sum(level.after(len(raw), len(complete))) == 1
        raw, complete, sums = list(raw), sorted(complete, key=lambda row: row.max), []
        for kind in ("rr", "cr", "cc", "ccr", "ccc"):
            for k in range(getattr(level, kind)):
                terms = [(raw if which == "r" else complete).pop(0) for which in kind]
                carries = [pending.pop(0) for _ in range(len(terms) - 1)]
                sums.append(
                    register_sum(
                        m,
                        f"sum_{number}_{kind}_{k}",
                        terms,
                        carries,
                        width=width if last else None,
                        flip_top=last,
                    )
                )
        raw = [register(m, f"raw_{number}_{k}", row) for k, row in enumerate(raw)]
        complete = sums + [register(m, f"kept_{number}_{k}", row) for k, row in enumerate(complete)]
        pending = [
            delay(m, sign, 1, f"pending_{number}_{k}", reset=True) for k, sign in enumerate(pending)
        ]
    assert not pending
    (total,) = complete
    wait = latency - products.stages - len(tree.levels)
    return delay(m, Cat(total.bits), wait, "dot"), carry
