"""Sessions, layers and comparison, with the interpreter as the device."""

from dataclasses import replace

import numpy as np
import pytest

from sigbit.runtime import (
    DeviceError,
    LayerCollector,
    Mismatch,
    Session,
    check_stored,
    compare,
    stored_inputs,
    unpack_outputs,
    window_of,
)
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import Opcode
from sigbit_hw.arch.program import ExecInfo, Port, Program, ProgramError
from sigbit_hw.arch.regs import Cause
from sigbit_sim.interp import Interp
from sigbit_sim.random_program import random_inputs, random_program

NANO = PRESETS["nano"]


@pytest.fixture
def program(rng) -> Program:
    return random_program(NANO, rng)


def with_input(program: Program, **changes: object) -> Program:
    return replace(program, inputs=(replace(program.inputs[0], **changes),))


class TestInputs:
    def test_floats_are_quantized(self, program, rng):
        port = program.inputs[0]
        x = rng.normal(0, 2, (3, *port.shape))
        assert (stored_inputs(program, x)["x"] == port.quantize(x)).all()
        assert (stored_inputs(program, x.astype(np.float32))["x"]
                == port.quantize(x.astype(np.float32))).all()

    def test_integers_are_values_in_units_of_the_scale(self, program):
        program = with_input(program, zero=3)
        port = program.inputs[0]
        x = np.arange(np.prod(port.shape)).reshape(1, *port.shape) % 5
        got = stored_inputs(program, x.astype(np.uint8))["x"]
        assert (got == x - 3).all()
        assert (got == stored_inputs(program, x * port.scale)["x"]).all()

    def test_one_image_needs_no_batch(self, program):
        shape = program.inputs[0].shape
        assert stored_inputs(program, np.zeros(shape))["x"].shape == (1, *shape)

    @pytest.mark.parametrize(("x", "message"), [
        (lambda s: np.zeros((2, *s[:2], s[2] + 1)), "x must have shape"),
        (lambda s: np.zeros(s[1:]), "x must have shape"),
        (lambda s: np.zeros((0, *s)), "N >= 1"),
        (lambda s: np.full(s, np.nan), "x must be finite"),
        (lambda s: np.full(s, 1000), r"integers must be in \[-\d+, \d+\].*not \[1000, 1000\]"),
        (lambda s: np.zeros(s, bool), "floating-point numbers or integers, not bool"),
        (lambda s: np.zeros(s, complex), "floating-point numbers or integers, not complex128"),
        (lambda s: {"y": np.zeros(s)}, r"has no inputs \['y'\]; it has \['x'\]"),
        (lambda s: {}, r"needs the inputs \['x'\], not \[\]"),
    ])
    def test_errors(self, program, x, message):
        with pytest.raises(ProgramError, match=message):
            stored_inputs(program, x(program.inputs[0].shape))

    def test_several_inputs_go_by_name(self, program):
        port = program.inputs[0]
        both = replace(program, inputs=(port, replace(port, name="b")))
        x = np.zeros((2, *port.shape))
        assert set(stored_inputs(both, {"x": x, "b": x})) == {"x", "b"}
        with pytest.raises(ProgramError, match="give a dict of arrays by name"):
            stored_inputs(both, x)
        with pytest.raises(ProgramError, match="same number of images"):
            stored_inputs(both, {"x": x, "b": x[:1]})

    def test_stored_integers_are_checked(self, program):
        port = program.inputs[0]
        with pytest.raises(ProgramError, match="must have an integer type, not float64"):
            check_stored(program, np.zeros((1, *port.shape)))
        with pytest.raises(ProgramError, match="stored integers must be in"):
            check_stored(program, np.full((1, *port.shape), port.high + 1))


class TestSession:
    def test_runs_a_file(self, program, rng, tmp_path):
        program.save(tmp_path / "net.sigbit")
        inputs = random_inputs(program, rng, 2)
        done: list[int] = []
        session = Session(tmp_path / "net.sigbit", Interp(NANO))
        got = session.run(inputs["x"], layers=True, on_image=done.append)
        expected = Interp(NANO).run(program, inputs, layers=True)
        assert compare(expected.outputs, got.outputs) == []
        assert compare(expected.layers, got.layers) == []
        assert done == [0, 1]

    def test_refuses_another_accelerator(self, program):
        with pytest.raises(ProgramError, match="compiled for nano"):
            Session(program, Interp(PRESETS["micro"]))
        with pytest.raises(ProgramError, match="compiled for nano"):
            Interp(PRESETS["micro"]).run(program, np.zeros((1, *program.inputs[0].shape), int))


class TestLayers:
    def test_parts_of_a_layer_come_together(self, program, rng):
        """A layer written in quarters, by pixels and by channels, from the same EXEC."""
        index = program.execs[0].index
        collector = LayerCollector(program)
        slots = collector.slots_of(index)
        planes, count, pixels = slots.shape
        layer = replace(program.layers[0], shape=(2 * count * NANO.ic_lanes, 2, pixels))
        parts = [(p, c) for p in (0, pixels) for c in (0, count * NANO.ic_lanes)]
        codes = rng.integers(0, 16, (4, planes, count, pixels, NANO.ic_lanes))
        expected = np.zeros(layer.shape, np.int64)
        grid = NANO.act_grid(planes)
        merged = {}
        for (pixel, channel), code in zip(parts, codes, strict=True):
            info = ExecInfo(index, layer.name, pixel, channel)
            one = LayerCollector(replace(program, layers=(layer,), execs=(info,)))
            one.add(index, code)
            with pytest.raises(ValueError, match="were not written exactly once"):
                one.layers()
            merged[pixel, channel] = info
            for plane, slot, p, lane in np.ndindex(code.shape):
                value = int(np.asarray(grid.native.decode(code))[plane, slot, p, lane])
                row, column = divmod(pixel + p, pixels)
                expected[channel + slot * NANO.ic_lanes + lane, row, column] += \
                    value << (NANO.term_radix_bits * plane)
        draining = [i for i, instr in enumerate(program.listing)
                    if instr.opcode == Opcode.EXEC and instr.drain]
        infos = tuple(replace(info, index=i)
                      for i, info in zip(draining, merged.values(), strict=False))
        collector = LayerCollector(replace(program, layers=(layer,), execs=infos))
        for info, code in zip(infos, codes, strict=True):
            collector.add(info.index, code)
        assert (collector.layers()[layer.name] == expected).all()
        collector.clear()
        with pytest.raises(ValueError, match="were not written exactly once"):
            collector.layers()

    def test_bad_lists_of_execs_are_refused(self, program):
        name = program.layers[0].name
        with pytest.raises(ValueError, match="not a draining EXEC"):
            LayerCollector(replace(program, execs=(ExecInfo(0, name, 0, 0),)))
        with pytest.raises(ValueError, match=r"no instructions \[99999\]"):
            LayerCollector(replace(program, execs=(ExecInfo(99999, name, 0, 0),)))
        illegal = np.zeros_like(program.instructions)
        with pytest.raises(ProgramError, match="random: instruction 0: illegal opcode 0"):
            LayerCollector(replace(program, instructions=illegal))


class TestCompare:
    def test_differences_are_counted_and_located(self):
        a = np.arange(24).reshape(2, 3, 4)
        b = a.copy()
        b[1, 0, 2] = b[1, 2, 3] = -1
        assert compare({"a": a, "b": a}, {"a": a, "b": b}) == \
            [Mismatch("b", 2, 24, (1, 0, 2), 14, -1)]
        assert "2 of 24 differ, first at [1, 0, 2]: -1 instead of 14" in str(
            compare({"b": a}, {"b": b})[0])

    def test_comparing_nothing_is_an_error(self):
        a = np.zeros((1, 2))
        for got in ({}, {"a": a[:0]}):
            with pytest.raises(ValueError, match="nothing to compare"):
                compare({"a": a[:0] if got else a}, got)
        with pytest.raises(ValueError, match="layer 'b' has no expected values"):
            compare({"a": a}, {"b": a})
        with pytest.raises(ValueError, match=r"must have shape \[1, 2\], not \[2, 1\]"):
            compare({"a": a}, {"a": a.T})


def test_device_error_names_instruction_and_layer(program):
    index = program.execs[0].index
    error = DeviceError(Cause.WATCHDOG, index, program)
    assert f"instruction {index} (EXEC" in str(error)
    assert f"of layer {program.layers[0].name!r}: WATCHDOG: no engine" in str(error)
    assert (error.cause, error.index) == (Cause.WATCHDOG, index)
    assert "past the end" in str(DeviceError(Cause.ILLEGAL, 10**6, program))
    assert str(DeviceError(Cause.WINDOW, 3)) == \
        "instruction 3: WINDOW: a DMA access outside the window"


def test_window_holds_inputs_and_gives_outputs(program, rng):
    inputs = random_inputs(program, rng, 2)
    memory = window_of(program, inputs, 1)
    port: Port = program.inputs[0]
    part = memory[port.offset:port.offset + port.bytes(NANO)]
    assert (port.unpack(part, NANO) == inputs["x"][1]).all()
    assert set(unpack_outputs(program, memory)) == {"y", "z"}
