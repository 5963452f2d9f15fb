"""Pass: give every value one layout that all its consumers can read, with copies where they differ.

Consumers disagree if one strides over columns and another does not (column phases), or if one pads
with zeros and another with the smallest code (maxima). Lanes copy columns in order, so the source
of a copy has one phase. Strides that no layout serves well read copies by row (``strided``).
"""

from dataclasses import replace

from sigbit.compiler.fit.strided import split_rows
from sigbit.compiler.legalize.batch import MAX_PHASES
from sigbit.compiler.network import Network, Op, Operand, Region, Value
from sigbit.errors import CompileError, require
from sigbit_hw.arch.config import ArchConfig

Need = tuple[int, int | None]
"""Requirement of a consumer: (column phases, halo)."""


def separate(network: Network, config: ArchConfig) -> Network:
    """``network`` with copies such that all readers of a value agree on its phases and halo; inputs
    in memory have the phases of their value."""
    network = split_rows(network, config)
    needs = {name: _needs(network, name) for name in network.values}
    values: dict[str, Value] = {}
    for name, value in network.values.items():
        phases, halo = _own(needs[name])
        values[name] = replace(value, phases=phases, halo=halo)
    ops: list[Op] = []
    for op in network.ops:
        operands = []
        for operand in op.operands:
            need = _serve(_need(op, operand), needs[operand.value])
            if need != _own(needs[operand.value]):
                operand = _copied(operand, need, network.values[operand.value], values, ops)
            operands.append(operand)
        ops.append(replace(op, operands=tuple(operands)))
    memory = dict(network.memory)
    for value in values.values():
        if value.load:
            tensor = memory[value.load.memory]
            memory[tensor.name] = replace(tensor, phases=value.phases)
    return replace(network, values=values, ops=tuple(ops), memory=memory)


def _copied(
    operand: Operand, need: Need, value: Value, values: dict[str, Value], ops: list[Op]
) -> Operand:
    """``operand`` on a copy of the channels that it reads; the copy is made if it does not exist
    yet."""
    phases, halo = need
    last = operand.channel + operand.channels
    target = f"{value.name}[{operand.channel}:{last}]%{phases}" + f"%{halo}" * (halo is not None)
    if target not in values:
        shape = (operand.channels, *value.shape[1:])
        values[target] = replace(
            value, name=target, shape=shape, phases=phases, halo=halo, load=None, store=None
        )
        source = Operand(value.name, (1, 1), operand.channels, operand.channel)
        region = Region(0, 0, *value.shape[1:])
        ops.append(Op(f"copy {target}", "copy", (source,), target, region, operand.channels))
    return replace(operand, value=target, channel=0)


def verify_separated(network: Network) -> None:
    """Check that every reader of a value finds the phases and the halo it needs, and that values in
    memory have their phases, outputs and states a single one."""
    for name, value in network.values.items():
        for index, operand in network.uses[name]:
            phases, halo = _need(network.ops[index], operand)
            who = f"{network.ops[index].name} reads {name}"
            require(phases in (None, value.phases), f"{who} in {phases} phases, not {value.phases}")
            require(halo in (None, value.halo), f"{who} with halo {halo}, not {value.halo}")
        for rows in (value.load, value.store):
            if rows:
                found = network.memory[rows.memory].phases
                require(found == value.phases, f"{name} has {value.phases} phases, not {found}")
    for tensor in network.memory.values():
        plain = tensor.kind not in ("output", "state") or tensor.phases == 1
        require(plain, f"{tensor.name} has phases")


def _need(op: Op, operand: Operand) -> tuple[int | None, int | None]:
    phases = operand.phases(op.region.columns)
    if phases is not None and phases > MAX_PHASES:
        raise CompileError(
            f"{op.where}: a stride of {phases} columns is too large; at most {MAX_PHASES} works, "
            "or any of a convolution that is the only reader of its input, and reads all of it"
        )
    return phases, operand.halo


def _needs(network: Network, name: str) -> list[Need]:
    """Distinct needs of a value's consumers; those without a requirement are merged into others."""
    if network.values[name].weights:
        return [(1, 0)]
    asked = [_need(network.ops[i], operand) for i, operand in network.uses[name]]
    value = network.values[name]
    if value.store or (value.load and network.memory[value.load.memory].kind == "state"):
        asked.append((1, None))
    phases = sorted({p for p, _ in asked if p is not None}) or [1]
    needs: list[Need] = []
    for phase in phases:
        halos = sorted({h for p, h in asked if h is not None and (p or phases[0]) == phase})
        needs += [(phase, h) for h in halos] or [(phase, None)]
    return needs


def _serve(need: tuple[int | None, int | None], needs: list[Need]) -> Need:
    """The first of ``needs`` that satisfies ``need``."""
    return next(n for n in needs if need[0] in (None, n[0]) and need[1] in (None, n[1]))


def _own(needs: list[Need]) -> Need:
    """Layout of the value itself: the one that all consumers need, else one phase, from which
    copies are made."""
    return needs[0] if len(needs) == 1 or needs[0][0] == 1 else (1, None)
