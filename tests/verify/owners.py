"""Two owners of one accelerator: what the first one's secrets are, and what reads each of them.

A try is a memory: after a soft reset the second owner's probe reads the secrets, after a scrub
nothing of them.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from sigbit.campaigns import Job, Row, Tell
from sigbit_hw.arch import addressing, images, isa, launch, regs
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.isa import Exec, Fill, Halt, Instr, Load, LoadKind, Mode, Out, Seg, Store
from sigbit_hw.arch.numerics import TABLE_ENTRIES, UNIT
from sigbit_hw.arch.regs import OFFSET
from sigbit_sim.rtl.device import BASES, RtlDevice
from sigbit_sim.rtl.native.model import Stop
from verify.part import Tally, cause, job

PART = "scrub"
NANO = PRESETS["nano"]
TWO = replace(NANO, name="two_ports", oc_lanes=8, bus_bits=128, ports=2)
CONFIGS = {"nano": NANO, "two": TWO}
DATA, SPAN = 0x4000, 0x8000
"""Bytes of the DMA window that LOAD reads, from there on."""
PLAIN = {LoadKind.PARAMS: 0xC000, LoadKind.TABLE: 0xE000}
"""Where the window has one plain item of each."""
OUTPUT, END = 0x10000, 0x18000
"""What STORE may write."""
BLANK = 64
"""First slots that the probes use."""


def execute(code: Sequence[Instr], device: RtlDevice, memory: NDArray[np.uint8]) -> bytes:
    """Run instructions on the device's hardware; what they stored."""
    config, model = device.config, device.model
    words = isa.pack([*code, Halt()])
    memory = memory.copy()
    memory[: words.size] = words
    parts = [part.copy() for part in images.split_ports(memory, config)]
    model.connect(parts, BASES[: config.ports])
    registers = launch.set_up(
        BASES[: config.ports],
        memory_bytes=END,
        write_window=(OUTPUT, END),
        program_offset=0,
        instructions=words.size // isa.WORD_BYTES,
    )
    for name, value in {**registers, **launch.START}.items():
        model.write(OFFSET[name], value)
    assert model.run(400_000, 100_000) == Stop.IRQ
    assert model.read(OFFSET["IRQ_STATUS"]) == regs.IRQ_DONE
    return images.join_ports(parts, config)[OUTPUT:END].tobytes()


def load_all(kind: LoadKind, config: ArchConfig, *, plain: bool = False) -> list[Instr]:
    """Every item of a memory, from bytes that are all different parts of DATA; ``plain``: the
    parameters and table that :func:`plain_window` has."""
    item, depth = images.item_bytes(kind, config), images.depth(kind, config)
    address = PLAIN[kind] if plain else DATA
    step = 1 if plain else min(depth, SPAN // item)
    beats = images.beats(step * item, config)
    return [
        Load(kind=kind, address=address, dst=at, n0=step, beats=beats)
        for at in range(0, depth, step)
    ]


def plain_window(config: ArchConfig, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Random bytes, with parameters that leave accumulators as they are, and a table in which
    neighbours differ."""
    window = rng.integers(0, 256, END).astype(np.uint8)
    lanes = np.zeros(config.param_lanes, np.int64)
    for kind, data in (
        (LoadKind.PARAMS, images.pack_params(lanes, lanes + UNIT, lanes, config=config)),
        (LoadKind.TABLE, images.pack_table(np.arange(TABLE_ENTRIES) % 15, config)),
    ):
        window[PLAIN[kind] : PLAIN[kind] + data.size] = data
    return window


def one_block(config: ArchConfig, **fields: int) -> Exec:
    wrap = config.pixels
    return Exec(
        **{"n_seg": 1, "run": wrap, "wrap": wrap, "drain": True}
        | addressing.column_steps(wrap, config)
        | fields
    )


def store(config: ArchConfig, src: int, slots: int) -> Store:
    beats = images.beats(slots * config.slot_bytes, config)
    return Store(wait=2, address=OUTPUT, src=src, n0=slots, beats=beats)


def secrets(config: ArchConfig) -> list[Instr]:
    """Something in every memory, segment, accumulator and maximum."""
    last = load_all(LoadKind.ACTS, config)[-1]
    return [
        *(i for kind in LoadKind for i in load_all(kind, config)),
        replace(last, signal=2),
        Seg(wait=1, base=100, n_ic=7, d_ic=3, words=5),
        *(Seg(index=i, base=100 + 5 * i, n_ic=i, d_ic=i) for i in range(1, config.segments)),
        one_block(config, mode=Mode.MAX, drain=False),
        one_block(config, drain=False),
    ]


def probes(config: ArchConfig) -> dict[str, list[Instr]]:
    """What reads each of these, with the second owner's own data in all that it need not read."""
    rows = 32
    ends = Seg(wait=1, base=0)
    fill = Fill(n0=BLANK, code=1)
    weights = load_all(LoadKind.WEIGHTS, config)
    params, tables = (load_all(kind, config, plain=True) for kind in PLAIN)

    def outputs(count: int, **step: int) -> list[Instr]:
        """One block after another, each with other words, groups or tables."""
        words, params, tables = (step.get(n, 0) for n in ("words", "params", "tables"))
        blocks: list[Instr] = []
        for k in range(count):
            base = BLANK + k * config.pixels
            out = Out(base=base, d_pix=1, d_col=1, param=params * k, table=tables * k)
            blocks += [out, one_block(config, weights=words * k)]
        blocks[-1] = replace(blocks[-1], signal=4)
        return [*blocks, store(config, BLANK, count * config.pixels)]

    def ready(*loads: list[Instr]) -> list[Instr]:
        *others, last = [i for group in loads for i in group]
        return [fill, *others, replace(last, signal=2)]

    return {
        "activations": [
            Fill(n0=1, signal=2),
            replace(ends, signal=0),
            one_block(config, drain=False, signal=4),
            replace(store(config, 8, config.act_slots - 8)),
        ],
        "weights": [*ready(params, tables), ends, *outputs(rows, words=31)],
        "parameters": [*ready(weights, tables), ends, *outputs(rows, params=3)],
        "tables": [*ready(weights, params), ends, *outputs(config.tables, tables=1)],
        "accumulators": [
            *ready(weights, params, tables),
            ends,
            Out(base=BLANK, d_pix=1, d_col=1),
            one_block(config, keep=True, signal=4),
            store(config, BLANK, config.pixels),
        ],
        "maxima": [
            *ready(weights, params, tables),
            ends,
            Out(base=BLANK, d_pix=1, d_col=1),
            one_block(config, keep=True, mode=Mode.MAX, signal=4),
            store(config, BLANK, config.pixels),
        ],
    }


def segments(config: ArchConfig, *, own: bool) -> list[Instr]:
    """Uses all segments; ``own``: those that this program itself sets."""
    plain = [load_all(kind, config, plain=True) for kind in PLAIN]
    weights, (*acts, last) = (load_all(kind, config) for kind in (LoadKind.WEIGHTS, LoadKind.ACTS))
    return [
        *(i for group in (*plain, weights, acts) for i in group),
        replace(last, signal=2),
        Out(wait=1, base=8, d_pix=1, d_col=1),
        *(Seg(index=i) for i in range(config.segments if own else 0)),
        one_block(config, n_seg=config.segments, signal=4),
        store(config, 0, 128),
    ]


def secret_is_scrubbed(
    what: str, probe: Sequence[Instr], config: ArchConfig, rng: np.random.Generator
) -> None:
    """Raise ``AssertionError`` unless the second owner's ``probe`` reads secrets after a soft reset
    and finds, after a scrub, what it finds in an accelerator that has just been reset."""
    theirs = rng.integers(0, 256, END).astype(np.uint8)
    mine = plain_window(config, rng)
    device = RtlDevice(config)
    blank = execute(probe, device, mine)
    execute(secrets(config), device, theirs)
    assert device.soft_reset()
    assert execute(probe, device, mine) != blank, f"{what}: the probe reads nothing"
    execute(secrets(config), device, theirs)
    device.scrub()
    assert execute(probe, device, mine) == blank, f"{what} can be read after the scrub"


def jobs(first: int) -> Iterator[Job]:
    """Both accelerators, then again with the next seed."""
    for seed in count(first):
        for name in CONFIGS:
            yield job(PART, name, f"{__name__}:owners", {"which": name, "seed": seed}, seed=seed)


def owners(which: str, seed: int, tell: Tell) -> list[Row]:
    """Two owners with random secrets, for every memory."""
    tally, config = Tally(PART, which, seed), CONFIGS[which]
    found = probes(config)
    for number, (what, probe) in enumerate(found.items()):
        tell(f"owners of {which}", number, len(found))
        try:
            secret_is_scrubbed(what, probe, config, np.random.default_rng([seed, number]))
            tally.fine(what)
        except Exception as error:
            tally.failed(cause(error), what)
    return tally.rows()
