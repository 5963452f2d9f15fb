"""The compute engine against addressing and numerics: codes, cycles, retirement, trace."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil

from sigbit_hw.arch import addressing, isa
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import Mode, Opcode
from sigbit_hw.gateware.compute.engine import ComputeEngine
from sigbit_sim.random_programs.shapes import random_out, random_segment, random_sizes
from sigbit_sim.verification.compute import Contents, cycles, results, run


def config(name, pixels, oc, ic, post, act=None, **more):
    fields: dict[str, Any] = {
        "weight_format": EsbFormat(4, 1),
        "act_format": act or EsbFormat(4, 2),
        "acc_bits": 20,
        "term_radix_bits": 3,
        "act_slots": 512,
        "weight_words": 64,
        "param_groups": 16,
        "tables": 4,
        "bus_bits": 64,
    }
    return ArchConfig(
        name=name, pixels=pixels, oc_lanes=oc, ic_lanes=ic, post_lanes=post, **(fields | more)
    )


CONFIGS = {
    c.name: c
    for c in (
        config("plain", 2, 4, 4, 4),
        config("groups", 2, 8, 2, 4),
        config("slow-drain", 2, 8, 2, 2, EsbFormat(4, 2, signed=False), acc_bits=24),
        config("wide-drain", 4, 8, 2, 8),
        config("pixels", 4, 4, 4, 4, segments=8),
        config("two-pixels", 8, 4, 4, 8),
        config("four-pixels", 16, 4, 4, 16, act_slots=1024),
    )
}
LARGE = ("four-pixels",)
LINES = {
    c.name: c
    for c in (
        config("cube", 8, 8, 8, 32, act_slots=1024),
        config("long", 16, 4, 4, 8, act_slots=1024),
    )
}


class Programs:
    """Random legal programs. EXECs read the lower half of the memory and write the third
    quarter."""

    def __init__(self, config, rng):
        self.config, self.rng = config, rng
        self.half = config.act_slots // 2

    def group(self, count):
        """``count`` EXECs, each with its SEGs, and an OUT; all but the first go on with the
        accumulators of the one before, the last one drains."""
        c, rng = self.config, self.rng
        mode = Mode.MAX if rng.random() < 0.3 else Mode.MAC
        sizes = random_sizes(rng, c, mode, one_block=count > 1, limit=self.half // 2)
        code = []
        for k in range(count):
            execute = isa.Exec(
                mode=mode,
                keep=int(k > 0),
                drain=int(k == count - 1),
                sync=int(rng.random() < 0.3),
                n_seg=int(rng.integers(1, 4)),
                n_ocb=sizes.n_ocb,
                n_rows=sizes.n_rows,
                run=sizes.run,
                wrap=sizes.wrap,
                weights=int(rng.integers(0, 16)),
                block_words=int(rng.integers(0, 24)),
                signal=int(rng.choice([0, 1, 4, 5])),
                **addressing.column_steps(sizes.wrap, c),
            )
            setup = [
                replace(
                    random_segment(rng, c, execute, index, 0, self.half, 12),
                    words=int(rng.integers(0, 16)),
                )
                for index in range(execute.n_seg)
            ]
            if k == 0:
                setup.append(random_out(rng, c, execute, sizes, self.half, self.half // 2))
            rng.shuffle(setup)
            code += [*setup, execute]
        return code

    def program(self, count):
        """``count`` EXECs that drain, some of them after one that does not."""
        groups = [self.group(1 + int(self.rng.random() < 0.3)) for _ in range(count)]
        return [instr for group in groups for instr in group]


def check(config, program, contents, rng, **traffic):
    result, dut = run(config, program, contents, rng, **traffic)
    fed, retired = cycles(program, result.accepted, dut)
    executes = [k for k, i in enumerate(program) if i.opcode == Opcode.EXEC]
    assert result.fed == fed
    assert result.retired == [
        (at, k, program[k].signal) for at, k in zip(retired, executes, strict=True)
    ]
    assert result.setups == len(program) - len(executes)
    assert result.written > 0
    return result


@pytest.mark.parametrize(
    ("name", "case"),
    [
        pytest.param(
            name,
            case,
            id=f"{name}-{case}",
            marks=[] if case == 1 and name not in LARGE else pytest.mark.long,
        )
        for name, config in CONFIGS.items()
        for case in range(2 if config.drain_pixels > 1 else 3)
    ],
)
def test_random_programs(name, case, rng):
    config = CONFIGS[name]
    contents = Contents.random(config, rng)
    program = Programs(config, rng).program(3 if config.drain_pixels > 1 else 5)
    quarter = config.act_slots * 3 // 4
    loads = list(range(quarter, config.act_slots)) if case else None
    result = check(config, program, contents, rng, gaps=0.3 * case, loads=loads)
    expected = results(program, contents, config)
    assert (result.acts[:quarter] == expected[:quarter]).all()
    assert (expected[:quarter] != contents.acts[:quarter]).any()
    if loads:
        assert result.stored > 20
        assert (result.acts[quarter:] != contents.acts[quarter:]).any()
    else:
        assert (result.acts[quarter:] == contents.acts[quarter:]).all()


def execute(config, wrap, **fields):
    steps = addressing.column_steps(wrap, config)
    return isa.Exec(**({"drain": 1, "wrap": wrap} | steps | fields))


def check_all(config, program, rng, **traffic):
    contents = Contents.random(config, rng)
    result = check(config, program, contents, rng, **traffic)
    expected = results(program, contents, config)
    assert (result.acts == expected).all()
    assert (expected != contents.acts).any()
    return result


def test_sync_reads_what_was_written(rng):
    """Each EXEC reads the outputs of the one before, which are written in the last cycles."""
    config = CONFIGS["plain"]
    program = []
    for k in range(4):
        program += [
            isa.Seg(base=16 * k, n_ic=1),
            isa.Out(base=16 * (k + 1), d_slot=1, n_slots=1, d_pix=1, d_col=1, param=k),
            execute(config, 8, sync=1, run=8),
        ]
    check_all(config, program, rng)


def test_single_step_segments_in_single_step_blocks(rng):
    """As many segments as there are, a step each, in any order of weight words; then one segment
    of one step in many blocks."""
    config = CONFIGS["slow-drain"]
    segments = [
        isa.Seg(
            index=k,
            base=9 * k,
            shift=k % 3 == 2,
            gap=4,
            d_block=2,
            d_row=5,
            d_ocb=-7,
            words=(5 * k + 3) % config.segments,
        )
        for k in range(config.segments)
    ]
    out = isa.Out(base=300, d_slot=1, n_slots=12, d_pix=13, d_col=13, d_line=13, d_row=13)
    program = [
        *segments,
        out,
        execute(
            config,
            9,
            n_seg=config.segments,
            n_ocb=3,
            n_rows=2,
            run=3,
            block_words=config.segments + 1,
        ),
        execute(config, 5, run=12),
    ]
    check_all(config, program, rng)


def test_no_more_in_flight_than_there_is_room_for(rng):
    config = CONFIGS["plain"]
    program = [
        isa.Seg(base=40, n_ic=1),
        isa.Out(base=100, d_slot=1, d_pix=1, d_col=1),
    ]
    program += [execute(config, 2, drain=0, keep=int(k > 0), run=2, weights=k) for k in range(9)]
    program += [execute(config, 2, keep=1, run=2, weights=11)]
    result = check_all(config, program, rng)
    waits = np.diff(result.accepted[2:])
    assert waits.max() > waits.min()


@pytest.mark.parametrize(
    ("name", "wrap"),
    [
        pytest.param("cube", 5, marks=pytest.mark.long),
        pytest.param("long", 4, marks=pytest.mark.long),
        ("long", 5),
        pytest.param("long", 7, marks=pytest.mark.long),
        pytest.param("long", 14, marks=pytest.mark.long),
    ],
)
def test_lines(name, wrap, rng):
    """A 3x3 convolution and a 2x2 maximum of an image with a halo, all lines in one run; the next
    EXEC reads what this one has written."""
    config, lines = LINES[name], 4 if wrap < 14 else 3
    pitch = -(-(wrap + 2 - wrap % config.pixels) // config.pixels) * config.pixels
    pitch += wrap % config.pixels  # so that gap is a multiple of pixels
    gap, passed = pitch - wrap, config.pixels // wrap
    step = {"d_kx": 1, "gap": gap, "d_block": config.pixels + passed * gap}
    first = config.act_slots // 2
    run = {"run": lines * wrap}
    place = {"d_slot": 1, "d_pix": 1, "d_col": 1, "d_line": 1}
    program = [
        isa.Seg(base=3, n_kx=3, n_ky=3, d_ky=pitch - 2, **step),
        isa.Out(base=first, **place),
        execute(config, wrap, **run),
        isa.Seg(
            base=first - 2,
            n_kx=2,
            n_ky=2,
            d_ky=wrap - 1,
            d_block=config.pixels,
            gap=0,
            d_kx=1,
        ),
        isa.Out(base=first + 5 * lines * wrap, n_planes=2, d_plane=lines * wrap, **place),
        execute(config, wrap, mode=Mode.MAX, sync=1, **run),
    ]
    assert not addressing.bank_conflicts(program[1], program[2], config)
    check_all(config, program, rng)


def test_preset_elaborates():
    assert "module \\top" in rtlil.convert(ComputeEngine(PRESETS["nano"]))
