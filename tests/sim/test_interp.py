"""The interpreter against a scalar machine, and its errors."""

from dataclasses import replace

import numpy as np
import pytest

from sigbit.runtime import DeviceError, window_of
from sigbit_hw.arch import addressing, images, isa
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import Engine, Instr, LoadKind, Mode, Opcode
from sigbit_hw.arch.numerics import dot_bits, requantize, wrap
from sigbit_hw.arch.program import Port, Program, ProgramError
from sigbit_hw.arch.regs import Cause
from sigbit_sim.interp import exec_nest
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program

NANO = PRESETS["nano"]


class ScalarMachine:
    """The ISA one step, one lane and one channel at a time, in Python integers."""

    def __init__(self, program: Program, memory: np.ndarray) -> None:
        self.program, self.memory, self.c = program, memory, program.config
        self.stores: dict[LoadKind, dict[int, np.ndarray]] = {kind: {} for kind in LoadKind}
        self.segments: dict[int, Instr] = {}
        self.acc: dict[tuple[int, int], int] = {}
        self.written: list[tuple[int, dict[int, list[int]]]] = []

    def run(self) -> None:
        for index, i in enumerate(self.program.listing):
            if i.opcode == Opcode.LOAD:
                self.load(i)
            elif i.opcode == Opcode.FILL:
                for slot in addressing.block_slots(i).tolist():
                    self.stores[LoadKind.ACTS][slot] = np.full(self.c.ic_lanes, i.code)
            elif i.opcode == Opcode.STORE:
                slots = addressing.block_slots(i).tolist()
                data = images.pack_slots([self.stores[LoadKind.ACTS][s] for s in slots], self.c)
                self.memory[i.address : i.address + data.size] = data
            elif i.opcode == Opcode.SEG:
                self.segments[i.index] = i
            elif i.opcode == Opcode.OUT:
                self.out = i
            elif i.opcode == Opcode.EXEC:
                self.execute(index, i)

    def load(self, i: Instr) -> None:
        data = self.memory[i.address : i.address + i.beats * self.c.bus_bytes]
        entries = addressing.block_slots(i).tolist()
        for n, entry in enumerate(entries):
            kind = LoadKind(i.kind)
            size = {
                LoadKind.WEIGHTS: self.c.weight_word_bytes,
                LoadKind.ACTS: self.c.slot_bytes,
                LoadKind.PARAMS: 8 * self.c.param_lanes,
                LoadKind.TABLE: 32 * self.c.act_format.lane_bits,
            }[kind]
            item = data[n * size : (n + 1) * size]
            self.stores[kind][entry] = {
                LoadKind.WEIGHTS: lambda d: images.unpack_weights(d, self.c)[0],
                LoadKind.ACTS: lambda d: images.unpack_slots(d, self.c)[0],
                LoadKind.PARAMS: lambda d: np.array(images.unpack_params(d, self.c)),
                LoadKind.TABLE: lambda d: images.unpack_table(d, self.c)[0],
            }[kind](item)

    def execute(self, index: int, e: Instr) -> None:
        c = self.c
        segments = [self.segments[n] for n in range(e.n_seg)]
        reads = [addressing.read_slots(s, e, c) for s in segments]
        result: dict[tuple[int, int], dict[int, int]] = {}
        blocks = addressing.blocks_of_run(e, c)
        lanes = c.oc_lanes if e.mode == Mode.MAC else c.ic_lanes
        for ocb in range(e.n_ocb):
            for row, block in np.ndindex(e.n_rows, blocks):
                if not e.keep:
                    self.acc = {}
                for segment, slots in zip(segments, reads, strict=True):
                    if segment.shift and e.mode == Mode.MAC:
                        self.acc = {
                            k: int(wrap(v << c.term_radix_bits, c.acc_bits))
                            for k, v in self.acc.items()
                        }
                    word = e.weights + ocb * e.block_words + segment.words
                    for step in slots[ocb, row, block]:
                        for lane, slot in enumerate(step.tolist()):
                            if block * c.pixels + lane < e.run:
                                self.step(e.mode, lane, self.stores[LoadKind.ACTS][slot], word)
                        word += 1
                for lane in range(min(c.pixels, e.run - block * c.pixels)):
                    pixel = row * e.run + block * c.pixels + lane
                    for channel in range(lanes):
                        result.setdefault((ocb * lanes + channel, pixel), {})[0] = self.acc[
                            lane, channel
                        ]
        if e.drain:
            self.drain(index, e, {k: v[0] for k, v in result.items()})

    def step(self, mode: int, lane: int, codes: np.ndarray, word: int) -> None:
        c = self.c
        values = [int(v) for v in c.act_format.decode(codes)]
        if mode == Mode.MAX:
            for channel, code in enumerate(codes.tolist()):
                old = self.acc.get((lane, channel))
                if old is None or self.beats(code, old):
                    self.acc[lane, channel] = code
            return
        weights = c.weight_format.decode(self.stores[LoadKind.WEIGHTS][word])
        for channel in range(c.oc_lanes):
            dot = sum(int(w) * v for w, v in zip(weights[channel], values, strict=True))
            total = self.acc.get((lane, channel), 0) + dot
            self.acc[lane, channel] = int(wrap(total, c.acc_bits))

    def beats(self, code: int, old: int) -> bool:
        """Larger value; zero beats minus zero."""
        value, other = (int(self.c.act_format.decode(x)) for x in (code, old))
        return value > other or (value == other and code < old)

    def drain(self, index: int, e: Instr, acc: dict[tuple[int, int], int]) -> None:
        c, out = self.c, self.out
        slots = addressing.write_slots(out, e, c)
        wrote: dict[int, list[int]] = {}
        for plane, slot, pixel in np.ndindex(slots.shape):
            table = self.stores[LoadKind.TABLE][out.table + plane]
            codes = []
            for lane in range(c.ic_lanes):
                channel = slot * c.ic_lanes + lane
                entry = acc[channel, pixel]
                if e.mode == Mode.MAC:
                    group = self.stores[LoadKind.PARAMS][out.param + channel // c.param_lanes]
                    params = (int(v) for v in group[:, channel % c.param_lanes])
                    entry = int(requantize(entry, *params, bits=c.result_bits)) & 255
                codes.append(int(table[entry]))
            wrote[int(slots[plane, slot, pixel])] = codes
        self.stores[LoadKind.ACTS] |= {slot: np.array(codes) for slot, codes in wrote.items()}
        self.written.append((index, wrote))


@pytest.mark.parametrize(("preset", "area"), [("nano", 256), ("micro", 256), ("mobile", 1024)])
def test_every_write_back_is_that_of_the_scalar_machine(preset, area, rng):
    config = PRESETS[preset]
    compared = 0
    for _ in range({"nano": 4, "micro": 3, "mobile": 1}[preset]):
        program = random_program(config, rng, execs=3, area=area)
        inputs = random_inputs(program, rng)
        got: list[tuple[int, dict[int, list[int]]]] = []

        def record(index: int, slots: np.ndarray, codes: np.ndarray, got: list = got) -> None:
            rows = codes.reshape(slots.size, -1).tolist()
            got.append((index, dict(zip(slots.ravel().tolist(), rows, strict=True))))

        outputs = Interp(config, strict=True, on_exec=record).run(program, inputs).outputs
        scalar = ScalarMachine(program, window_of(program, inputs, 0))
        scalar.run()
        assert got == scalar.written
        for port in program.outputs:
            data = scalar.memory[port.offset : port.offset + port.bytes(config)]
            assert (port.unpack(data, config) == outputs[port.name][0]).all()
        compared += sum(len(wrote) for _, wrote in got)
    assert compared > 50


FORMATS = [(EsbFormat(4, 1), EsbFormat(4, 2)), (EsbFormat(8, 4), EsbFormat(8, 4))]


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("wide", [False, True])
@pytest.mark.parametrize("formats", FORMATS, ids=lambda f: f"{f[0]}x{f[1]}")
def test_sums_are_exact_modulo_the_accumulator(formats, wide, extreme, rng, monkeypatch):
    """Single and double precision, in chunks, against Python integers; of random codes,
    and of the largest values with a few ones among them. The narrowest accumulators wrap."""
    monkeypatch.setattr(exec_nest, "CHUNK_VALUES", 64)
    weight, act = formats
    config = ArchConfig(
        "wide",
        weight,
        act,
        pixels=2,
        oc_lanes=8,
        ic_lanes=8,
        post_lanes=8,
        acc_bits=32 if wide else max(16, dot_bits(weight, act, 8)),
        term_radix_bits=3,
        act_slots=64,
        weight_words=64,
        param_groups=8,
        tables=8,
        bus_bits=64,
    )
    segment = isa.Seg(n_ic=2, n_kx=3, d_ic=3, d_kx=2)
    shifted = replace(segment, index=1, shift=1, base=2, d_ocb=1)
    execute = isa.Exec(
        drain=1, n_seg=2, n_ocb=2, n_rows=2, run=5, wrap=5, block_step=2, group_step=1
    )
    nest = exec_nest.Nest(execute, (segment, shifted), config)

    def draw(fmt: EsbFormat, *shape: int) -> np.ndarray:
        if extreme:
            return np.where(rng.random(shape) < 0.9, len(fmt.magnitudes) - 1, 1).astype(np.uint8)
        return rng.integers(0, 1 << fmt.bits, shape, dtype=np.uint8)

    acts = draw(act, 64, config.ic_lanes)
    words = draw(weight, 2, 12, config.oc_lanes, config.ic_lanes)
    start = np.zeros((nest.blocks, config.pixels, nest.channels), np.int64)
    memory = exec_nest.Activations(config, strict=False)
    memory.write(np.arange(len(acts)), acts)
    got = exec_nest.accumulate(nest, memory, words, start)

    def exact(fmt: EsbFormat, codes: np.ndarray) -> np.ndarray:
        mags = np.array([*fmt.magnitudes, *(-m for m in fmt.magnitudes)], object)
        return mags[codes]

    x, w = exact(act, acts), exact(weight, words)
    slots = [addressing.read_slots(s, execute, config) for s in (segment, shifted)]
    wrapped = False
    for block, lane in np.argwhere(nest.valid):
        row, column = divmod(int(block), addressing.blocks_of_run(execute, config))
        for ocb in range(2):
            high, low = (
                sum(w[ocb, 6 * s + n] @ x[slots[s][ocb, row, column, n, lane]] for n in range(6))
                for s in (0, 1)
            )
            half = 1 << (config.acc_bits - 1)
            sums = [int(h) * 8 + int(v) for h, v in zip(high, low, strict=True)]
            expected = [(v + half) % (2 * half) - half for v in sums]
            wrapped |= sums != expected
            channels = slice(ocb * config.oc_lanes, (ocb + 1) * config.oc_lanes)
            assert got[block, lane, channels].tolist() == expected
    assert not (wrapped and wide)
    assert wrapped or wide or not extreme


def small(rng: np.random.Generator, code: list[Instr]) -> Program:
    """A program of these instructions, with a window of 16 KiB of random constants."""
    base = random_program(NANO, rng)
    image = rng.integers(0, 256, 4096, dtype=np.uint8)
    return replace(
        base,
        instructions=isa.pack([*code, isa.Halt()]),
        image=image,
        image_offset=4096,
        program_offset=8192,
        memory_bytes=16384,
        inputs=(replace(base.inputs[0], offset=0),),
        execs=(),
        layers=(),
        outputs=(),
        write_window=(12288, 12800),
    )


def run(program: Program, **options: bool) -> None:
    inputs = random_inputs(program, np.random.default_rng(0))
    Interp(program.config, **options).run(program, inputs)


def load(**fields: int) -> Instr:
    return isa.Load(**{"kind": LoadKind.ACTS, "address": 4096, "n0": 4} | fields)


STOPS = [
    (Cause.WINDOW, 0, [load(address=16384)]),
    (Cause.WINDOW, 0, [load(address=16376, n0=8, beats=2)]),
    (Cause.WINDOW, 1, [load(), isa.Store(address=12280, n0=4)]),
    (Cause.WINDOW, 1, [load(n0=8, beats=2), isa.Store(address=12792, n0=8, beats=2)]),
    (Cause.ILLEGAL, 0, [load(address=4100)]),
    (Cause.ILLEGAL, 0, [load(beats=2)]),
    (Cause.ILLEGAL, 1, [load(n0=8, beats=2), isa.Store(address=12288, n0=8)]),
    (Cause.TOKEN_UNDERFLOW, 1, [load(), load(wait=1 << Engine.COMPUTE)]),
    (
        Cause.TOKEN_UNDERFLOW,
        2,
        [load(signal=1 << Engine.COMPUTE), isa.Seg(wait=1), isa.Seg(wait=1)],
    ),
    (Cause.TOKEN_UNDERFLOW, 1, [load(signal=1 << Engine.STORE), isa.Seg(wait=1)]),
    (Cause.TOKEN_OVERFLOW, 15, [load(signal=1 << Engine.STORE)] * 16),
]


@pytest.mark.parametrize(("cause", "index", "code"), STOPS)
def test_hardware_errors(cause, index, code, rng):
    with pytest.raises(DeviceError) as error:
        run(small(rng, code))
    assert (error.value.cause, error.value.index) == (cause, index)


def test_tokens_up_to_the_limit_are_legal(rng):
    run(
        small(
            rng,
            [load(signal=1 << Engine.COMPUTE)] * 15 + [isa.Seg(wait=1 << Engine.LOAD)] * 15,
        )
    )


@pytest.mark.parametrize("word", [b"\0" * 32, b"\x08" + b"\0" * 31, b"\x06" + b"\xff" * 31])
def test_illegal_instructions_stop_when_reached(word, rng):
    program = small(rng, [load(), load()])
    instructions = program.instructions.copy()
    instructions[32:64] = np.frombuffer(word, np.uint8)
    with pytest.raises(DeviceError, match=r"instruction 1 .*ILLEGAL") as error:
        run(replace(program, instructions=instructions))
    assert (error.value.cause, error.value.index) == (Cause.ILLEGAL, 1)


def test_a_program_must_halt(rng):
    program = small(rng, [load()])
    with pytest.raises(ProgramError, match="the last instruction must be HALT"):
        run(replace(program, instructions=program.instructions[:32]))


FILL = isa.Fill(n0=64)
SEG = isa.Seg()
OUT = isa.Out(base=512, d_slot=1, d_col=1)
EXEC = isa.Exec(drain=1, wrap=2, group_step=1)
MISUSES = [
    ("uses entry .4096. of ACTS, which has 4096", [isa.Fill(dst=4095, n0=2)]),
    ("uses entry .-1. of ACTS", [isa.Fill(n1=2, d1=-1)]),
    ("uses entry .128. of PARAMS", [load(kind=LoadKind.PARAMS, dst=128, n0=1, beats=4)]),
    ("fills with code 16, which exceeds 4 bits", [isa.Fill(code=16)]),
    ("n1 and n2 must be 1", [load(kind=LoadKind.PARAMS, n0=1, n1=2, beats=8)]),
    (r"takes segments \[1\], which no SEG has written", [SEG, replace(EXEC, n_seg=2)]),
    (
        "lines that end inside a run must have at least 2 pixels, not wrap=1",
        [SEG, OUT, replace(EXEC, wrap=1, run=2)],
    ),
    ("block_step must be 2 for wrap=3, not 0", [SEG, OUT, replace(EXEC, wrap=3, group_step=1)]),
    (
        "group_step must be 1 for wrap=3, not 0",
        [SEG, OUT, replace(EXEC, wrap=3, block_step=2, group_step=0)],
    ),
    ("gap must be a multiple of pixels=2, not 3", [replace(SEG, gap=3), OUT, EXEC]),
    ("drains, but no OUT", [FILL, SEG, EXEC]),
    ("reads slot 4096 of 4096", [replace(SEG, base=4095), OUT, replace(EXEC, run=2)]),
    ("reads slot 4096 of 4096", [replace(SEG, n_ic=2, d_ic=4096), OUT, EXEC]),
    ("reads slot -1 of 4096", [replace(SEG, n_ic=2, d_ic=-1), OUT, EXEC]),
    ("uses entry .1024. of WEIGHTS", [replace(SEG, n_ic=2), OUT, replace(EXEC, weights=1023)]),
    ("uses entry .8. of TABLE", [SEG, replace(OUT, table=7, n_planes=2), EXEC]),
    ("uses entry .-1. of ACTS", [SEG, replace(OUT, base=0, n_planes=2, d_plane=-1), EXEC]),
    ("writes 2 times to 1 slots", [SEG, replace(OUT, d_col=0), replace(EXEC, run=2)]),
    (
        "writes 4 times to 3 slots",
        [SEG, replace(OUT, d_row=0), replace(EXEC, run=2, n_rows=2)],
    ),
    ("writes 2 times to 1 slots", [SEG, replace(OUT, n_planes=2), EXEC]),
    ("writes 2 times to 1 slots", [SEG, replace(OUT, n_slots=2, d_slot=0), replace(EXEC, n_ocb=2)]),
    ("must have one block only", [SEG, OUT, replace(EXEC, drain=0, n_rows=2)]),
    ("must have one block only", [SEG, OUT, replace(EXEC, keep=1, run=3)]),
    ("keeps accumulators, but the EXEC before", [SEG, OUT, replace(EXEC, keep=1)]),
    (
        "keeps accumulators, but the EXEC before",
        [SEG, OUT, EXEC, replace(EXEC, keep=1, mode=Mode.MAX)],
    ),
    ("keeps accumulators, but the EXEC before", [SEG, OUT, EXEC, replace(EXEC, keep=1, run=2)]),
]


@pytest.mark.parametrize(("message", "code"), MISUSES)
def test_misuse_names_the_instruction(message, code, rng):
    with pytest.raises(
        ProgramError,
        match=rf"instruction {len(code) - 1} \({code[-1].opcode.name}"
        rf".*{message}",
    ):
        run(small(rng, code))


def test_segments_that_the_table_has(rng):
    few = replace(NANO, segments=4)
    run(replace(small(rng, [isa.Seg(index=3)]), config=few))
    with pytest.raises(ProgramError, match=r"instruction 1 .*writes segment 4 of 4"):
        run(replace(small(rng, [SEG, isa.Seg(index=4)]), config=few))


@pytest.mark.parametrize(
    ("preset", "post_lanes", "out", "run_length"),
    [
        ("ecp5", 16, {"d_slot": 4, "n_slots": 2}, 1),
        ("mobile", 32, {"d_pix": 16}, 2),
        ("mobile", 32, {"d_line": 16}, 6),
        ("zcu102", 256, {"d_line": 28}, 8),
    ],
)
def test_two_writes_in_one_bank_are_refused(preset, post_lanes, out, run_length, rng):
    config = replace(PRESETS[preset], post_lanes=post_lanes)
    program = random_program(config, rng, area=2048)
    wrap = max(4, run_length - 1)
    execute = replace(EXEC, wrap=wrap, run=run_length, **addressing.column_steps(wrap, config))
    for steps, legal in (({}, True), (out, False)):
        code = [
            SEG,
            replace(OUT, phases=2, **({"d_pix": 1, "d_col": 1, "d_line": 1} | steps)),
            execute,
            isa.Halt(),
        ]
        bad = replace(program, instructions=isa.pack(code), execs=())
        if legal:
            run(bad)
        else:
            with pytest.raises(ProgramError, match="two slots of one bank in a cycle of the drain"):
                run(bad)


@pytest.mark.parametrize(
    ("address", "legal"), [(8192 - 8, True), (8192, False), (8192 + 64, False), (8192 + 96, True)]
)
def test_a_program_that_writes_itself_is_refused(address, legal, rng):
    """Whether an instruction is fetched before it is overwritten depends on the bus. Three
    instructions, of 32 bytes each, one beat stored."""
    code = [load(), isa.Store(address=address, n0=4)]
    program = replace(small(rng, code), write_window=(0, 16384))
    if legal:
        run(program)
    else:
        with pytest.raises(ProgramError, match=r"instruction 1 .* writes the program"):
            run(program)


def test_images_of_a_run_lie_one_behind_the_other(rng):
    """A batch of two: image 0 is copied to image 1 of the output and the other way round."""
    port = Port("x", (4, 3, 2), 0, 1, 1, 1.0, 0, -7, 7)
    size = port.bytes(NANO)
    slots, beats = size // NANO.slot_bytes, size // NANO.bus_bytes
    code = [
        instr
        for image in range(2)
        for instr in (
            isa.Load(
                kind=LoadKind.ACTS,
                address=image * size,
                beats=beats,
                n0=slots,
                signal=1 << Engine.STORE,
            ),
            isa.Store(
                address=4096 + (1 - image) * size,
                beats=beats,
                n0=slots,
                wait=1 << Engine.LOAD,
            ),
        )
    ]
    program = replace(
        small(rng, code),
        inputs=(port,),
        outputs=(replace(port, offset=4096),),
        write_window=(4096, 4096 + 2 * size),
        images=2,
    )
    inputs = random_inputs(program, rng, 4)["x"]
    seen: list[int] = []
    got = Interp(NANO).run(program, inputs, on_image=seen.append).outputs["x"]
    assert (got == inputs[[1, 0, 3, 2]]).all()
    assert seen == [0, 1, 2, 3]


def test_what_is_stored_can_be_loaded(rng):
    """Spilled slots: stored, overwritten on chip, loaded again, the first two of them only."""
    code = [
        load(dst=8),
        isa.Store(address=12288, src=8, n0=4, beats=1),
        FILL,
        isa.Load(kind=LoadKind.ACTS, address=12288, dst=16, n0=4, beats=1),
        isa.Store(address=12296, src=16, n0=2, beats=1),
    ]
    port = Port("y", (4, 1, 2), 12296, 1, 1, 1.0, 0, -7, 7)
    program = replace(small(rng, code), outputs=(port,))
    got = Interp(NANO).run(program, random_inputs(program, rng)).outputs["y"][0]
    assert (got == port.unpack(program.image[: port.bytes(NANO)], NANO)).all()


UNKNOWN = [
    ("reads slot 0, which was never written", [SEG, OUT, replace(EXEC, mode=Mode.MAX)]),
    (
        "reads slot 64, which was never written",
        [FILL, replace(SEG, base=63), OUT, replace(EXEC, mode=Mode.MAX, run=2)],
    ),
    ("reads entry .0. of WEIGHTS, which was never written", [FILL, SEG, OUT, EXEC]),
    (
        "reads entry .0. of PARAMS, which was never written",
        [FILL, load(kind=LoadKind.WEIGHTS, n0=1), SEG, OUT, EXEC],
    ),
    (
        "reads entry .0. of TABLE, which was never written",
        [FILL, SEG, OUT, replace(EXEC, mode=Mode.MAX)],
    ),
    (
        "reads entry .0. of ACTS, which was never written",
        [isa.Store(address=12288, n0=4)],
    ),
]


@pytest.mark.parametrize(("message", "code"), UNKNOWN)
def test_strict_refuses_what_was_never_written(message, code, rng):
    program = small(rng, code)
    run(program)
    with pytest.raises(ProgramError, match=message):
        run(program, strict=True)


def test_lanes_past_the_run_may_read_anything(rng):
    """The second lane of the only block lies outside the memory."""
    run(small(rng, [replace(SEG, base=4095), OUT, replace(EXEC, run=1)]))


def test_images_are_independent(rng):
    program = random_program(NANO, rng)
    inputs = random_inputs(program, rng, 3)["x"]
    device = Interp(NANO)
    together = device.run(program, inputs, layers=True)
    for image in range(3):
        alone = device.run(program, inputs[image : image + 1], layers=True)
        for name, value in together.layers.items():
            assert (alone.layers[name][0] == value[image]).all()
    assert together.layers
    assert together.cycles is None
