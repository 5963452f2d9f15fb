"""Files of integer models: exact both ways, the same everywhere, and safe to read."""

import json
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel
from safetensors.numpy import load_file, save_file

from examples import examples
from sigbit.compiler.random_graph import random_graph
from sigbit.ir import model_schema
from sigbit.ir.integer import (
    Axes,
    Constant,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    Matmul,
    MaxPool,
    Source,
    State,
    TensorType,
)
from sigbit.ir.model_file import load_model, model_digest, save_model
from sigbit_hw.arch import container
from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.formats import EsbFormat, LevelFormat
from sigbit_hw.arch.host import HostInput, HostPart, HostStep
from sigbit_hw.arch.preprocessing import ImagePreprocessing
from sigbit_hw.arch.program import Program, ProgramError
from sigbit_tools.files import FileError

DIGEST = "3ff4419f95d5"
"""Of :func:`small`, wherever and whenever it is computed: it changes with the schema alone."""

SEEDS = st.integers(0, 1 << 32)
NAMES = st.from_regex(r"[a-z0-9_](-?[a-zA-Z0-9_]){0,9}", fullmatch=True)
TEXTS = st.text(st.characters(exclude_categories=["Cc", "Cs", "Zl", "Zp"]), min_size=1, max_size=9)
SCALES = st.floats(min_value=5e-324, allow_nan=False, allow_infinity=False)
RELAXED = settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)

HOST = HostPart(
    (HostInput("a", "logits", (18,)), HostInput("b", "map", (2, 3, 3))),
    (
        HostStep("Mul", ("a", "two"), ("scaled",), {}, "n.py:4"),
        HostStep("Softmax", ("scaled",), ("p",), {"axis": -1}, "n.py:5"),
    ),
    {"two": np.array(2.0)},
    ("p", "b"),
)
"""What the host does behind :func:`small`."""


def small() -> IntegerGraph:
    """A node of every kind, with every field away from its default."""
    kind = TensorType((2, 3, 3), 1, 0.1, 0)
    table = np.array([(i * 5) % 15 - 7 for i in range(256)], np.int64)
    weights = np.array([0, 1, -2, 3, -3, 2, 1, 0], np.int64).reshape(2, 1, 2, 2)
    ints, nine = np.array([3, -5], np.int64), np.arange(9)
    right, scores = replace(kind, weights=True), replace(kind, shape=(9, 3, 3), zero=2)
    source = Source("x", weights, 2, (1, 1), (1, 0, 0, 1), 2, (1, 1), (1, 1))
    again = Source("x", weights, 2, (1, 1), (1, 0, 0, 1), 2, (1, 1), (1, 1))
    return IntegerGraph(
        "small",
        EsbFormat(4, 1),
        LevelFormat((0, 1, 2, 3, 4, 5, 6, 7)),
        3,
        (
            Input("x", replace(kind, planes=2, zero=5), -3, 12),
            Conv("c", (source, again), ints, ints % 8 + 8, ints % 2, table, kind, "sum", "n.py:1"),
            MaxPool("m", "c", (2, 1), (1, 1), (1, 0, 0, 0), kind, location="n.py:2"),
            Gather(
                "g",
                ("m", "c"),
                np.array([[1, 1], [0, 0]], np.int64),
                kind,
                location="n.py:3",
            ),
            Constant("k", table[:18].reshape(2, 3, 3), kind),
            Conv("w", (source,), ints, ints % 8 + 8, ints % 2, table.clip(-2, 2), right),
            Matmul("p", "k", "w", nine, nine + 5, nine % 2, table, scores, "product", "n.py:4"),
            Input("s", kind, -7, 7),
        ),
        ("g", "c", "c"),
        HOST,
        (Axes.FEATURES, Axes.IMAGE, Axes.IMAGE),
        ("logits", "map", "s.next"),
        ImagePreprocessing((3, 3), (0.5, 0.25), (0.5, 1.0), 1.0, 4),
        ("cat", "dog"),
        (State("s", "s.next", table[1:19].reshape(2, 3, 3)),),
    )


@given(seed=SEEDS, arch=st.sampled_from(sorted(PRESETS)))
@settings(max_examples=examples(30), parent=RELAXED)
def test_random_graphs_come_back_equal(seed: int, arch: str, tmp_path: Path) -> None:
    graph = random_graph(np.random.default_rng(seed), PRESETS[arch])
    digest = save_model(graph, tmp_path / "a.sbm")
    loaded = load_model(tmp_path / "a.sbm")
    assert loaded == graph
    assert model_digest(graph) == model_digest(loaded) == digest
    save_model(loaded, tmp_path / "b.sbm")
    assert (tmp_path / "a.sbm").read_bytes() == (tmp_path / "b.sbm").read_bytes()
    other = random_graph(np.random.default_rng(seed + 1), PRESETS[arch])
    assert (other == graph) == (model_digest(other) == digest)


@given(name=NAMES, location=TEXTS, scale=SCALES, zero=st.integers(-7, 7))
@settings(max_examples=examples(30), parent=RELAXED)
def test_names_and_numbers_come_back_equal(
    name: str, location: str, scale: float, zero: int, tmp_path: Path
) -> None:
    graph = small()
    x, c, *_ = graph.nodes
    assert isinstance(c, Conv)
    kind = replace(c.type, scale=scale, zero=zero)
    named = replace(c, name=f"{name}-", type=kind, location=location)
    graph = replace(
        graph,
        name=name,
        nodes=(x, named),
        outputs=(named.name,),
        states=(),
        output_axes=(),
        output_names=(),
        preprocessing=None,
        host=HostPart(),
    )
    save_model(graph, tmp_path / "net.sbm")
    loaded = load_model(tmp_path / "net.sbm")
    assert loaded == graph
    assert loaded.name == name
    assert loaded[named.name].type == kind


def test_every_field_counts() -> None:
    """Equality and digest see any change of any field."""
    graph = small()
    x, c, m, g, *rest = graph.nodes
    k, w, p, s = rest
    assert isinstance(p, Matmul)
    assert isinstance(c, Conv)
    assert isinstance(m, MaxPool)
    weights = c.sources[0].weights.copy()
    weights[1, 0, 1, 1] += 1
    reweighed = replace(c, sources=(replace(c.sources[0], weights=weights), c.sources[1]))
    shifted = replace(c, tie=np.array([0, 1], np.int64))
    changed = (
        replace(graph, name="other"),
        replace(graph, weight_format=EsbFormat(4, 2)),
        replace(graph, act_format=EsbFormat(4, 2)),
        replace(graph, radix_bits=2),
        replace(graph, outputs=("c", "g", "c")),
        replace(graph, host=HostPart()),
        replace(graph, host=replace(HOST, constants={"two": np.array(3.0)})),
        replace(graph, host=replace(HOST, results=("p", "scaled"))),
        replace(graph, output_axes=(Axes.IMAGE, Axes.IMAGE, Axes.IMAGE)),
        replace(graph, output_names=("map", "logits", "s.next")),
        replace(graph, states=(), preprocessing=None),
        replace(graph, states=(replace(graph.states[0], initial=-graph.states[0].initial),)),
        replace(graph, preprocessing=None),
        replace(graph, preprocessing=replace(graph.preprocessing, mean=(0.5, 0.5))),
        replace(graph, classes=("dog", "cat")),
        replace(graph, nodes=(replace(x, low=-2), c, m, g, *rest)),
        replace(graph, nodes=(x, shifted, m, g, *rest)),
        replace(graph, nodes=(x, replace(c, kind="conv"), m, g, *rest)),
        replace(graph, nodes=(x, c, replace(m, location=""), g, *rest)),
        replace(graph, nodes=(x, reweighed, m, g, *rest)),
        replace(graph, nodes=(x, c, m, g, replace(k, values=-k.values), w, p, s)),
        replace(graph, nodes=(x, c, m, g, k, w, replace(p, step=p.step + 1), s)),
        replace(graph, nodes=(x, c, m, g, k, w, replace(p, left="c"), s)),
    )
    assert graph == small()
    assert len({model_digest(g) for g in (graph, *changed)}) == len(changed) + 1
    for a in (graph, *changed):
        assert sum(a == b for b in (graph, *changed)) == 1


def test_equal_arrays_are_one(tmp_path: Path) -> None:
    save_model(small(), tmp_path / "net.sbm")
    arrays = load_file(tmp_path / "net.sbm")
    integers = [a for name, a in arrays.items() if not name.startswith("host.")]
    assert {a.dtype for a in integers} == {np.dtype(np.int8)}
    assert set(arrays) == {
        "host.two", "c.weights0", "c.base", "c.step", "c.tie", "c.table", "g.channels", "k.values",
        "w.table", "p.base", "p.step", "p.tie", "s.initial",
    }  # fmt: skip
    conv = load_model(tmp_path / "net.sbm")["c"]
    assert isinstance(conv, Conv)
    assert conv.sources[0].weights is conv.sources[1].weights


def test_the_digest_is_the_same_everywhere(tmp_path: Path) -> None:
    """In every process, and with every version of Python and NumPy that runs this test."""
    assert model_digest(small())[:12] == DIGEST
    file = tmp_path / "net.sbm"
    save_model(small(), file)
    show = (
        "import sys; from sigbit.ir.model_file import load_model, model_digest; "
        "print(model_digest(load_model(sys.argv[1])))"
    )
    done = subprocess.run(
        [sys.executable, "-c", show, str(file)],
        env={"PYTHONPATH": ":".join(sys.path), "PYTHONHASHSEED": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip()[:12] == DIGEST


def test_the_file_is_plain_safetensors(tmp_path: Path) -> None:
    """Documented members, readable without this software."""
    digest = save_model(small(), tmp_path / "net.sbm")
    data = (tmp_path / "net.sbm").read_bytes()
    header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
    assert header["__metadata__"].keys() == {"kind", "sigbit", "sha256"}
    assert header["__metadata__"]["sha256"] == digest
    document = json.loads(header["__metadata__"]["sigbit"])
    assert document["schema_version"] == 6
    kinds = ["input", "conv", "maxpool", "gather", "constant", "conv", "matmul", "input"]
    assert [n["op"] for n in document["nodes"]] == kinds
    assert document["outputs"][0] == {"name": "logits", "tensor": "g", "axes": "features"}
    assert [p.name for p in tmp_path.iterdir()] == ["net.sbm"]


# What a hostile or damaged file may hold: one line for each, never another exception.

Change = Callable[[dict[str, Any], dict[str, np.ndarray]], object]


def forged(path: Path, change: Change, graph: IntegerGraph | None = None) -> Path:
    """A file whose digest is right and whose content is ``change``d."""
    save_model(graph or small(), path)
    text, arrays = container.decode(path, "integer-model")
    document = json.loads(text)
    change(document, arrays)
    path.write_bytes(container.encode("integer-model", json.dumps(document), arrays))
    return path


def refusal(path: Path) -> str:
    """The one line that a file is refused with."""
    with pytest.raises(FileError) as caught:
        load_model(path)
    text = str(caught.value)
    assert text.startswith(str(path))
    assert "\n" not in text
    assert len(text) < len(str(path)) + 400
    assert text.isprintable()
    return text


def at(*where: str | int, value: Any) -> Change:
    """Set what lies at ``where`` in the document."""

    def change(document: Any, arrays: dict[str, np.ndarray]) -> None:
        for key in where[:-1]:
            document = document[key]
        document[where[-1]] = value

    return change


def without_outputs(document: Any, arrays: dict[str, np.ndarray]) -> None:
    document["outputs"] = []
    document["host"] = {"inputs": [], "steps": [], "constants": [], "results": []}
    del arrays["host.two"]


def array(name: str, value: Any, dtype: Any = np.int8) -> Change:
    return lambda document, arrays: arrays.__setitem__(name, np.array(value, dtype))


X, C, M, G, K, W, P, Y = (("nodes", i) for i in range(8))
STATE = ("states", 0)
S = (*C, "sources", 0)
HUGE = 1 << 40


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (at("schema_version", value=1), "schema version 1, this sigbit reads 6"),
        (at("schema_version", value=None), "schema version None"),
        (at("extra", value=1), "extra: Extra inputs are not permitted"),
        (at(*C, "extra", value=1), "nodes.1.conv.extra"),
        (at(*S, "extra", value=1), "nodes.1.conv.sources.0.extra"),
        (lambda d, a: d.pop("host"), "host: Field required"),
        (lambda d, a: d["nodes"][1].pop("base"), "nodes.1.conv.base: Field required"),
        (at("nodes", value={}), "nodes: Input should be a valid"),
        (at("nodes", value=[]), "there is no input"),
        (at(*C, "op", value="exec"), "'exec' found using 'op' does not match"),
        (lambda d, a: d["nodes"][1].pop("op"), "Unable to extract tag"),
        (at(*X, "type", "scale", value=float("nan")), "scale: Input should be a finite number"),
        (at(*X, "type", "scale", value=float("inf")), "scale: Input should be a finite number"),
        (at(*X, "type", "scale", value=10**400), "scale: Input should be a finite number"),
        (at("act_format", value=None), "act_format.esb: Input should be"),
        (at(*X, "type", "scale", value=0.0), "scale must be positive"),
        (at(*X, "type", "scale", value=-1.0), "scale must be positive"),
        (at(*X, "type", "scale", value="1"), "scale: Input should be a valid number"),
        (at(*X, "type", "planes", value=True), "planes: Input should be a valid integer"),
        (at(*X, "type", "planes", value=2.0), "planes: Input should be a valid integer"),
        (at(*X, "type", "planes", value=0), "planes and terms must be in [1, 4]"),
        (at(*X, "type", "planes", value=5), "planes and terms must be in [1, 4]"),
        (at(*X, "type", "shape", value=[1, 2]), "shape.2: Field required"),
        (at(*X, "type", "shape", value=[2, 3, 3, 1]), "Tuple should have at most 3 items"),
        (at(*X, "type", "shape", value=[2, 0, 3]), "shape must be positive"),
        (at(*X, "type", "shape", value=[HUGE, 3, 3]), "less than 2147483648"),
        (at(*X, "type", "zero", value=99), "the zero of 'x' is not a stored value"),
        (at(*X, "low", value=-HUGE), "greater than or equal to -2147483648"),
        (at(*X, "low", value=-(1 << 31)), "is not within the values of 2 planes"),
        (at(*X, "high", value=(1 << 31) - 1), "is not within the values of 2 planes"),
        (at(*X, "high", value=-4), "is not within the values"),
        (at(*X, "axes", value="rows"), "axes: Input should be"),
        (at(*X, "axes", value="features"), "features must be [n, 1, 1]"),
        (at(*X, "name", value=""), "must be up to 128 letters, digits and . _ -"),
        (at(*X, "name", value="a\x1b[31m"), "must be up to 128 letters, digits and . _ -"),
        (at(*X, "name", value="../x"), "must be up to 128 letters, digits and . _ -"),
        (at(*X, "name", value="a" * 129), "must be up to 128 letters, digits and . _ -"),
        (at("name", value="a\nb"), "must be up to 128 letters, digits and . _ -"),
        (at(*C, "location", value="a\nb"), "location must not have control characters"),
        (at(*M, "name", value="c"), "c: a second node of this name"),
        (at(*S, "tensor", value="g"), "reads 'g', which is not an earlier node"),
        (at(*S, "tensor", value="c"), "reads 'c', which is not an earlier node"),
        (at(*S, "weights", value="absent"), "there is no array 'absent'"),
        (at(*S, "terms", value=5), "planes and terms must be in [1, 4]"),
        (at(*S, "terms", value=1 << 30), "planes and terms must be in [1, 4]"),
        (at(*S, "stride", value=[0, 1]), "stride must be positive"),
        (at(*S, "dilation", value=[-1, 1]), "dilation must be positive"),
        (at(*S, "upsampling", value=[1, 0]), "upsampling must be positive"),
        (at(*S, "upsampling", value=[2**31 - 1, 1]), "gives"),
        (at(*S, "padding", value=[2**31 - 1, 0, 0, 1]), "gives"),
        (at(*S, "groups", value=0), "groups must divide"),
        (at(*S, "groups", value=1), "do not fit 2 input and 2 output channels"),
        (at(*C, "sources", value=[]), "a convolution needs a source"),
        (at(*C, "table", value="c.base"), "table must be int64 [256], not int64 [2]"),
        (at(*M, "kernel", value=[0, 1]), "kernel and stride must be positive"),
        (at(*M, "stride", value=[1, 0]), "kernel and stride must be positive"),
        (at(*M, "padding", value=[0, 0, 0, 0]), "gives (2, 2, 3), not (2, 3, 3)"),
        (at(*M, "type", "planes", value=2), "max pooling needs one plane"),
        (at(*K, "values", value="g.channels"), "values must be int64 [2, 3, 3], not int64 [2, 2]"),
        (array("k.values", [[[99] * 3] * 3] * 2), "values that 1 planes cannot store"),
        (at(*K, "type", "weights", value=True), "weight digits are results of convolutions"),
        (at(*K, "type", "weights", value=1), "weights: Input should be a valid boolean"),
        (at(*W, "type", "zero", value=1), "weight digits are results of convolutions"),
        (at(*W, "type", "planes", value=5), "planes and terms must be in [1, 4]"),
        (at(*P, "left", value="w"), "'w' must not be weight digits"),
        (at(*P, "left", value="x"), "the zero of 'x' must be 0, not 5"),
        (at(*P, "right", value="c"), "'c' must be weight digits"),
        (at(*P, "right", value="absent"), "reads 'absent', which is not an earlier node"),
        (at(*P, "base", value="c.base"), "base must be int64 [9], not int64 [2]"),
        (at(*P, "type", "shape", value=[9, 3, 2]), "gives (9, 3, 3), not (9, 3, 2)"),
        (at("outputs", 0, "tensor", value="w"), "output 'w' must not be weight digits"),
        (at(*G, "tensors", value=[]), "a gather needs a tensor"),
        (at(*G, "tensors", value=["m"]), "channels name what its tensors do not have"),
        (at(*G, "tensors", value=["m", "x"]), "tensors differ in size, planes, scale or zero"),
        (without_outputs, "there is no output"),
        (at(*STATE, "input", value="c"), "state 'c': there is no such input"),
        (at(*STATE, "output", value="q"), "state 's': there is no output 'q'"),
        (at(*STATE, "output", value="map"), "state 's': the host reads its output"),
        (at(*STATE, "output", value="logits"), "state 's': the host reads its output"),
        (at(*STATE, "extra", value=1), "states.0.extra: Extra inputs are not permitted"),
        (lambda d, a: d["states"].append(d["states"][0]), "two states have one input"),
        (at(*Y, "type", "scale", value=0.2), "0.1, 0) as an output"),
        (at(*Y, "low", value=-6), "its output reaches [-7, 3], its input takes [-6, 7]"),
        (array("s.initial", np.full((2, 3, 3), 8)), "initial codes must be in [-7, 7]"),
        (array("s.initial", np.zeros((2, 3))), "initial codes must be int64 [2, 3, 3], not int64"),
        (at("outputs", 0, "tensor", value="absent"), "output 'absent' is not a node"),
        (at("host", "steps", 0, "function", value="eval"), "host: no function 'eval'"),
        (at("host", "inputs", 0, "output", value="z"), "host: there is no output 'z'"),
        (at("host", "inputs", 0, "shape", value=[7]), "is no view of [18]"),
        (at("host", "steps", 1, "operands", value=["q"]), "reads ['q'], which is not known yet"),
        (at("host", "steps", 1, "options", value={"beta": 1}), "Softmax: options are axis (int)"),
        (at("host", "results", value=["two", "q"]), "no step has the result ['q']"),
        (lambda d, a: a.pop("host.two"), "its constants are not those that are stored"),
        (at("radix_bits", value=0), "radix_bits must be in [1, 7]"),
        (at("radix_bits", value=1 << 20), "radix_bits must be in [1, 7]"),
        (at("weight_format", "bits", value=99), "bits must be in [2, 8]"),
        (at("weight_format", value={"bits": 8, "frac": 0, "signed": True}), "at most 31 bits"),
        (at("act_format", "levels", value=[0, 2, 1, 3]), "ascend from 0"),
        (at("act_format", "levels", value=list(range(1000))), "at most 256 items"),
        (array("c.base", [1 << 48, 0], np.int64), "base must be in [-281474976710656, 28147"),
        (array("c.base", [-(1 << 63), 0], np.int64), "base must be in [-281474976710656, 28147"),
        (array("c.base", [0, 0, 0]), "base must be int64 [2], not int64 [3]"),
        (array("c.base", [1.5, 0], np.float32), "must hold signed integers, not float32"),
        (array("c.base", [1, 0], np.uint64), "must hold signed integers, not uint64"),
        (array("c.base", [True, False], np.bool_), "must hold signed integers, not bool"),
        (array("c.step", [0, 8]), "step must be in [1, 1099511627775]"),
        (array("c.tie", [0, 2]), "tie must be in [0, 1]"),
        (array("c.table", [8] * 256), "table holds values that 1 planes cannot store"),
        (array("c.weights0", np.full((2, 1, 2, 2), 127)), "outside the grid of 2 terms"),
        (array("c.weights0", np.zeros((2, 1, 2))), "weights must be int64 [out, in / groups"),
        (array("c.weights0", np.zeros((2, 1, 0, 2))), "weights must be int64 [out, in / groups"),
        (array("g.channels", [[0, 0], [0, 9]]), "channels name what its tensors do not have"),
        (array("g.channels", [[0, 0], [-1, 0]]), "channels name what its tensors do not have"),
        (array("more", [0]), "no node uses the array 'more'"),
        (lambda d, a: a.pop("c.base"), "there is no array 'c.base'"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused(change: Change, message: str, tmp_path: Path) -> None:
    assert message in refusal(forged(tmp_path / "net.sbm", change))


def test_grids_too_large_to_list_are_refused(tmp_path: Path) -> None:
    """Four digits of any 8-bit table are four billion sums."""
    levels = [0, *(int(1.1**i * 100) + i for i in range(127))]

    def change(document: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        document["act_format"] = {"levels": levels, "signed": True}
        document["nodes"][0]["type"]["planes"] = 4

    assert "too many values to list" in refusal(forged(tmp_path / "net.sbm", change))


@pytest.mark.parametrize(
    "text",
    [
        "[" * 100_000 + "]" * 100_000,
        '{"a":' * 100_000 + "1" + "}" * 100_000,
        '{"schema_version": 2, "name": ' + "[" * 1000 + "]" * 1000 + "}",
        '{"schema_version": ' + "1" * 5000 + "}",
        '{"schema_version": 2',
        "",
        "null",
        "[]",
        '"schema_version"',
        '{"schema_version": 2, "name": "\\ud800"}',
    ],
)
def test_documents_that_are_none_are_refused(text: str, tmp_path: Path) -> None:
    path = tmp_path / "net.sbm"
    path.write_bytes(container.encode("integer-model", text, {"a": np.zeros(1, np.int8)}))
    assert "not a valid integer model" in refusal(path)


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.integers(-9, 9)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "x", "c", "g", "c.base", "conv", "input", "features", "\x00"]),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner),
    max_leaves=6,
)


@given(data=st.data())
@settings(max_examples=examples(100), parent=RELAXED)
def test_no_document_does_more_than_be_refused(data: st.DataObject, tmp_path: Path) -> None:
    """Any value in any place: the file is read, or refused in one line."""

    def change(document: Any, arrays: dict[str, np.ndarray]) -> None:
        for _ in range(data.draw(st.integers(1, 3))):
            place: Any = document
            while True:
                keys = sorted(place) if isinstance(place, dict) else list(range(len(place)))
                if not keys:
                    break
                key = data.draw(st.sampled_from(keys))
                if isinstance(place[key], dict | list) and data.draw(st.integers(0, 3)):
                    place = place[key]
                    continue
                place[key] = data.draw(JSON)
                break

    path = forged(tmp_path / "net.sbm", change)
    try:
        graph = load_model(path)
    except FileError:
        refusal(path)
    else:
        save_model(graph, path)
        assert load_model(path) == graph


def test_any_truncation_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "net.sbm"
    save_model(small(), path)
    data = path.read_bytes()
    for length in {0, 1, 8, 100, len(data) - 1, *rng.integers(0, len(data), 60).tolist()}:
        path.write_bytes(data[:length])
        refusal(path)
    path.write_bytes(data + b"\0")
    refusal(path)


def test_any_flipped_bit_is_refused(tmp_path: Path, rng: np.random.Generator) -> None:
    path = tmp_path / "net.sbm"
    save_model(small(), path)
    data = path.read_bytes()
    for position in {*range(64), *rng.integers(0, 8 * len(data), 300).tolist()}:
        damaged = bytearray(data)
        damaged[position // 8] ^= 1 << position % 8
        path.write_bytes(damaged)
        with pytest.raises(FileError):
            load_model(path)


def test_other_files_are_refused(tmp_path: Path, program_of_small: Program) -> None:
    assert "no such file" in refusal(tmp_path / "absent.sbm")
    assert "is a folder" in refusal(tmp_path)
    path = tmp_path / "weights.sbm"
    save_file({"w": np.zeros(3)}, path)
    assert "a safetensors file, but not an integer model" in refusal(path)
    path.write_bytes(b"PK\x03\x04 no model")
    assert "not an integer model, or truncated" in refusal(path)
    program_of_small.save(path)
    assert "is a Program, not an integer model: `sigbit run` runs it" in refusal(path)
    save_model(small(), path)
    with pytest.raises(ProgramError, match="is an integer model, not a Program: `sigbit compile`"):
        Program.load(path)
    path.write_bytes(container.encode("integer-model", "{}", {}))
    save_file({}, path, {"kind": "tomorrow", "sigbit": "{}", "sha256": ""})
    assert "a file of another sigbit, not an integer model" in refusal(path)


@pytest.fixture
def program_of_small() -> Program:
    from sigbit.compiler import compile_graph

    return compile_graph(random_graph(np.random.default_rng(1), PRESETS["nano"]), PRESETS["nano"])


def test_a_failed_save_keeps_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "net.sbm"
    save_model(small(), path)
    before = path.read_bytes()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.replace", full)
    with pytest.raises(FileError, match="No space left on device"):
        save_model(replace(small(), name="other"), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.sbm"]
    with pytest.raises(FileError, match="cannot write"):
        save_model(small(), tmp_path / "absent" / "net.sbm")


def test_the_documentation_names_every_field() -> None:
    text = (Path(__file__).parents[2] / "docs" / "model-file.md").read_text()
    models = [m for m in vars(model_schema).values() if isinstance(m, type)]
    fields = {name for m in models if issubclass(m, BaseModel) for name in m.model_fields}
    assert len(fields) > 30
    assert [name for name in sorted(fields) if f"`{name}`" not in text] == []
    assert all(f"`{axes}`" in text for axes in Axes)
