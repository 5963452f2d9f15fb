"""The compute engine against addressing and numerics: codes, cycles, retirement, trace."""

import numpy as np
import pytest
from amaranth.back import rtlil
from sigbit_sim.bench.compute import Contents, cycles, results, run

from sigbit_hw.arch import addressing
from sigbit_hw.arch.config import PRESETS, ArchConfig
from sigbit_hw.arch.formats import EsbFormat
from sigbit_hw.arch.isa import Instr, Mode, Opcode
from sigbit_hw.compute import ComputeEngine


def config(name, pixels, oc, ic, post, act=None, **more):
    fields = {"weight_format": EsbFormat(4, 1), "act_format": act or EsbFormat(4, 2),
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
    """Random legal programs. EXECs read the lower half of the memory and write the third quarter."""

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
            if 0 <= slots.min() and slots.max() < self.half:
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


def test_preset_elaborates():
    for name in ("nano", "micro"):
        assert "module \\top" in rtlil.convert(ComputeEngine(PRESETS[name]))
