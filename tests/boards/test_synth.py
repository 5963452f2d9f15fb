"""Resource counts: cells by type, instances multiplied, and one accelerator for real."""

from sigbit_boards.synthesis import Resources, Target, synthesize
from sigbit_hw.arch.config import PRESETS


def test_cells_are_counted_by_kind() -> None:
    cells = {
        "LUT6": 3,
        "LUT2": 2,
        "FDRE": 5,
        "CARRY8": 1,
        "RAM32M16": 1,
        "RAMB36E2": 2,
        "DSP48E2": 1,
    }
    assert Resources.of_cells(cells) == Resources(
        lut=3 + 2 + 8, ff=5, carry=1, dsp=1, block_bits=2 * 36 * 1024
    )
    ecp5 = {"LUT4": 4, "CCU2C": 3, "TRELLIS_FF": 2, "PFUMX": 9, "DP16KD": 1, "MULT18X18D": 1}
    assert Resources.of_cells(ecp5) == Resources(4 + 6, 2, 3, 1, 18 * 1024)


def test_an_accelerator_has_no_dsp_blocks_and_its_parts_add_up() -> None:
    config = PRESETS["nano"]
    report = synthesize(config, Target.ECP5)
    assert report.total.dsp == 0
    assert report.total.lut == sum(m.instances * m.own.lut for m in report.modules) > 1000
    assert report.total.ff == sum(m.instances * m.own.ff for m in report.modules) > 1000
    kept = config.act_slots * config.slot_bits + config.weight_words * config.weight_word_bits
    assert report.total.block_bits >= kept
    dots = [m for m in report.modules if "_dot_" in m.name]
    assert sum(m.instances for m in dots) == config.pixels * config.oc_lanes
    assert report.lut_per_mac == report.total.lut / config.macs
