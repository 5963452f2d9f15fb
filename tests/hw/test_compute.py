"""The compute engine against addressing and numerics: codes, cycles, retirement, trace."""

from typing import Any

import numpy as np
import pytest
from amaranth.back import rtlil

from sigbit_hw.arch import addressing
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import Instr, Mode, Opcode
from sigbit_hw.compute import ComputeEngine
from sigbit_sim.bench.compute import Contents, cycles, results, run


def config(name, pixels, oc, ic, post, act=None, **more):
    fields: dict[str, Any] = {
        "weight_format": EsbFormat(4, 1), "act_format": act or EsbFormat(4, 2),
        "acc_bits": 20, "term_radix_bits": 3, "act_slots": 512, "weight_words": 64,
        "param_groups": 16, "tables": 4, "bus_bits": 64}
    return ArchConfig(name=name, pixels=pixels, oc_lanes=oc, ic_lanes=ic, post_lanes=post,
                      **(fields | more))


CONFIGS = {c.name: c for c in (
    config("plain", 2, 4, 4, 4),
    config("groups", 2, 8, 2, 4),
    config("slow-drain", 2, 8, 2, 2, EsbFormat(4, 2, signed=False), acc_bits=24),
    config("wide-drain", 4, 8, 2, 8),
    config("pixels", 4, 4, 4, 4, segments=8),
)}


class Programs:
    """Random legal programs. EXECs read the lower half of the memory and write the third
    quarter."""

    def __init__(self, config, rng):
        self.config, self.rng = config, rng
        self.half = config.act_slots // 2
        self.used: set[int] = set()

    def below(self, n):
        return int(self.rng.integers(1, n + 1))

    def segment(self, index, execute):
        """A SEG whose lanes within the run read slots of the lower half."""
        c, rng = self.config, self.rng
        pixel = np.arange(addressing.blocks_of_run(execute, c) * c.pixels) < execute.run
        for _ in range(1000):
            d = {f"d_{n}": int(rng.integers(-9, 20)) for n in ("ic", "kx", "ky", "row", "ocb")}
            segment = Instr(
                Opcode.SEG, index=index, shift=int(rng.random() < 0.4),
                base=int(rng.integers(0, self.half)),
                n_ic=self.below(3), n_kx=self.below(2), n_ky=self.below(2),
                d_wrap=c.pixels * int(rng.integers(-3, 6)), **d)
            slots = addressing.read_slots(segment, execute, c)
            slots = slots.swapaxes(3, 4).reshape(*slots.shape[:2], len(pixel), -1)[:, :, pixel]
            if slots.min() >= 0 and slots.max() < self.half:
                return segment
        raise AssertionError("no legal segment found")

    def out(self, execute, low, high):
        """An OUT whose slots differ and lie in [low, high)."""
        rng, c = self.rng, self.config
        produced = execute.n_ocb * (c.slots_per_block if execute.mode == Mode.MAC else 1)
        planes, tables = self.below(min(3, c.tables)), c.tables
        for _ in range(1000):
            out = Instr(
                Opcode.OUT, base=int(rng.integers(low, high)),
                d_slot=2 * int(rng.integers(-20, 30)) + 1,
                n_slots=max(1, produced + int(rng.integers(-2, 2))), phases=self.below(3),
                d_pix=int(rng.integers(-5, 20)), d_col=int(rng.integers(-5, 6)),
                d_line=int(rng.integers(-3, 9)), d_row=int(rng.integers(-3, 20)),
                n_planes=planes, d_plane=int(rng.integers(-60, 60)),
                param=int(rng.integers(0, c.param_groups - execute.n_ocb * c.groups_per_block)),
                table=int(rng.integers(0, tables - planes + 1)))
            slots = addressing.write_slots(out, execute, c)
            unique = set(slots.ravel().tolist())
            if low <= slots.min() and slots.max() < high and len(unique) == slots.size \
                    and not unique & self.used:
                self.used |= unique
                return out
        return None

    def execute(self, *, mode=None, single=False, **more):
        c = self.config
        sizes = {"run": self.below(c.pixels)} if single else {
            "n_ocb": self.below(2), "n_rows": self.below(3), "run": self.below(9)}
        if mode is None:
            mode = Mode.MAX if self.rng.random() < 0.3 else Mode.MAC
        return Instr(Opcode.EXEC, mode=int(mode), n_seg=self.below(3),
                     wrap=c.pixels - 1 + self.below(5),
                     weights=int(self.rng.integers(0, 16)), sync=int(self.rng.random() < 0.3),
                     signal=int(self.rng.choice([0, 1, 4, 5])), **(sizes | {"drain": 1} | more))

    def program(self, count):
        """``count`` EXECs, some of them in pairs that share their accumulators."""
        low, high = self.half, self.half + self.half // 2
        program = []
        while count:
            if self.rng.random() < 0.3:
                mode = Mode.MAX if self.rng.random() < 0.5 else Mode.MAC
                first = self.execute(mode=mode, single=True, drain=0)
                pair = [first, self.execute(mode=mode, single=True, keep=1, run=first.run)]
            else:
                pair = [self.execute()]
            out = self.out(pair[-1], low, high)
            if out is None:
                self.used.clear()
                continue
            for k, execute in enumerate(pair):
                setup = [self.segment(i, execute) for i in range(execute.n_seg)]
                setup += [out] if k == 0 else []
                self.rng.shuffle(setup)
                program += [*setup, execute]
            count -= 1
        return program


def check(config, program, contents, rng, **traffic):
    result, dut = run(config, program, contents, rng, **traffic)
    fed, retired = cycles(program, result.accepted, dut)
    executes = [k for k, i in enumerate(program) if i.opcode == Opcode.EXEC]
    assert result.fed == fed
    assert result.retired == [(at, k, program[k].signal)
                              for at, k in zip(retired, executes, strict=True)]
    assert result.setups == len(program) - len(executes)
    assert result.written > 0
    return result


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("name", CONFIGS)
def test_random_programs(name, case, rng):
    config = CONFIGS[name]
    contents = Contents.random(config, rng)
    program = Programs(config, rng).program(5)
    quarter = config.act_slots * 3 // 4
    loads = list(range(quarter, config.act_slots)) if case else None
    result = check(config, program, contents, rng, gaps=0.3 * case, loads=loads)
    expected = results(program, contents, config)
    assert (result.acts[:quarter] == expected[:quarter]).all()
    assert (expected[:quarter] != contents.acts[:quarter]).any()
    if loads:
        assert result.stored > 50
        assert (result.acts[quarter:] != contents.acts[quarter:]).any()
    else:
        assert (result.acts[quarter:] == contents.acts[quarter:]).all()


def execute(**fields):
    return Instr(Opcode.EXEC, **({"drain": 1} | fields))


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
    wrap = {"run": 8, "wrap": 8}
    program = []
    for k in range(4):
        program += [
            Instr(Opcode.SEG, base=16 * k, n_ic=1),
            Instr(Opcode.OUT, base=16 * (k + 1), d_slot=1, n_slots=1, d_pix=1, d_col=1, param=k),
            execute(sync=1, **wrap),
        ]
    check_all(config, program, rng)


def test_single_step_segments_in_single_step_blocks(rng):
    """As many segments as there are, a step each; then one segment of one step in many blocks."""
    config = CONFIGS["slow-drain"]
    segments = [
        Instr(Opcode.SEG, index=k, base=9 * k, shift=k % 3 == 2, d_wrap=6, d_row=5, d_ocb=-7)
        for k in range(config.segments)]
    out = Instr(Opcode.OUT, base=300, d_slot=1, n_slots=8, d_pix=9, d_col=9, d_line=9, d_row=9)
    program = [*segments, out, execute(n_seg=config.segments, n_ocb=2, n_rows=2, run=3, wrap=9),
               execute(run=12, wrap=5)]
    check_all(config, program, rng)


def test_no_more_in_flight_than_there_is_room_for(rng):
    config = CONFIGS["plain"]
    program = [Instr(Opcode.SEG, base=40, n_ic=1),
               Instr(Opcode.OUT, base=100, d_slot=1, d_pix=1, d_col=1)]
    program += [execute(drain=0, keep=int(k > 0), run=2, wrap=2, weights=k) for k in range(9)]
    program += [execute(keep=1, run=2, wrap=2, weights=11)]
    result = check_all(config, program, rng)
    waits = np.diff(result.accepted[2:])
    assert waits.max() > waits.min()


def test_preset_elaborates():
    for name in ("nano", "micro"):
        assert "module \\top" in rtlil.convert(ComputeEngine(PRESETS[name]))
