"""Tables and adders made of UltraScale+ cells: LUT6_2 and CARRY8.

A LUT6_2 is two tables of the same five inputs, or one of six. In an adder it computes a position's
*propagate* bit and the input of the carry chain for when that is 0, so that gates in front of the
adder cost nothing as long as five inputs are enough. Three numbers are added at the cost of two: a
position's LUT also computes the majority of its three bits, which is an input of the next position.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import product

from amaranth.hdl import Cat, Const, Instance, Module, Signal, Value
from amaranth.hdl._ast import Slice

LUT_INPUTS = 6
SHARED_INPUTS = 5
"""Inputs shared by the two tables of one cell."""


@dataclass(frozen=True)
class Table:
    """One bit as a function of other bits.

    Attributes
    ----------
    inputs : tuple of Value
        Bits, the first the least significant of the index.
    rows : tuple of int
        The bit for every index.
    """

    inputs: tuple[Value, ...]
    rows: tuple[int, ...]

    def __post_init__(self) -> None:
        if len(self.rows) != 1 << len(self.inputs):
            raise ValueError(
                f"a table of {len(self.inputs)} inputs must have "
                f"{1 << len(self.inputs)} rows, not {len(self.rows)}"
            )

    @classmethod
    def of(cls, function: Callable[..., int], *inputs: Value) -> "Table":
        """The table of a function of bits."""
        rows = (function(*bits[::-1]) & 1 for bits in product((0, 1), repeat=len(inputs)))
        return cls(inputs, tuple(rows))

    @property
    def reduced(self) -> "Table":
        """The same table without the inputs that it does not depend on."""
        for k in range(len(self.inputs)):
            low = tuple(row for i, row in enumerate(self.rows) if not i >> k & 1)
            if low == tuple(row for i, row in enumerate(self.rows) if i >> k & 1):
                return Table(self.inputs[:k] + self.inputs[k + 1 :], low).reduced
        return self


def _init(table: Table, inputs: Sequence[Value]) -> int:
    """Initial contents of a LUT with these inputs."""
    index = [_position(inputs, value) for value in table.inputs]
    init = 0
    for i in range(1 << len(inputs)):
        row = sum((i >> position & 1) << k for k, position in enumerate(index))
        init |= table.rows[row] << i
    return init


def _key(value: Value) -> object:
    """Key under which bits are equal if they are the same bit of the same signal."""
    return (_key(value.value), value.start, value.stop) if isinstance(value, Slice) else id(value)


def _position(inputs: Sequence[Value], value: Value) -> int:
    return [_key(given) for given in inputs].index(_key(value))


def _union(*tables: Table) -> list[Value]:
    return list({_key(value): value for table in tables for value in table.inputs}.values())


def lut(m: Module, name: str, table: Table) -> Value:
    """The bit of one table of up to six inputs."""
    out = Signal(name=name)
    inputs = list(table.inputs)
    m.submodules[name] = Instance(
        f"LUT{max(len(inputs), 1)}",
        p_INIT=Const(_init(table, inputs or [Const(0)]), 1 << max(len(inputs), 1)),
        **{f"i_I{k}": value for k, value in enumerate(inputs or [Const(0)])},
        o_O=out,
    )
    return out


def lut_pair(m: Module, name: str, six: Table, five: Table) -> tuple[Value, Value]:
    """The bits of two tables (outputs O6 and O5) of five inputs together."""
    inputs = _union(six, five)
    if len(inputs) > SHARED_INPUTS:
        raise ValueError(f"a LUT6_2 has {SHARED_INPUTS} inputs for two tables, not {len(inputs)}")
    inputs += [Const(0)] * (SHARED_INPUTS - len(inputs))
    o6, o5 = Signal(name=f"{name}_o6"), Signal(name=f"{name}_o5")
    m.submodules[name] = Instance(
        "LUT6_2",
        p_INIT=Const(_init(six, inputs) << 32 | _init(five, inputs), 64),
        **{f"i_I{k}": value for k, value in enumerate(inputs)},
        i_I5=Const(1, 1),
        o_O6=o6,
        o_O5=o5,
    )
    return o6, o5


def pack(outputs: Sequence[Table]) -> list[tuple[int, ...]]:
    """Group tables, by their positions, into cells of one or two."""
    inputs = [{_key(value) for value in table.inputs} for table in outputs]
    cells: list[tuple[int, ...]] = []
    left = sorted(range(len(outputs)), key=lambda k: -len(outputs[k].inputs))
    while left:
        first = left.pop(0)
        partner = next((k for k in left if len(inputs[first] | inputs[k]) <= SHARED_INPUTS), None)
        cells.append((first,) if partner is None else (first, partner))
        left = [k for k in left if k != partner]
    return cells


def tables(m: Module, name: str, outputs: Sequence[Table]) -> list[Value]:
    """Bits of all ``outputs``, each of up to six inputs; two share a cell if five inputs are enough
    for both."""
    reduced = [table.reduced for table in outputs]
    bits: dict[int, Value] = {}
    for cell in pack(reduced):
        label = "_".join([name, *map(str, cell)])
        if len(cell) == 1:
            bits[cell[0]] = lut(m, label, reduced[cell[0]])
        else:
            bits[cell[0]], bits[cell[1]] = lut_pair(m, label, *(reduced[k] for k in cell))
    return [bits[k] for k in range(len(outputs))]


@dataclass(frozen=True)
class Row:
    """An unsigned number in an adder.

    Attributes
    ----------
    bits : tuple of Value
        Bits, least significant first; None where there is none.
    max : int
        Largest value.
    sign : Value, optional
        If 1, all existing bits count inverted.
    inverted : int
        Positions of bits that always count inverted.
    gate : Value, optional
        If 0, all bits count as 0; not together with ``sign``.
    """

    bits: tuple[Value | None, ...]
    max: int
    sign: Value | None = None
    inverted: int = 0
    gate: Value | None = None

    def operand(self, position: int) -> Table | None:
        """The effective bit at a position, None beyond the row's bits."""
        bit = self.bits[position] if position < len(self.bits) else None
        if bit is None:
            return None
        invert = self.inverted >> position & 1
        if isinstance(bit, Const):
            invert, bit = invert ^ bit.value, self.sign
            return Table((), (invert,)) if bit is None else Table.of(lambda b: b ^ invert, bit)
        if self.sign is not None:
            return Table.of(lambda b, s: b ^ s ^ invert, bit, self.sign)
        if self.gate is not None:
            return Table.of(lambda b, g: b & g ^ invert, bit, self.gate)
        return Table.of(lambda b: b ^ invert, bit)


def _combine(function: Callable[[list[int]], int], operands: Sequence[Table]) -> Table:
    """The table of ``function`` of bits that are tables themselves."""
    inputs = _union(*operands)
    index = [[_position(inputs, value) for value in table.inputs] for table in operands]
    rows = []
    for i in range(1 << len(inputs)):
        rows.append(
            function(
                [
                    table.rows[
                        sum((i >> position & 1) << k for k, position in enumerate(positions))
                    ]
                    for table, positions in zip(operands, index, strict=True)
                ]
            )
            & 1
        )
    return Table(tuple(inputs), tuple(rows))


def chain(
    m: Module, name: str, propagate: Sequence[Value], data: Sequence[Value], carry: Value
) -> list[Value]:
    """Sum bits of a carry chain, followed by its carry."""
    sums: list[Value] = []
    for k in range(0, len(propagate), 8):
        count = min(8, len(propagate) - k)
        o, co = Signal(8, name=f"{name}_o_{k}"), Signal(8, name=f"{name}_co_{k}")
        padding = [Const(0, 1)] * (8 - count)
        m.submodules[f"{name}_{k}"] = Instance(
            "CARRY8",
            p_CARRY_TYPE="SINGLE_CY8",
            i_CI=carry,
            i_CI_TOP=Const(0, 1),
            i_S=Cat(*propagate[k : k + 8], *padding),
            i_DI=Cat(*data[k : k + 8], *padding),
            o_O=o,
            o_CO=co,
        )
        sums += [o[j] for j in range(count)]
        carry = co[count - 1]
    return [*sums, carry]


def add(
    m: Module,
    name: str,
    rows: Sequence[Row],
    carries: Sequence[Value] = (),
    *,
    width: int | None = None,
    flip_top: bool = False,
) -> list[Value]:
    """Sum of two or three rows and of a number of single bits up to one less than the number of
    rows.

    One LUT per position. Of three rows, at most one may have a sign or a gate; of two, both.

    Parameters
    ----------
    width : int, optional
        Number of sum bits required; all by default.
    flip_top : bool
        Invert the highest of them.
    """
    assert len(carries) < len(rows) <= 3
    width = (sum(row.max for row in rows) + len(carries)).bit_length() if width is None else width
    carry = carries[0] if carries else Const(0, 1)
    majority: Value | None = carries[1] if len(carries) > 1 else None
    propagate: list[Value] = []
    data: list[Value] = []
    passed: list[Value] = []
    top = width - 1
    for i in range(width):
        operands = [operand for row in rows if (operand := row.operand(i)) is not None]
        if not operands and not (carries or propagate):
            passed.append(Const(0, 1))
            continue
        if not operands and majority is None and not (flip_top and i == top):
            break
        alone = len(operands) == 1 and not (carries or propagate)
        if alone and i < top and operands[0].rows == (0, 1):
            passed.append(operands[0].inputs[0])
            continue
        over = Table.of(lambda b: b, majority) if majority is not None else None
        flip = flip_top and i == top
        total = _combine(
            lambda bits, flip=flip: sum(bits) ^ flip,  # type: ignore[misc]
            operands if over is None else [*operands, over],
        )
        if len(rows) == 2:
            first = operands[0] if operands else Table((), (0,))
            p, d = lut_pair(m, f"{name}_lut_{i}", total, first)
        elif len(operands) > 1 and i < top:
            p, next_majority = lut_pair(
                m, f"{name}_lut_{i}", total, _combine(lambda bits: sum(bits) > 1, operands)
            )
            d = majority if majority is not None else Const(0, 1)
            majority = next_majority
        elif over is not None:
            p, d, majority = lut(m, f"{name}_lut_{i}", total), majority, None
        else:
            first = operands[0] if operands else Table((), (0,))
            p, d = lut_pair(m, f"{name}_lut_{i}", total, first)
        propagate.append(p)
        data.append(d)
    sums = [*passed, *chain(m, name, propagate, data, carry)]
    assert len(sums) >= width
    return sums[:width]


def register(m: Module, name: str, row: Row) -> Row:
    """The row of the previous cycle."""
    kept = {
        "bits": Cat(bit for bit in row.bits if bit is not None and not isinstance(bit, Const)),
        "sign": row.sign,
        "gate": row.gate,
    }
    late: dict[str, Value] = {}
    for part, value in kept.items():
        if value is not None:
            late[part] = Signal(len(value), name=f"{name}_{part}", reset_less=True)
            m.d.sync += late[part].eq(value)
    each = iter(late["bits"])
    bits = tuple(bit if bit is None or isinstance(bit, Const) else next(each) for bit in row.bits)
    return replace(row, bits=bits, sign=late.get("sign"), gate=late.get("gate"))


def register_sum(
    m: Module,
    name: str,
    rows: Sequence[Row],
    carries: Sequence[Value] = (),
    *,
    width: int | None = None,
    flip_top: bool = False,
) -> Row:
    """The sum (:func:`add`) in the next cycle."""
    bits = add(m, name, rows, carries, width=width, flip_top=flip_top)
    total = Row(
        tuple(None if isinstance(bit, Const) else bit for bit in bits),
        sum(row.max for row in rows) + len(carries),
    )
    return register(m, f"{name}_sum", total)


def multiply(m: Module, wide: Value, narrow: Value, latency: int) -> Value:
    """Product of two unsigned numbers, ``latency`` cycles later.

    Rows of the narrower one are added in pairs, their gates in the adders' LUTs, then three at a
    time.
    """
    factors = list(wide), list(narrow)
    limit = (1 << len(wide)) - 1

    def row(k: int) -> Row:
        return Row((None,) * k + tuple(factors[0]), limit << k, gate=factors[1][k])

    rows = [
        register_sum(m, f"rows_{k}", [row(k), row(k + 1)]) for k in range(0, len(narrow) - 1, 2)
    ]
    if len(narrow) % 2:
        rows.append(register(m, "rows_last", row(len(narrow) - 1)))
    for stage in range(1, latency):
        level = [
            register_sum(m, f"rows_{stage}_{k}", rows[k : k + 3])
            for k in range(0, len(rows) - 1, 3)
        ]
        level += [
            register(m, f"rows_{stage}_{k}", rows[k])
            for k in range(len(rows) // 3 * 3, len(rows))
            if len(rows) % 3 == 1
        ]
        rows = level
    (product,) = rows
    bits = [Const(0, 1) if bit is None else bit for bit in product.bits]
    return Cat(bits)[: len(wide) + len(narrow)]
