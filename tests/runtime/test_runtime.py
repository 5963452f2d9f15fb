"""Sessions, layers and comparison, with the interpreter as the device."""

import math
from dataclasses import replace

import numpy as np
import pytest

from boards.conformance import STREAMS
from sigbit.compiler import compile_graph
from sigbit.compiler.random_graph import Builder
from sigbit.compiler.random_states import random_stateful
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
from sigbit_hw.arch import isa
from sigbit_hw.arch.axes import Axes
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.host import HostInput, HostPart, HostStep
from sigbit_hw.arch.isa import Opcode
from sigbit_hw.arch.program import ExecInfo, ModelOutput, Port, Program, ProgramError
from sigbit_hw.arch.regs import Cause
from sigbit_sim.interp.device import Interp
from sigbit_sim.random_programs.program import random_inputs, random_program

NANO = PRESETS["nano"]


@pytest.fixture
def program(rng) -> Program:
    return random_program(NANO, rng)


def batch_program(rng: np.random.Generator) -> Program:
    """A compiled network that takes two images a run."""
    b = Builder(rng, NANO)
    x = b.input((3, 4, 4), 1)
    return compile_graph(b.graph(b.conv([b.source(x, 5, (3, 3))])), NANO, images=2)


def with_input(program: Program, **changes: object) -> Program:
    return replace(program, inputs=(replace(program.inputs[0], **changes),))


class TestInputs:
    def test_floats_are_quantized(self, program, rng):
        port = program.inputs[0]
        x = rng.normal(0, 2, (3, *port.own_shape))
        assert (stored_inputs(program, x)["x"] == port.quantize(x)).all()
        assert (
            stored_inputs(program, x.astype(np.float32))["x"] == port.quantize(x.astype(np.float32))
        ).all()

    def test_integers_are_real_values(self, program):
        """As floats of the same value are: an array means one thing."""
        program = with_input(program, zero=3, scale=0.75)
        shape = program.inputs[0].shape
        x = np.arange(np.prod(shape)).reshape(1, *shape) % 5
        got = stored_inputs(program, x.astype(np.uint8))["x"]
        assert (got == stored_inputs(program, x.astype(float))["x"]).all()

    def test_stored_integers_are_taken_as_they_are(self, program):
        program = with_input(program, zero=3)
        shape = program.inputs[0].shape
        x = np.arange(np.prod(shape)).reshape(1, *shape) % 5
        assert (stored_inputs(program, x.astype(np.uint8), stored=True)["x"] == x).all()
        with pytest.raises(ProgramError, match=r"integers must be in \[.*not \[1000, 1000\]"):
            stored_inputs(program, np.full_like(x, 1000), stored=True)
        with pytest.raises(ProgramError, match="must hold stored integers, not float64"):
            stored_inputs(program, x.astype(float), stored=True)

    @pytest.mark.parametrize(
        ("x", "message"),
        [
            (lambda s: np.zeros((2, *s[:2], s[2] + 1)), "x must have shape"),
            (lambda s: np.zeros(s[1:]), "x must have shape"),
            (lambda s: np.zeros((0, *s)), "N >= 1"),
            (lambda s: np.zeros(s), "x must have shape"),
            (lambda s: np.full((1, *s), np.nan), "x must be finite"),
            (lambda s: np.zeros((1, *s), bool), "x must hold numbers, not bool"),
            (lambda s: np.zeros((1, *s), complex), "x must hold numbers, not complex128"),
            (lambda s: {"y": np.zeros(s)}, r"has no inputs \['y'\]; it has \['x'\]"),
            (lambda s: {}, r"needs the inputs \['x'\], not \[\]"),
        ],
    )
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
        got = session.run(inputs["x"], stored=True, layers=True, on_image=done.append)
        expected = Interp(NANO).run(program, inputs, layers=True)
        assert compare(expected.outputs, got.outputs) == []
        assert compare(expected.layers, got.layers) == []
        assert done == [0, 1]

    def test_fills_the_last_run(self, rng):
        """Three images on a Program of two a run: four are run, three come back."""
        pair = batch_program(rng)
        inputs = random_inputs(pair, rng, 4)
        device = Interp(NANO)
        everything = device.run(pair, inputs, layers=True)
        done: list[int] = []
        stored = {name: x[:3] for name, x in inputs.items()}
        got = Session(pair, device).run(stored, stored=True, layers=True, on_image=done.append)
        for part, whole in ((got.outputs, everything.outputs), (got.layers, everything.layers)):
            assert compare({name: x[:3] for name, x in whole.items()}, part) == []
        assert done == [0, 1, 2]
        with pytest.raises(ProgramError, match=r"takes 2 images per run.*not 3"):
            device.run(pair, {name: x[:3] for name, x in inputs.items()})

    def test_results_have_the_networks_own_names_and_shapes(self, program, rng):
        """Two results of one port: one as it is stored, one flattened. The host continues on the
        latter alone, with real values only."""
        port = program.outputs[0]
        two = replace(
            program,
            results=(
                ModelOutput("map", port.name),
                ModelOutput("flat", port.name, Axes.FEATURES),
            ),
        )
        flat = math.prod(port.shape)
        hosted = replace(
            two,
            host=HostPart(
                (HostInput("f", "flat", (flat,)), HostInput("m", "map", port.shape)),
                (HostStep("ArgMax", ("f",), ("class",), {"axis": 1, "keepdims": 0}),),
                {},
                ("class", "m"),
            ),
        )
        x = random_inputs(two, rng, 2)["x"]
        real_x = two.inputs[0].dequantize(x)
        for each, names in ((two, ["map", "flat"]), (hosted, ["class", "m"])):
            assert list(each.returned) == names
            session = Session(each, Interp(NANO))
            coded = session.run(x, stored=True)
            raw = coded.outputs[port.name]
            assert list(coded.results) == ["map", "flat"]
            assert (coded.results["map"] == raw).all()
            assert (coded.results["flat"] == raw.reshape(2, -1)).all()
            real = session.run(real_x).results
            assert list(real) == names
            if each is two:
                assert (real["map"] == port.dequantize(raw)).all()
                assert (real["flat"] == port.dequantize(raw).reshape(2, -1)).all()
            else:
                assert (real["m"] == port.dequantize(raw)).all()
                assert (real["class"] == raw.reshape(2, -1).argmax(1)).all()

    def test_refuses_another_accelerator(self, program):
        with pytest.raises(ProgramError, match="compiled for nano"):
            Session(program, Interp(PRESETS["micro"]))
        with pytest.raises(ProgramError, match="compiled for nano"):
            Interp(PRESETS["micro"]).run(program, np.zeros((1, *program.inputs[0].shape), int))


class TestLayers:
    def test_parts_of_a_layer_come_together(self, program, rng):
        """Two images of a layer in parts: half of the channels, every second pixel."""
        planes, count, pixels = LayerCollector(program).slots_of(program.execs[0].index).shape
        code = program.listing[: program.execs[0].index + 1]
        out = next(i for i in reversed(code) if i.opcode == Opcode.OUT)
        repeated = isa.pack([*[out, code[-1]] * 16, isa.Halt()])
        channels = count * NANO.ic_lanes
        layer = replace(program.layers[0], shape=(2 * channels - 1, 2, 2 * pixels))
        grid = NANO.act_grid(planes)
        expected = np.full((2, *layer.shape), 99)
        infos, codes = [], []
        for image, first, x, y in np.ndindex(2, 2, 2, 2):
            width = channels - first
            info = ExecInfo(
                2 * len(infos) + 1,
                layer.name,
                first * channels,
                y,
                x,
                1,
                pixels,
                (1, 2),
                image,
                width,
            )
            code = rng.integers(0, 16, (planes, count, pixels, NANO.ic_lanes)).astype(np.uint8)
            infos.append(info)
            codes.append(code)
            for slot, pixel, lane in np.ndindex(code.shape[1:]):
                channel = slot * NANO.ic_lanes + lane
                if channel < width:
                    value = grid.decode(code[:, slot, pixel, lane])
                    expected[image, first * channels + channel, y, x + 2 * pixel] = value
        assert (expected != 99).all()
        collector = LayerCollector(
            replace(program, layers=(layer,), images=2, instructions=repeated, execs=tuple(infos))
        )
        for info, code in zip(infos, codes, strict=True):
            with pytest.raises(ProgramError, match="were not written exactly once"):
                collector.layers()
            collector.add(info.index, code)
        assert (collector.layers()[layer.name] == expected).all()
        collector.add(infos[0].index, codes[0])
        with pytest.raises(ProgramError, match="were not written exactly once"):
            collector.layers()
        collector.clear()
        with pytest.raises(ProgramError, match="were not written exactly once"):
            collector.layers()

    def test_parts_outside_a_layer_are_refused(self, program):
        info = program.execs[0]
        planes, count, pixels = LayerCollector(program).slots_of(info.index).shape
        codes = np.zeros((planes, count, pixels, NANO.ic_lanes), np.uint8)
        for wrong, message in [
            (replace(info, y=info.y + program.layers[0].shape[1]), "which has"),
            (replace(info, columns=info.columns + 1), "pixels as"),
            (replace(info, channel=1, channels=program.layers[0].shape[0]), "writes channels up"),
        ]:
            collector = LayerCollector(replace(program, execs=(wrong,)))
            with pytest.raises(ProgramError, match=message):
                collector.add(info.index, codes)

    def test_bad_lists_of_execs_are_refused(self, program):
        name = program.layers[0].name
        with pytest.raises(ProgramError, match="not a draining EXEC"):
            LayerCollector(replace(program, execs=(ExecInfo(0, name, 0, 0, 0, 1, 1),)))
        with pytest.raises(ProgramError, match=r"no instructions \[99999\]"):
            LayerCollector(replace(program, execs=(ExecInfo(99999, name, 0, 0, 0, 1, 1),)))
        illegal = np.zeros_like(program.instructions)
        with pytest.raises(ProgramError, match="random: instruction 0: illegal opcode 0"):
            LayerCollector(replace(program, instructions=illegal))


class TestCompare:
    def test_differences_are_counted_and_located(self):
        a = np.arange(24).reshape(2, 3, 4)
        b = a.copy()
        b[1, 0, 2] = b[1, 2, 3] = -1
        assert compare({"a": a, "b": a}, {"a": a, "b": b}) == [
            Mismatch("b", 2, 24, (1, 0, 2), 14, -1)
        ]
        assert "2 of 24 differ, first at [1, 0, 2]: -1 instead of 14" in str(
            compare({"b": a}, {"b": b})[0]
        )

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
    assert (
        str(DeviceError(Cause.WINDOW, 3))
        == "instruction 3: WINDOW: a DMA access outside the window"
    )


def test_window_holds_inputs_and_gives_outputs(program, rng):
    inputs = random_inputs(program, rng, 2)
    memory = window_of(program, inputs, 1)
    port: Port = program.inputs[0]
    part = memory[port.offset : port.offset + port.bytes(NANO)]
    assert (port.unpack(part, NANO) == inputs["x"][1]).all()
    assert set(unpack_outputs(program, memory)) == {"y", "z"}


class TestStates:
    """Sessions of a Program with states; what every device does with them is in
    ``boards.conformance``."""

    def test_sessions(self):
        each = STREAMS[0]
        device = Interp(NANO)
        first, end = Session(each.program, device), each.STEPS
        wanted = {port.name: each.golden(0, end)[port.name] for port in each.program.outputs}

        def right(session: Session, begin: int, end: int, at: int) -> None:
            given = {name: x[begin:end] for name, x in each.inputs.items()}
            for name, codes in session.run_stored(given).outputs.items():
                assert (codes == wanted[name][at : at + end - begin]).all(), name

        right(first, 0, 2, 0)
        right(first, 2, 3, 2)
        first.reset_state()
        right(first, 0, 1, 0)
        second = Session(each.program, device)
        right(second, 0, 3, 0)  # begins anew
        right(first, 3, 4, 3)  # which the first one takes over
        other = Session(each.program, device, owner="another")
        right(other, 0, 1, 0)
        with pytest.raises(ProgramError, match="has no states"):
            first.reset_state("nothing")

    def test_streams_side_by_side(self):
        graph = random_stateful(np.random.default_rng(5), NANO)
        program = compile_graph(graph, NANO, images=2)
        x = {p.name: np.full((3, *p.shape), p.low) for p in program.inputs}
        with pytest.raises(ProgramError, match="keeps the states of 2 streams: give a sample of"):
            Session(program, Interp(NANO)).run_stored(x)
