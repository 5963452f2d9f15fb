"""Splitting of operations and values into bands of rows."""

from dataclasses import dataclass, replace
from math import gcd

from sigbit.compiler.network import MemoryTensor, Op, Operand, Region, Value
from sigbit_hw.arch.config import ArchConfig

Rows = tuple[int, int]
"""Rows [first, end) of a value."""


def cut_op(op: Op, rows: Rows) -> Op | None:
    """Part of ``op`` that writes ``rows`` of its result, in the coordinates of the whole result;
    None if it writes none of them."""
    r = op.region
    first = max(0, -(-(rows[0] - r.y) // r.step[0]))
    end = min(r.rows, -(-(rows[1] - r.y) // r.step[0]))
    if first >= end:
        return None
    node = op.node_region and _part(op.node_region, first, end)
    operands = tuple(
        replace(o, padding=(o.padding[0] - first * o.stride[0], o.padding[1])) for o in op.operands
    )
    return replace(op, region=_part(r, first, end), node_region=node, operands=operands)


def _part(region: Region, first: int, end: int) -> Region:
    return replace(region, y=region.y + first * region.step[0], rows=end - first)


def rows_read(op: Op, operand: Operand, height: int) -> Rows:
    """Rows of a value of ``height`` that ``operand`` needs; one row if its windows lie outside."""
    first, last = operand.span(0, op.region.rows)
    top = min(max(first, 0), height - 1)
    return top, max(top, min(last, height - 1)) + 1


def moved_operand(op: Op, operand: Operand, name: str, value: Value, rows: Rows) -> Operand:
    """``operand`` on the value ``name`` that holds only ``rows`` of ``value``; its halo remains
    where windows reach outside the image."""
    spans = [operand.span(a, n) for a, n in enumerate((op.region.rows, op.region.columns))]
    outside = any(a < 0 or b >= n for (a, b), n in zip(spans, value.shape[1:], strict=True))
    padding = (operand.padding[0] + rows[0], operand.padding[1])
    halo = operand.halo if outside else None
    return replace(operand, value=name, padding=padding, halo=halo)


def moved_result(op: Op, name: str, first: int) -> Op:
    """``op`` with the result ``name``, a value that begins with row ``first`` of the original
    result."""
    return replace(op, result=name, region=replace(op.region, y=op.region.y - first))


@dataclass(frozen=True)
class Extent:
    """Size of one row of a value: activation slots including all halos, approximately, and bytes in
    memory."""

    slots: int
    bytes: int

    def beat_rows(self, config: ArchConfig) -> int:
        """Rows of a tensor in memory that fill whole beats."""
        return config.bus_bytes // gcd(self.bytes, config.bus_bytes)


def extent(value: Value | MemoryTensor, config: ArchConfig) -> Extent:
    """Size of one row of ``value``."""
    channels, _, width = value.shape
    slots = value.planes * -(-channels // config.ic_lanes) * value.phases
    columns = -(-width // value.phases)
    return Extent(slots * (columns + 4), slots * columns * config.slot_bytes)
