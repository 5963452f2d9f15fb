"""Devices by name, runs and comparisons as functions."""

from pathlib import Path

import numpy as np
import pytest

from sigbit.errors import UserError
from sigbit.flows import run as flow
from sigbit.flows.devices import DeviceName, device
from sigbit_hw.arch.config import PRESETS
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("fpga", "nano"),
            "must be interp, rtl, netlist, a board and its port .* not 'fpga'",
        ),
        (("interp", "giga"), "no accelerator 'giga'"),
        (("interp", "nano", "vu9p"), "must be xcup or ecp5, not 'vu9p'"),
    ],
)
def test_wrong_names(arguments: tuple[str, ...], message: str) -> None:
    name, arch, *target = arguments
    with pytest.raises(UserError, match=message):
        device(name, arch, **({"target": target[0]} if target else {}))


def test_a_device_by_name() -> None:
    assert isinstance(device("interp", "nano"), Interp)
    assert device("interp", PRESETS["micro"]).config == PRESETS["micro"]


def test_run_tells_how_far_it_is(rng: np.random.Generator, tmp_path: Path) -> None:
    program = random_program(PRESETS["nano"], rng, execs=2)
    stored = random_inputs(program, rng, 3)
    (port,) = program.inputs
    told: list[tuple[str, int, int]] = []
    images = port.dequantize(stored[port.name])
    done = flow.run(program, images, tell=lambda *told_now: told.append(told_now))
    assert done.images == 3
    assert done.layers == {}
    assert done.compared == {}
    assert done.mismatches == 0
    what = f"interp: running {program.name}"
    assert told[1:] == [(what, 0, 3), (what, 1, 3), (what, 2, 3), (what, 3, 3)]
    program.save(tmp_path / "p.sigbit")
    again = flow.run(str(tmp_path / "p.sigbit"), images, keep="layers")
    assert again.layers
    assert all((again.outputs[name] == x).all() for name, x in done.outputs.items())


def test_nothing_is_compared_with_itself(rng: np.random.Generator) -> None:
    program = random_program(PRESETS["nano"], rng, execs=1)
    (port,) = program.inputs
    images = port.dequantize(random_inputs(program, rng, 1)[port.name])
    with pytest.raises(UserError, match="interp is what others are compared with"):
        flow.compare(program, images, DeviceName.INTERP)


def test_wrong_images(rng: np.random.Generator) -> None:
    from sigbit_hw.arch.program import ProgramError

    program = random_program(PRESETS["nano"], rng, execs=1)
    with pytest.raises(ProgramError, match="must have shape"):
        flow.run(program, np.zeros((3, 3)))


def test_wrong_targets() -> None:
    from sigbit.flows.budget import Budget
    from sigbit.flows.synth import synth

    with pytest.raises(UserError, match="a target must be xcup or ecp5 or ice40, not 'vu9p'"):
        synth("nano", "vu9p")
    with pytest.raises(UserError, match="a target must be"):
        Budget.parse(["luts=5"], "vu9p")
