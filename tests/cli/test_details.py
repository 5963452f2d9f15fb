"""What reports show beyond tables: memories, timelines, codes and errors, each held against another
way to find it, and the same in JSON as on the page."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from quant.test_annotated import quantized
from sigbit.compiler import compile_graph
from sigbit.compiler.random_graph import random_graph
from sigbit.flows.details.chip import chip
from sigbit.flows.details.codes import activation_codes, model_codes, program_codes
from sigbit.flows.details.tensors import Tensors, measure
from sigbit.flows.details.timeline import predicted
from sigbit.flows.pages.numbers import numbers
from sigbit.flows.progress import silent
from sigbit.frontend import import_model
from sigbit.ir.integer import Conv
from sigbit.quant import QuantSpec, convert, prepare
from sigbit.quant.post import fold_batch_norms
from sigbit_hw.arch.addressing import read_slots, valid_lanes, write_slots
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.isa import Exec, Load, LoadKind, Out, Seg
from sigbit_hw.arch.program import Program
from sigbit_sim.cycles import predict
from sigbit_sim.interp.device import Interp

NANO = PRESETS["nano"]
SOURCE = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a = nn.Conv2d(1, 4, 3, padding=1)
        self.b = nn.Conv2d(4, 4, 3)
        self.c = nn.Linear(64, 3)

    def forward(self, x):
        return self.c(torch.relu(self.b(torch.relu(self.a(x)))).flatten(1))
"""


def _program(rng: np.random.Generator) -> Program:
    return compile_graph(random_graph(rng, NANO, layers=6), NANO)


@pytest.mark.parametrize("case", range(4))
def test_the_slots_of_a_layer(rng, case):
    """First and last slots are those of all slots, one by one."""
    program = _program(rng)
    touched: dict[tuple[str, str], set[int]] = {}
    segments: dict[int, Seg] = {}
    out = None
    for instr in program.listing:
        if isinstance(instr, Seg):
            segments[instr.index] = instr
        elif isinstance(instr, Out):
            out = instr
        elif isinstance(instr, Exec) and instr.tag < len(program.layers):
            name, valid = program.layers[instr.tag].name, valid_lanes(instr, NANO)
            for i in range(instr.n_seg):
                slots = np.moveaxis(read_slots(segments[i], instr, NANO), 3, 0)[..., valid]
                touched.setdefault((name, "reads"), set()).update(slots.ravel().tolist())
            if instr.drain and out is not None:
                slots = write_slots(out, instr, NANO)
                touched.setdefault((name, "writes"), set()).update(slots.ravel().tolist())
    found = {(r.layer, r.doing): (r.start, r.stop) for r in chip(program).slots}
    assert found == {key: (min(s), max(s) + 1) for key, s in touched.items()}


def test_the_memories_on_the_chip(rng):
    program = _program(rng)
    memories = {m.name: m for m in chip(program).memories}
    assert memories["activation slots"].banks == NANO.pixels
    assert memories["weight words"].items == NANO.weight_words
    assert memories["parameter groups"].item_bytes == 8 * NANO.param_lanes
    assert all(0 < m.used <= m.items for m in memories.values())
    words = {
        word
        for i in program.listing
        if isinstance(i, Load) and i.kind == LoadKind.WEIGHTS
        for word in range(i.dst, i.dst + i.n0)
    }
    assert memories["weight words"].used == len(words)


@pytest.mark.sim
def test_the_predicted_timeline(rng):
    program = _program(rng)
    told = predict(program)
    found = predicted(program, told)
    assert found.cycles == told.cycles
    assert {s.engine for s in found.spans} == {"LOAD", "COMPUTE", "STORE"}
    assert all(0 <= s.start <= s.stop <= told.cycles for s in found.spans)
    assert max(s.stop for s in found.spans) == told.retires.max()
    computed = {s.layer for s in found.spans if s.engine == "COMPUTE"} - {-1}
    wanted = {i.tag for i in program.listing if isinstance(i, Exec)}
    assert computed == {tag for tag in wanted if tag < len(program.layers)}


def test_the_weights_of_a_program_are_those_of_the_model():
    """Of layers with one term all weights but zeros, which also fill empty lanes, are there."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(8, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.ReLU())
    x = torch.randn(2, 8, 6, 6)
    spec = QuantSpec.from_arch(NANO, first_last_terms=1)
    graph = convert(prepare(model.eval(), spec, (x,))).graph
    program = compile_graph(graph, NANO)
    loaded, kept = program_codes(program), model_codes(graph)
    assert [w.layer for w in loaded] == [w.layer for w in kept] == [i.name for i in program.layers]
    for a, b in zip(loaded, kept, strict=True):
        assert a.grid.tolist() == b.grid.tolist() == NANO.weight_grid(1).values.tolist()
        assert a.counts[a.grid != 0].tolist() == b.counts[b.grid != 0].tolist()
    sizes = [s.weights.size for n in graph.nodes if isinstance(n, Conv) for s in n.sources]
    assert [int(w.counts.sum()) for w in kept] == sizes


def test_the_activations_of_a_run(rng):
    program = _program(rng)
    (port,) = program.inputs
    stored = rng.integers(port.low, port.high, (3, *port.shape), endpoint=True)
    layers = Interp(NANO).run(program, stored, layers=True).layers
    found = {use.layer: use for use in activation_codes(program, layers)}
    assert set(found) == set(layers)
    for info in program.layers:
        values, use = layers[info.name] + info.zero, found[info.name]
        assert use.counts.sum() == values.size
        assert (use.counts * use.grid).sum() == values.sum()


def _measured(model: nn.Module, x: torch.Tensor, **options: object) -> Tensors:
    graph = fold_batch_norms(import_model(model.eval(), (x,)))
    prepared = prepare(graph, QuantSpec.from_arch(NANO, **options), (x,))
    convert(prepared)
    return measure(prepared, graph, (x,), "noise", silent)


def test_errors_are_split():
    """Weights on their grid cost nothing, inputs on theirs neither; others do."""
    torch.manual_seed(0)
    x = torch.randint(-127, 128, (4, 4, 6, 6)).double()
    x[0, 0, 0, :2] = torch.tensor([127.0, -127.0])
    grid = torch.from_numpy(NANO.weight_grid(1).values).double()
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)).double()
    with torch.no_grad():
        weight = model[0].weight
        weight.copy_(grid[torch.randint(len(grid), weight.shape)] / 100)
        weight[:, 0, 0, 0] = grid[-1] / 100
    image, first, last = _measured(model, x, weight_scale="range", first_last_terms=1).errors
    assert image.weights_db is None
    assert first.weights_db is None or first.weights_db > 60
    assert first.activations_db == pytest.approx(first.deployed_db, abs=0.5)
    assert last.weights_db is not None
    assert last.weights_db < 40
    assert last.activations_db is not None
    assert last.deployed_db == pytest.approx(
        -10 * np.log10(10 ** (-last.weights_db / 10) + 10 ** (-last.activations_db / 10)), abs=3
    )


def test_an_exact_network_has_no_errors():
    """A quantized network whose codes are kept: nothing differs, nothing is split."""
    graph, spec, x = quantized("ROUND", 8, True, 0, 4, False)
    prepared = prepare(graph, spec, (x,))
    before = convert(prepared).graph
    found = measure(prepared, graph, (x,), "noise", silent)
    assert {(e.deployed_db, e.weights_db, e.activations_db) for e in found.errors} == {(None,) * 3}
    assert found.worst == ()
    assert convert(prepared).graph == before
    assert "No tensor differs" in next(numbers(found)).body


def test_worst_channels_are_found():
    """A channel that is tiny beside its neighbours has the worst ratio, and costs nothing; one
    whose weights do not fit its grid costs most."""
    torch.manual_seed(0)
    x = torch.rand(8, 4, 6, 6)
    model = nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1))
    with torch.no_grad():
        model[0].weight[3] *= 1e-4
        model[0].bias[3] = 0
    found = _measured(model, x)
    assert len(found.worst) == 10
    assert [c.weight for c in found.worst] == sorted((c.weight for c in found.worst), reverse=True)
    names = {e.layer for e in found.errors}
    assert {c.layer for c in found.worst} <= names
    layer = found.errors[1].layer
    assert (layer, 3) not in {(c.layer, c.channel) for c in found.worst}


def test_a_measurement_leaves_the_network_as_it_was():
    torch.manual_seed(0)
    x = torch.rand(4, 4, 6, 6)
    graph = import_model(nn.Sequential(nn.Conv2d(4, 8, 3), nn.ReLU(), nn.Conv2d(8, 4, 1)), (x,))
    prepared = prepare(graph, QuantSpec.from_arch(NANO), (x,))
    before = convert(prepared).graph
    measure(prepared, graph, (x,), "noise", silent)
    assert prepared.training
    assert convert(prepared).graph == before


@pytest.fixture
def nets(tmp_path, monkeypatch) -> Path:
    """A network and samples in the working folder."""
    monkeypatch.chdir(tmp_path)
    Path("detailed.py").write_text(SOURCE)
    x = np.random.default_rng(0).uniform(0, 1, (24, 1, 6, 6)).astype(np.float32)
    np.save("x.npy", x)
    return tmp_path


@pytest.mark.sim
def test_json_has_the_numbers_of_the_page(sigbit, nets):
    net = ("detailed.py:Net", "--input", "1x6x6", "--arch", "nano")
    out = ("--json", "d.json", "--report", "d.html")

    def details(*arguments: str) -> dict:
        assert sigbit(*arguments, *out).code == 0
        assert Path("d.html").read_text().count("<h2>") >= 8
        document = json.loads(Path("d.json").read_text())
        assert sigbit(*arguments, *out[:2]).code == 0
        assert json.loads(Path("d.json").read_text())["details"] is None
        return document

    document = details("quantize", *net, "--calibrate", "x.npy", "--images", "8", "-o", "n.sigbit")
    tensors = document["details"]["tensors"]
    ratios = {e["layer"]: e["deployed_db"] for e in tensors["errors"]}
    assert ratios == pytest.approx({r["layer"]: r["snr_db"] for r in document["layers"]})
    assert {len(tensors[key]) for key in ("weights", "weight_use")} == {3}
    assert len(tensors["activation_use"]) == 4
    program = document["details"]["program"]
    assert program["timeline"]["cycles"] == program["cycles"]
    document = details("check", *net)
    assert document["details"]["program"]["cycles"] == document["accelerator"]["cycles"]
    assert "random inputs" in document["details"]["tensors"]["samples"]
    document = details("inspect", "n.sigbit")
    assert document["details"] == program["details"]
    document = details("run", "n.sigbit", "x.npy")
    assert document["details"]["timeline"] is None
    uses = {u["layer"]: u for u in document["details"]["activations"]}
    assert list(uses) == list(ratios)[1:]
    assert {len(u["grid"]) for u in uses.values()} == {15, 256}
    assert document["details"]["program"]["timeline"] == program["timeline"]


@pytest.mark.sim
def test_a_report_without_cycles(sigbit, program_file, tmp_path):
    page = tmp_path / "i.html"
    assert sigbit("inspect", program_file, "--no-cycles", "--report", page).code == 0
    text = page.read_text()
    assert "<h2>Memory map</h2>" in text
    assert "<h2>Timeline</h2>" not in text
    assert f"sigbit inspect {program_file} --no-cycles" in text
