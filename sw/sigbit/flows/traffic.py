"""Traffic of a Program between memory and chip: bytes by kind, and by layer."""

from collections import Counter
from dataclasses import dataclass

from sigbit.compiler.stage.window import ALIGN
from sigbit_hw.arch.isa import Load, LoadKind, Store
from sigbit_hw.arch.program import Program


@dataclass(frozen=True)
class Traffic:
    """Transfers and bytes of a run by kind; bytes loaded and stored by the layer number in the
    instruction's tag."""

    transfers: dict[str, int]
    bytes: dict[str, int]
    loaded: dict[int, int]
    stored: dict[int, int]


def spilled(program: Program) -> tuple[int, int]:
    """Return the first byte, and the byte after the last, of the accelerator's intermediate values
    in memory; empty if all of them stay on the chip."""
    start, end = program.write_window
    config, images = program.config, program.images
    for port in program.states:
        last = port.offset + port.bytes(config) * images
        start = max(start, -(-last // ALIGN) * ALIGN)
    return start, min((port.offset for port in program.outputs), default=end)


def traffic(program: Program) -> Traffic:
    """Count all ``LOAD`` and ``STORE`` instructions, and the instructions themselves."""
    transfers, moved = (
        Counter({"instructions": 1}),
        Counter({"instructions": program.instructions.size}),
    )
    loaded: Counter[int] = Counter()
    stored: Counter[int] = Counter()
    for instr in program.listing:
        if not isinstance(instr, Load | Store):
            continue
        kind, count = _kind(program, instr), instr.beats * program.config.bus_bytes
        transfers[kind] += 1
        moved[kind] += count
        (loaded if isinstance(instr, Load) else stored)[instr.tag] += count
    return Traffic(dict(transfers), dict(moved), dict(loaded), dict(stored))


def _kind(program: Program, instr: Load | Store) -> str:
    low, (start, end) = program.write_window[0], spilled(program)
    inside, state = start <= instr.address < end, low <= instr.address < start
    if isinstance(instr, Store):
        if state:
            return "states, written"
        return "spilled values, written" if inside else "outputs"
    if instr.kind == LoadKind.ACTS:
        if inside or state:
            return "spilled values, read" if inside else "states, read"
        return "inputs" if instr.address < low else "outputs, read back"
    return {LoadKind.WEIGHTS: "weights", LoadKind.PARAMS: "parameters", LoadKind.TABLE: "tables"}[
        instr.kind
    ]
