"""Preparation of values for spilling: each becomes one range of channels that is stored as a
whole."""

from collections.abc import Iterator
from dataclasses import replace

from sigbit.compiler.legalize.absorb import dense
from sigbit.compiler.network import Network, Op, Operand, Region

Part = tuple[str, int, int]
"""Value that holds channels [first, end) of a joined value."""


def unjoin(network: Network, names: set[str]) -> tuple[Network, set[str]]:
    """``network`` with each range of channels of the values ``names`` that operations write as a
    separate value, and the names of these; their readers read all the parts that they need."""
    parts = {name: _parts(network, name) for name in names}
    parts = {name: found for name, found in parts.items() if len(found) > 1}
    if not parts:
        return network, names
    values = {name: value for name, value in network.values.items() if name not in parts}
    for name, found in parts.items():
        value = network.values[name]
        for part, first, end in found:
            values[part] = replace(value, name=part, shape=(end - first, *value.shape[1:]))
    ops = []
    for op in network.ops:
        if op.result in parts:
            part, first, _ = next(p for p in parts[op.result] if p[1] <= op.channel < p[2])
            op = replace(op, result=part, channel=op.channel - first)
        if op.kind == "conv":
            operands = [p for o in op.operands for p in _pieces(o, parts.get(o.value))]
            ops.append(replace(op, operands=tuple(operands)))
        else:
            ops += _split(op, parts.get(op.operands[0].value))
    new = {part for found in parts.values() for part, _, _ in found}
    return replace(network, values=values, ops=tuple(ops)), names - set(parts) | new


def detach(network: Network, names: set[str]) -> tuple[Network, set[str]]:
    """``network`` with copies of those of the values ``names`` that are stored as outputs and are
    also read, or are written in parts; the copies are stored. Also returns the names including the
    copies."""
    values, ops, copies = dict(network.values), list(network.ops), set()
    for name in sorted(names):
        value = values[name]
        if value.store and (network.uses[name] or len(_parts(network, name)) > 1):
            copy = f"{name}>"
            copies.add(copy)
            values[copy] = replace(value, name=copy, halo=None)
            values[name] = replace(value, store=None)
            channels, height, width = value.shape
            last = max(i for i, op in enumerate(ops) if op.result == name)
            source = Operand(name, (1, 1), channels)
            region = Region(0, 0, height, width)
            ops.insert(last + 1, Op(f"copy {copy}", "copy", (source,), copy, region, channels))
    return replace(network, values=values, ops=tuple(ops)), names | copies


def _parts(network: Network, name: str) -> list[Part]:
    """Ranges of channels that operations write, as parts of the value."""
    ranges = {
        (op.channel, op.channel + op.channels)
        for op in (network.ops[i] for i in network.writers[name])
    }
    return [(f"{name}[{first}:{end}]", first, end) for first, end in sorted(ranges)]


def _overlaps(operand: Operand, parts: list[Part]) -> Iterator[tuple[Operand, int, int]]:
    """``operand`` on every part that it reads, and the channels of the operand in that part."""
    for name, first, end in parts:
        low = max(first, operand.channel)
        high = min(end, operand.channel + operand.channels)
        if low < high:
            start, end_of = low - operand.channel, high - operand.channel
            moved = replace(
                operand,
                value=name,
                channel=low - first,
                channels=high - low,
                right_channel=operand.right_channel + start,
            )
            yield moved, start, end_of


def _pieces(operand: Operand, parts: list[Part] | None) -> Iterator[Operand]:
    """``operand`` of a convolution, on the parts."""
    if parts is None:
        yield operand
        return
    found = list(_overlaps(operand, parts))
    if len(found) == 1 or operand.right:
        yield from (moved for moved, _, _ in found)
        return
    assert operand.weights is not None
    weights = dense(operand.weights, operand.groups)
    for moved, first, end in found:
        yield replace(moved, weights=weights[:, first:end], groups=1)


def _split(op: Op, parts: list[Part] | None) -> Iterator[Op]:
    """A maximum or copy, split by part."""
    if parts is None:
        yield op
        return
    for moved, first, _ in _overlaps(op.operands[0], parts):
        yield replace(
            op,
            operands=(moved,),
            channel=op.channel + first,
            channels=moved.channels,
            node_channel=op.node_channel + first,
        )
