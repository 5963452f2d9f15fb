"""LOADs and FILLs, the commands that they become, and what they move."""

import numpy as np

from sigbit_hw.arch import images
from sigbit_hw.arch.addressing import block_slots
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Fill, Load, LoadKind

FILL = Fill(code=200, dst=6, n0=5, n1=4, n2=3, d1=2, d2=-1, signal=4)


def command_of(instr: Load | Fill, index: int) -> dict[str, int]:
    """The command of an instruction; of a FILL, ``beats`` mean nothing."""
    block = {name: getattr(instr, name) for name in ("n0", "n1", "n2", "d1", "d2")}
    own: dict[str, int] = (
        {"kind": instr.kind, "fill": 0, "beats": instr.beats}
        if isinstance(instr, Load)
        else {"kind": LoadKind.ACTS, "fill": 1, "code": instr.code}
    )
    return {**block, **own, "start": instr.dst, "signal": instr.signal, "index": index}


def load(kind: LoadKind, config: ArchConfig, beats: int = 0, **fields: int) -> Load:
    """A LOAD with the ``beats`` that its items fill, or so many more."""
    items = fields.get("n0", 1) * fields.get("n1", 1) * fields.get("n2", 1)
    needed = images.beats(items * images.item_bytes(kind, config), config)
    return Load(kind=kind, address=0, beats=needed + beats, **fields)


def moves_of(instr: Load | Fill, config: ArchConfig, memory: bytes) -> list[tuple[int, list]]:
    """What an instruction moves in each cycle, and how many beats of ``memory`` it has needed by
    then: slots to the end of run and beat, at most ``slots_per_move``, or one step of an item."""
    width, targets, moves = config.slots_per_move, block_slots(instr).tolist(), []
    if isinstance(instr, Fill):
        lane = instr.code & (1 << config.act_format.bits) - 1
        slot = sum(lane << config.act_format.lane_bits * k for k in range(config.ic_lanes))
        for first in range(0, len(targets), instr.n0):
            run = targets[first : first + instr.n0]
            pairs = [(LoadKind.ACTS, target, slot) for target in run]
            moves += [(0, pairs[k : k + width]) for k in range(0, len(run), width)]
        return moves
    kind, size = LoadKind(instr.kind), images.item_bytes(LoadKind(instr.kind), config)
    if kind == LoadKind.ACTS:
        per_beat, k = images.units_of_beat(kind, config), 0
        while k < len(targets):
            count = min(width, per_beat - k % per_beat, instr.n0 - k % instr.n0)
            slots = [
                int.from_bytes(memory[j * size : (j + 1) * size], "little")
                for j in range(k, k + count)
            ]
            pairs = zip(targets[k : k + count], slots, strict=True)
            moves.append((k // per_beat + 1, [(kind, *pair) for pair in pairs]))
            k += count
        return moves
    steps = images.steps_of_item(kind, config)
    for k, target in enumerate(targets):
        item = memory[k * size : (k + 1) * size]
        if kind == LoadKind.TABLE:
            values = images.unpack_table(np.frombuffer(item, np.uint8), config)[0].tolist()
            values = [value & (1 << config.act_format.bits) - 1 for value in values]
        else:
            unit = size // steps
            parts = (item[j * unit : (j + 1) * unit] for j in range(steps))
            values = [int.from_bytes(part, "little") for part in parts]
        for j, value in enumerate(values):
            beat = (k * size + j * size // steps) // config.bus_bytes + 1
            moves.append((beat, [(kind, target, j, value)]))
    return moves
