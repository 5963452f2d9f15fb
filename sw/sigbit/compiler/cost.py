"""Cost of operations and tiles: the cycles of an EXEC, and the bus cycles of its constants.

Compute cycles are exact for an EXEC that waits neither for tokens nor for ``sync``
(``docs/architecture.md``, "Timing, exactly"): every block takes its steps, one per cycle, and ends
no sooner after the previous draining block than that one takes to drain.
"""

from sigbit.compiler.groups import input_slots, out_blocks
from sigbit.compiler.network import Network, Op
from sigbit_hw.arch import addressing
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Exec, Mode, Seg


def block_steps(op: Op, network: Network, config: ArchConfig) -> int:
    """Steps of an output block of ``op``, for the block that reads most."""
    total = 0
    for operand in op.operands:
        taps = operand.kernel[0] * operand.kernel[1]
        if op.kind != "conv":
            total += taps
            continue
        blocks = range(1 if operand.groups == 1 else out_blocks(op, config))
        slots = max(input_slots(op, operand, b, config)[1] for b in blocks)
        total += taps * slots * operand.terms * network.values[operand.value].planes
    return total


def drain_cycles(op: Op, network: Network, config: ArchConfig) -> int:
    """Cycles to drain a block of ``op``."""
    if op.kind == "conv":
        return config.drain_cycles(network.values[op.result].planes)
    return config.drain_cycles(1, maximum=True)


def op_cycles(op: Op, network: Network, pixel_blocks: int, config: ArchConfig) -> int:
    """Compute cycles of ``op`` if its pixels fill ``pixel_blocks`` blocks."""
    planes = network.values[op.result].planes if op.kind == "copy" else 1
    cycles = max(block_steps(op, network, config), drain_cycles(op, network, config))
    return pixel_blocks * out_blocks(op, config) * planes * cycles


def issue_cycles(execute: Exec, segments: tuple[Seg, ...], planes: int, config: ArchConfig) -> int:
    """Cycles from the first step of an EXEC to its last, both counted, if no draining block comes
    shortly before."""
    steps = sum(s.steps for s in segments)
    blocks = execute.n_ocb * execute.n_rows * addressing.blocks_of_run(execute, config)
    if not execute.drain:
        return blocks * steps
    drain = config.drain_cycles(planes, maximum=execute.mode == Mode.MAX)
    return steps + (blocks - 1) * max(steps, drain)


def load_cycles(size: int, config: ArchConfig) -> int:
    """Bus cycles, one beat each, of a LOAD of ``size`` bytes; latency not counted."""
    return -(-size // config.bus_bytes)
