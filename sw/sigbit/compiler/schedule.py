"""Pass: the program order of all instructions.

Dispatch is in order and queues are short, so the order decides how far loads run ahead. Before
a tile's compute instructions come the fetches it needs and as many later ones as the LOAD
queue holds, unless one would block on a tile that is still to run or has only just begun.
"""

from dataclasses import dataclass

from sigbit.compiler.errors import require
from sigbit.compiler.memory import Placed
from sigbit.compiler.stage import Bytes, Fetch, Staged
from sigbit.compiler.tiles import Tile
from sigbit_hw.arch import images
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Instr, Opcode


@dataclass(frozen=True)
class Step:
    """One instruction; addresses of LOAD and STORE count from the start of ``region``. ``tile`` is
    the index of an EXEC's tile, else -1."""

    instr: Instr
    region: str = ""
    tile: int = -1


@dataclass(frozen=True)
class Scheduled:
    """Instructions in program order, without tokens and HALT."""

    placed: Placed
    tiles: tuple[Tile, ...]
    steps: tuple[Step, ...]
    constants: Bytes


def schedule(staged: Staged, config: ArchConfig) -> Scheduled:
    """Interleave fetches, tiles and stores."""
    network = staged.placed.network
    ahead = max(1, config.queue_depth - 1)
    steps: list[Step] = []
    waiting = list(staged.fetches)

    def fetch() -> None:
        item: Fetch = waiting.pop(0)
        tag = staged.tiles[item.need].op if item.need < len(staged.tiles) else 0
        steps.append(Step(item.instr.replace(tag=tag), item.region))
        if item.region in network.inputs and item.region in network.outputs:
            store(item.region, tag)

    def store(name: str, tag: int) -> None:
        instr = _store(staged.placed, name, config).replace(tag=tag)
        steps.append(Step(instr, output_region(name)))

    for index, tile in enumerate(staged.tiles):
        while waiting and waiting[0].need <= index:
            fetch()
        early = 0
        while waiting and early < ahead and waiting[0].after + 2 <= index:
            fetch()
            early += 1
        compute = [*tile.segments, *([tile.out] if tile.out else []), tile.execute]
        steps += [Step(i.replace(tag=tile.op)) for i in compute[:-1]]
        steps.append(Step(compute[-1].replace(tag=tile.op), tile=index))
        result = network.ops[tile.op].result
        done = index + 1 == len(staged.tiles) or staged.tiles[index + 1].op != tile.op
        if done and result in network.outputs:
            store(result, tile.op)
    while waiting:
        fetch()
    return Scheduled(staged.placed, staged.tiles, tuple(steps), staged.constants)


def output_region(name: str) -> str:
    """Region of the DMA window that an output is stored to."""
    return f"output {name}"


def _store(placed: Placed, name: str, config: ArchConfig) -> Instr:
    """The STORE of a whole output, without its halo."""
    layout = placed.layouts[name]
    slots = layout.planes * layout.slots * layout.height * layout.width
    return Instr(
        Opcode.STORE,
        beats=images.beats(slots * config.slot_bytes, config),
        src=placed.bases[name] + layout.at(0, 0, 0, 0),
        n0=layout.width,
        n1=layout.height,
        n2=layout.planes * layout.slots,
        d1=layout.pitch,
        d2=layout.slot_step,
    )


def verify_schedule(scheduled: Scheduled, staged: Staged) -> None:
    """Every fetch and tile appears once, in order; a tile's fetches come before it, and a fetch
    after the tiles whose memory it takes; every output is stored after its last tile."""
    fetches, tiles = iter(staged.fetches), 0
    fetched = []
    stored = set()
    for step in scheduled.steps:
        opcode = step.instr.opcode
        if opcode in (Opcode.LOAD, Opcode.FILL):
            item = next(fetches, None)
            require(
                item is not None and item.instr.replace(tag=step.instr.tag) == step.instr,
                "fetches are out of order",
            )
            assert item is not None
            require(item.after < tiles, f"a fetch comes before tile {item.after} has run")
            fetched.append(item)
        elif opcode == Opcode.EXEC:
            require(step.tile == tiles, f"tile {step.tile} comes where {tiles} should")
            missing = sum(f.need <= tiles for f in staged.fetches) - sum(
                f.need <= tiles for f in fetched
            )
            require(missing == 0, f"tile {tiles} runs before {missing} of its fetches")
            tiles += 1
        elif opcode == Opcode.STORE:
            stored.add(step.region)
    require(next(fetches, None) is None and tiles == len(staged.tiles), "the schedule has holes")
    wanted = {output_region(name) for name in staged.placed.network.outputs}
    require(stored == wanted, f"outputs {sorted(wanted - stored)} are never stored")
