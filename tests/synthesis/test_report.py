"""Resource counts: cells by type, instances multiplied, and one accelerator for real."""

import pytest

from sigbit_hw.arch.config import PRESETS
from sigbit_hw.gateware.emit import NAME
from sigbit_synthesis import Resources, Target, synthesize
from sigbit_synthesis.emitted import cached_rtlil
from sigbit_synthesis.modules import split
from sigbit_synthesis.report import short


def test_cells_are_counted_by_kind() -> None:
    cells = {
        "LUT6": 3,
        "LUT6_2": 1,
        "LUT2": 2,
        "INV": 1,
        "FDRE": 5,
        "CARRY8": 1,
        "RAM32M16": 1,
        "SRL16E": 3,
        "MUXF7": 4,
        "RAMB36E2": 2,
        "RAMB18E2": 1,
        "URAM288": 1,
        "DSP48E2": 1,
    }
    assert Resources.of_cells(cells) == Resources(
        lut=3 + 1 + 2 + 1 + 8 + 3,
        ff=5,
        carry=1,
        dsp=1,
        lut_memory=8,
        lut_shift=3,
        wide_mux=4,
        block_bits=(2 * 36 + 18 + 288) * 1024,
        blocks=2.5,
        ultra=1,
    )
    ecp5 = {"LUT4": 4, "CCU2C": 3, "TRELLIS_FF": 2, "PFUMX": 9, "DP16KD": 1, "MULT18X18D": 1}
    assert Resources.of_cells(ecp5) == Resources(
        lut=4 + 6, ff=2, carry=3, dsp=1, wide_mux=9, block_bits=18 * 1024, blocks=1
    )
    one = Resources(lut=1, ff=2, blocks=0.5)
    assert one * 3 - one == one + one == Resources(lut=2, ff=4, blocks=1.0)


def test_modules_that_two_accelerators_share_have_one_text() -> None:
    fabric = Target.ECP5.fabric
    texts = {
        name: {short(s.name): s.text for s in split(cached_rtlil(PRESETS[name], fabric)).values()}
        for name in ("nano", "micro")
    }
    shared = [
        name
        for name in texts["nano"].keys() & texts["micro"].keys()
        if texts["nano"][name] == texts["micro"][name]
    ]
    assert "decode" in shared
    assert "sequencer" in shared
    assert "compute" not in shared


def test_a_parent_knows_only_the_interface_of_its_submodules() -> None:
    sources = split(cached_rtlil(PRESETS["nano"], Target.ECP5.fabric))
    top = sources[NAME]
    assert set(top.children) <= sources.keys()
    assert top.text.count("attribute \\blackbox 1\n") == len(top.children)
    assert NAME not in top.text


@pytest.mark.synth
@pytest.mark.slow
def test_an_accelerator_has_no_dsp_blocks_and_its_parts_add_up() -> None:
    config, told = PRESETS["nano"], []
    report = synthesize(config, Target.ECP5, progress=lambda *told_: told.append(told_[1:]))
    assert told[-1] == (len(report.modules), len(report.modules))
    assert report.total.dsp == 0
    for cost in ("lut", "ff", "carry", "block_bits", "blocks", "lut_memory", "wide_mux"):
        total = sum(m.instances * getattr(m.own, cost) for m in report.modules)
        assert getattr(report.total, cost) == total > 0, cost
    kept = config.act_slots * config.slot_bits + config.weight_words * config.weight_word_bits
    assert report.total.block_bits >= kept
    assert report.lut_per_mac == report.total.lut / config.macs
    assert 0 < report.array.lut < report.total.lut
    assert report.array + report.pooling == report.tree.child("compute").child("array").total
    assert report.pooling.lut > 0
    longest = max(p.levels + p.carries for p in report.paths["accelerator"])
    assert longest == max(p.levels + p.carries for m in report.modules for p in m.paths)
    assert 0 < report.levels <= max(p.levels for p in report.paths["accelerator"])
    assert report.carries > 0
