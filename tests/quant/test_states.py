"""States: networks that keep what they have heard, quantized and compiled, compared step by step
with the same networks over the whole time."""

from collections.abc import Mapping

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from compiler.unrolled import unrolled
from sigbit.compiler import compile_graph
from sigbit.errors import QuantizationError, UserError
from sigbit.frontend import import_model
from sigbit.frontend.states import with_states
from sigbit.ir.integer import IntegerGraph
from sigbit.ir.model_file import load_model, save_model
from sigbit.ir.streaming import stream
from sigbit.quant import PreparedModel, QuantSpec, convert, prepare
from sigbit.quant.calibration.streams import states_of
from sigbit.quant.post import post_training
from sigbit.runtime import Session
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.program import Program
from sigbit_sim.interp.device import Interp
from sigbit_sim.rtl.device import RtlDevice

pytestmark = pytest.mark.network

NANO = PRESETS["nano"]
SPEC = QuantSpec.from_arch(NANO)
FEATURES, CHANNELS, CLASSES, STEPS = 5, 8, 4, 12


class Spotter(nn.Module):
    """A causal keyword spotter over the whole time: ``[N, features, steps]``."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv1d(FEATURES, CHANNELS, 3)
        self.second = nn.Conv1d(CHANNELS, CHANNELS, 3, dilation=2)
        self.head = nn.Conv1d(CHANNELS, CLASSES, 1)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first(F.pad(x, (2, 0))))
        x = F.relu(self.second(F.pad(x, (4, 0))))
        return self.head(x)


class StreamingSpotter(Spotter):
    """The same, frame by frame, with the last inputs of every layer in buffers."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("heard", torch.zeros(1, FEATURES, 2))
        self.register_buffer("found", torch.zeros(1, CHANNELS, 4))

    def forward(self, x: Tensor) -> Tensor:
        x = torch.cat([self.heard, x], 2)
        self.heard.copy_(x[:, :, 1:])
        x = torch.cat([self.found, F.relu(self.first(x))], 2)
        self.found.copy_(x[:, :, 1:])
        return self.head(F.relu(self.second(x)))


class Recurrent(nn.Module):
    """A cell of torch and a layer behind it; its states are inputs and outputs."""

    def __init__(self, cell: type[nn.Module]) -> None:
        super().__init__()
        self.cell, self.head = cell(FEATURES, CHANNELS), nn.Linear(CHANNELS, CLASSES)


class Gru(Recurrent):
    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.cell(x, h)
        return self.head(h), h


class Lstm(Recurrent):
    def forward(self, x: Tensor, h: Tensor, c: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        h, c = self.cell(x, (h, c))
        return self.head(h), h, c


def frames(seed: int = 3) -> Tensor:
    return torch.randn(STEPS, FEATURES, 1, generator=torch.Generator().manual_seed(seed))


def spotters(seed: int = 1) -> tuple[StreamingSpotter, Spotter]:
    torch.manual_seed(seed)
    streaming, whole = StreamingSpotter(), Spotter()
    whole.load_state_dict({n: v for n, v in streaming.state_dict().items() if "." in n})
    return streaming.eval(), whole.eval()


def recurrent(kind: type[Recurrent]) -> tuple[PreparedModel, Tensor]:
    torch.manual_seed(2)
    states = {"h": 1, "c": 2} if kind is Lstm else {"h": 1}
    model = kind(nn.LSTMCell if kind is Lstm else nn.GRUCell)
    steps = frames()[:, :, 0]
    examples = (torch.zeros(2, FEATURES), *(torch.zeros(2, CHANNELS) for _ in states))
    return prepare(model, SPEC, examples, (steps,), states), steps


def streamed(
    program: Program, graph: IntegerGraph, x: Tensor, device: Interp | RtlDevice
) -> dict[str, np.ndarray]:
    """Every layer and output of a stream in two parts, equal to the integer model's."""
    codes = program.inputs[0].quantize(x.numpy())
    device.reset_state(program)
    parts = [
        device.run(program, {program.inputs[0].name: part}, layers=True)
        for part in (codes[:5], codes[5:])
    ]
    found = {
        name: np.concatenate([(p.layers | p.outputs)[name] for p in parts])
        for name in parts[0].layers | parts[0].outputs
    }
    golden = stream(graph, {program.inputs[0].name: torch.from_numpy(codes)})
    for name, values in found.items():
        np.testing.assert_array_equal(values, golden[name].numpy(), name)
    return found


def test_a_streaming_spotter_is_the_whole_one() -> None:
    """The network over the whole time, quantized on its own with the same scales: the codes of all
    frames, of the layers and the outputs, and those of the interpreter frame by frame."""
    streaming, whole = spotters()
    x = frames()
    spec = QuantSpec.from_arch(NANO, bits={"relu": (2, 1)})
    one = prepare(streaming, spec, x[:1], x)
    sequence = x[:, :, 0].T[None]
    other = prepare(whole, spec, sequence, sequence)
    for name, theirs in (("relu", "relu"), ("relu_2", "relu_2"), ("head", "head")):
        scale = one.quant_module(name).out_quantizer.scale()
        other.quant_module(theirs).out_quantizer.give(scale)
    graph, golden = convert(one).graph, convert(other)
    assert [state.input for state in graph.states] == ["heard", "found"]
    assert graph["heard"].type.scale == pytest.approx(graph["x"].type.scale, rel=1e-12)
    program = compile_graph(graph, NANO)
    found = streamed(program, graph, x, Interp(NANO, strict=True))
    wanted = golden.stored(sequence)
    for name in ("relu", "relu_2", "head"):
        want = wanted[name].numpy()
        codes = found[name]
        assert codes.size == want.size
        want = want.reshape(want.shape[1], STEPS).T
        np.testing.assert_array_equal(codes.reshape(STEPS, -1), want, name)


@pytest.mark.sim
@pytest.mark.parametrize("kind", [StreamingSpotter, Gru, Lstm])
def test_a_stream_in_rtl_is_the_unrolled_network(kind: type[nn.Module]) -> None:
    """Compiled as one Program without states, and run at once: all layers of all steps."""
    if kind is StreamingSpotter:
        streaming, _ = spotters()
        x = frames()
        prepared = prepare(streaming, SPEC, x[:1], x)
    else:
        prepared, x = recurrent(kind)
    graph = convert(prepared).graph
    program = compile_graph(graph, NANO)
    count = 7
    whole = compile_graph(unrolled(graph, count), NANO)
    device = RtlDevice(NANO)
    found = streamed(program, graph, x, device)
    codes = program.inputs[0].quantize(x.numpy())
    given = {f"{program.inputs[0].name}.{i}": codes[i : i + 1] for i in range(count)}
    golden = device.run(whole, given, layers=True)
    wanted: Mapping[str, np.ndarray] = golden.layers | golden.outputs
    assert len(wanted) >= count * len(found)
    for name, values in found.items():
        for step in range(count):
            np.testing.assert_array_equal(values[step], wanted[f"{name}.{step}"][0], name)


@pytest.mark.parametrize("kind", [Gru, Lstm])
def test_training_and_deployment_agree(kind: type[Recurrent]) -> None:
    """The trainable model, fed with its own states, the integer model and the interpreter."""
    prepared, x = recurrent(kind)
    model = convert(prepared.double())
    graph = model.graph
    states = [s[None] for s in (state.initial.double() for state in prepared.states)]
    results = []
    for row in x.double():
        result, *states = prepared(row[None], *states)
        results.append(result.detach())
    program = compile_graph(graph, NANO)
    session = Session(program, Interp(NANO))
    found = np.concatenate([session.run(row[None].numpy()).results["head"] for row in x])
    np.testing.assert_allclose(found, torch.cat(results).numpy(), rtol=0, atol=1e-9)
    session.reset_state()
    again = session.run(x.numpy()).results["head"]
    np.testing.assert_array_equal(again, found)


def test_gradients_reach_the_first_step() -> None:
    prepared, x = recurrent(Gru)
    start = torch.zeros(1, CHANNELS, requires_grad=True)
    h = start
    for row in x[:3]:
        y, h = prepared(row[None], h)
    y.sum().backward()
    assert start.grad is not None
    assert bool(start.grad.abs().sum() > 0)


def test_a_state_and_its_next_value_are_one_tensor() -> None:
    prepared, _ = recurrent(Lstm)
    graph = convert(prepared).graph
    for state, tensor in graph.kept:
        assert graph[state].type == graph[tensor].type
    assert [name for name, _, _ in graph.returned] == ["head"]


def test_initial_values_are_those_of_the_buffer() -> None:
    streaming, _ = spotters()
    x = frames()
    streaming.heard.copy_(torch.linspace(-1, 1, 2 * FEATURES).reshape(1, FEATURES, 2))
    graph = convert(prepare(streaming, SPEC, x[:1], x)).graph
    kind, initial = graph["heard"].type, graph.states[0].initial
    real = kind.scale * (initial + kind.zero)
    given = torch.linspace(-1, 1, 2 * FEATURES).reshape(FEATURES, 2, 1).numpy()
    assert np.abs(real - given).max() <= kind.scale / 2 + 1e-9
    found = graph.states[1].initial
    assert (found == -graph["found"].type.zero).all()  # 0 behind a ReLU is not the code 0
    assert graph["found"].type.zero != 0


def test_calibration_is_a_stream() -> None:
    """States are those of the float network, step by step; or the user's own."""
    streaming, _ = spotters()
    x = frames()
    graph = import_model(streaming, x[:1])
    known = {"x": x} | states_of(graph, {"x": x})
    for step in range(STEPS):
        np.testing.assert_array_equal(known["heard"][step, :, 1], x[step - 1, :, 0] * (step > 0))
        with torch.no_grad():
            streaming(x[step : step + 1])
        if step + 1 < STEPS:
            torch.testing.assert_close(known["found"][step + 1], streaming.found[0])
    mine = [known[node.name] for node in graph.inputs]
    digests = {
        str(convert(prepare(graph, SPEC, x[:1], given)).graph["relu"].type.scale)
        for given in (x, tuple(mine))
    }
    assert len(digests) == 1


def test_files_and_post_training(tmp_path) -> None:
    streaming, _ = spotters()
    x = frames()
    graph = convert(post_training(import_model(streaming, x[:1]), x)).graph
    save_model(graph, tmp_path / "net.sbm")
    loaded = load_model(tmp_path / "net.sbm")
    assert loaded == graph
    program = compile_graph(loaded, PRESETS["micro"])
    program.save(tmp_path / "net.sigbit")
    again = Program.load(tmp_path / "net.sigbit")
    assert again.digest == program.digest
    codes = {"x": program.inputs[0].quantize(x.numpy())}
    found = Interp(PRESETS["micro"], strict=True).run(again, codes).outputs["head"]
    golden = stream(graph, {"x": torch.from_numpy(codes["x"])})["head"]
    np.testing.assert_array_equal(found, golden.numpy())


@pytest.mark.parametrize(
    ("states", "message"),
    [
        ({"g": 1}, r"state g=1: there is no input 'g'; there are x, h"),
        ({"h": 2}, r"state h=2: there is no such output; .* there are head \(0\), .* \(1\)"),
        ({"h": "y"}, r"state h=y: there is no such output"),
        ({"h": 0}, r"state h=0: the input is \[8\], the output \[4\]"),
        ({"x": 0, "h": 1}, r"state x=0: the input is \[5\], the output \[4\]"),
    ],
)
def test_declarations_that_fit_nothing(states: dict, message: str) -> None:
    graph = import_model(Gru(nn.GRUCell), (torch.zeros(2, FEATURES), torch.zeros(2, CHANNELS)))
    with pytest.raises(UserError, match=message):
        with_states(graph, states)


class Only(nn.Module):
    """Returns nothing but its state."""

    def forward(self, x: Tensor, h: Tensor) -> Tensor:
        return x + h


class Still(nn.Module):
    """A state that is never anything but its first value."""

    def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        return x + h, h


class Twice(nn.Module):
    def forward(self, x: Tensor, a: Tensor, b: Tensor) -> tuple[Tensor, Tensor]:
        return x + a + b, a + x


class Delay(nn.Module):
    """The inputs of one and of two steps before."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)

    def forward(self, x: Tensor, late: Tensor, later: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return self.layer(x + late - later), x, late


def test_a_delay_keeps_the_codes_of_its_input() -> None:
    x = torch.randn(STEPS, 3, generator=torch.Generator().manual_seed(5))
    torch.manual_seed(6)
    prepared = prepare(Delay(), SPEC, x[:6].split(2), (x,), {"late": 1, "later": 2})
    graph = convert(prepared).graph
    program = compile_graph(graph, NANO)
    found = streamed(program, graph, x, Interp(NANO, strict=True))
    codes = program.inputs[0].quantize(x.numpy())
    np.testing.assert_array_equal(found["x.native"], codes)
    values = stream(graph, {"x": torch.from_numpy(codes)})
    np.testing.assert_array_equal(values["later"][2:], codes[:-2])


def test_what_makes_no_sense_is_refused() -> None:
    x = torch.randn(4, 3)
    with pytest.raises(UserError, match="the network returns nothing else"):
        prepare(Only(), SPEC, (x, x), (x,), {"h": 0})
    with pytest.raises(UserError, match="another state has this output"):
        prepare(Twice(), SPEC, (x, x, x), (x,), {"a": 1, "b": 1})
    with pytest.raises(QuantizationError, match="state 'h' never holds anything computed"):
        prepare(Still(), SPEC, (x, x), (x,), {"h": 1})


def test_on_the_host() -> None:
    """What the host does with other outputs leaves a state on the device."""

    class Spotting(Gru):
        def forward(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
            y, h = super().forward(x, h)
            return torch.topk(y.softmax(1), 2)[0], h

    torch.manual_seed(4)
    x = frames()[:, :, 0]
    model = Spotting(nn.GRUCell).eval()
    prepared = prepare(
        model, SPEC, (torch.zeros(2, FEATURES), torch.zeros(2, CHANNELS)), (x,), {"h": 1}
    )
    assert prepared.host
    program = compile_graph(convert(prepared).graph, NANO)
    assert len(program.states) == 1
    assert len(program.returned) == 1
    found = Session(program, Interp(NANO)).run(x.numpy()).results[program.returned[0]]
    assert found.shape == (STEPS, 2)
    assert (found[:, 0] >= found[:, 1]).all()
