"""Pass: every value gets one layout that all its consumers can read, by copies where they differ.

Consumers disagree when one strides over columns and another does not (column phases), or when one
pads with zeros and another with the least code (maxima). Lanes copy columns in order, so the value
that is copied from has one phase.
"""

from dataclasses import replace

from sigbit.compiler.errors import CompileError, require
from sigbit.compiler.network import Network, Op, Operand, Value
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import LAYOUTS, Opcode

Need = tuple[int, int | None]
"""What a consumer asks for: (column phases, halo)."""

MAX_PHASES = next(f.max for f in LAYOUTS[Opcode.OUT] if f.name == "phases")


def separate(network: Network, config: ArchConfig) -> Network:
    """``network`` with copies such that all readers of a value agree on its phases and halo."""
    needs = {name: _needs(network, name) for name in network.values}
    values: dict[str, Value] = {}
    for name, value in network.values.items():
        phases, halo = _own(needs[name])
        values[name] = replace(value, phases=phases, halo=halo)
    ops: list[Op] = []
    for op in network.ops:
        operands = []
        for operand in op.operands:
            need = _serve(_need(network, op, operand), needs[operand.value])
            target = operand.value
            if need != _own(needs[operand.value]):
                target = f"{operand.value}%{need[0]}" + ("" if need[1] is None else f"%{need[1]}")
                if target not in values:
                    source = network.values[operand.value]
                    values[target] = replace(source, name=target, phases=need[0], halo=need[1])
                    ops.append(
                        Op(f"copy {target}", "copy", (Operand(source.name, (1, 1)),), target)
                    )
            operands.append(replace(operand, value=target))
        ops.append(replace(op, operands=tuple(operands)))
    return replace(network, values=values, ops=tuple(ops))


def verify_separated(network: Network) -> None:
    """Every reader of a value finds the phases and the halo it needs; stored values have one
    phase."""
    for name, value in network.values.items():
        for index, operand in network.uses[name]:
            phases, halo = _need(network, network.ops[index], operand)
            who = f"{network.ops[index].name} reads {name}"
            require(phases in (None, value.phases), f"{who} in {phases} phases, not {value.phases}")
            require(halo in (None, value.halo), f"{who} with halo {halo}, not {value.halo}")
        require(name not in network.outputs or value.phases == 1, f"output {name} has phases")


def _need(network: Network, op: Op, operand: Operand) -> tuple[int | None, int | None]:
    width = network.values[op.result].shape[2]
    phases = operand.phases(width)
    if phases is not None and phases > MAX_PHASES:
        raise CompileError(
            f"{op.where}: a stride of {phases} columns is too large; at most {MAX_PHASES} works"
        )
    return phases, operand.halo


def _needs(network: Network, name: str) -> list[Need]:
    """Distinct needs of a value's consumers, those that do not care merged into others."""
    asked = [_need(network, network.ops[i], operand) for i, operand in network.uses[name]]
    if name in network.outputs:
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
    """The layout of the value itself: what all want, else one phase, from which copies are made."""
    return needs[0] if len(needs) == 1 or needs[0][0] == 1 else (1, None)
