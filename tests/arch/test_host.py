"""The host's functions are ONNX's, by its own runtime; what cannot be done is said before it is
tried."""

from typing import Any

import numpy as np
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import TensorProto, defs, helper, numpy_helper

from examples import examples
from sigbit_hw.arch import host_functions
from sigbit_hw.arch.host import FUNCTIONS, HostInput, HostPart, HostStep
from sigbit_hw.arch.host_call import ELEMENTS_MAX

OPSET = 21

Array = NDArray[Any]
X = np.random.default_rng(1).normal(size=(1, 3, 4, 5)).astype(np.float32)
Y = np.random.default_rng(2).uniform(0.1, 2, (1, 3, 4, 5)).astype(np.float32)
TIES = np.array([[[1, 3, 3, 0], [2, 2, 2, 2]]], np.float32)


def ints(*values: int) -> Array:
    return np.array(values, np.int64)


CASES: list[tuple[str, list[Array | None], dict[str, Any]]] = [
    *((name, [X], {}) for name in (
        "Abs", "Ceil", "Cos", "Exp", "Floor", "Identity", "Neg", "Relu", "Round", "Sigmoid", "Sign",
        "Sin", "Softplus", "Tanh", "Shape", "Flatten", "Softmax", "LogSoftmax", "ArgMax", "ArgMin",
        "Transpose", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum", "Squeeze", "Sum", "Max",
    )),
    *((name, [Y], {}) for name in ("Log", "Reciprocal", "Sqrt")),
    *((name, [X, Y[:, :, :1]], {}) for name in (
        "Add", "Div", "Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Max", "Min",
        "Mul", "Sub", "Sum",
    )),
    *((name, [X > 0, Y > 1], {}) for name in ("And", "Or", "Xor")),
    ("Not", [X > 0], {}),
    ("Pow", [Y, X], {}),
    ("Div", [ints(7, -7, 9), ints(2, 2, -4)], {}),
    ("Where", [X > 0, X, Y], {}),
    ("Clip", [X, np.float32(-0.5), np.float32(0.25)], {}),
    ("Clip", [X, None, np.float32(0.25)], {}),
    ("Cast", [X], {"to": TensorProto.INT64}),
    ("Cast", [X], {"to": TensorProto.BOOL}),
    ("Reshape", [X, ints(0, -1, 2)], {}),
    ("Flatten", [X], {"axis": 3}),
    ("Flatten", [X], {"axis": -1}),
    ("Transpose", [X], {"perm": (0, 3, 1, 2)}),
    ("Squeeze", [X, ints(0)], {}),
    ("Unsqueeze", [X, ints(0, -1)], {}),
    ("Concat", [X, Y], {"axis": -1}),
    ("Split", [X], {"axis": 2, "num_outputs": 2}),
    ("Split", [X], {"axis": 3, "num_outputs": 2}),
    ("Split", [X, ints(1, 2)], {"axis": 1}),
    ("Slice", [X, ints(1), ints(1 << 40)], {}),
    ("Slice", [X, ints(-1, 0), ints(-100, 3), ints(3, 2), ints(-2, 2)], {}),
    ("Gather", [X, ints(2, 0, -1)], {"axis": 1}),
    ("Gather", [X, np.array(1)], {"axis": 2}),
    ("GatherElements", [X[0, 0], np.array([[0, 1, 3, -1, 2]])], {"axis": 0}),
    ("GatherND", [X, np.array([[0, 1], [0, 2]])], {}),
    ("Expand", [X[:, :1], ints(2, 3, 1, 5)], {}),
    ("Tile", [X, ints(1, 2, 1, 2)], {}),
    ("Shape", [X], {"start": 1, "end": -1}),
    ("ReduceSum", [X, ints(1, 3)], {"keepdims": 0}),
    ("ReduceMax", [X, ints(-1)], {}),
    ("ReduceSum", [X], {"noop_with_empty_axes": 1}),
    ("ArgMax", [TIES], {"axis": 2, "keepdims": 0}),
    ("ArgMax", [TIES], {"axis": 2, "select_last_index": 1}),
    ("ArgMin", [TIES], {"axis": -1}),
    ("Softmax", [X], {"axis": 1}),
    ("LogSoftmax", [X], {"axis": 2}),
    ("TopK", [X, ints(2)], {"axis": 2}),
    ("TopK", [TIES, ints(3)], {"largest": 0}),
]  # fmt: skip


def part(function: str, operands: list[Array | None], options: dict[str, Any]) -> HostPart:
    """One step on constants."""
    kinds = {"f": np.float64, "i": np.int64, "b": np.bool_}
    constants = {
        f"c{i}": np.asarray(o, kinds[np.asarray(o).dtype.kind])
        for i, o in enumerate(operands)
        if o is not None
    }
    names = tuple(f"c{i}" if o is not None else "" for i, o in enumerate(operands))
    count = {"TopK": 2, "Split": 2}.get(function, 1)
    results = tuple(f"r{i}" for i in range(count))
    step = HostStep(function, names, results, options)
    return HostPart((HostInput("x", "y", (1,)),), (step,), constants, results)


def by_onnxruntime(
    function: str, operands: list[Array | None], options: dict[str, Any], count: int
):
    names = [f"c{i}" if o is not None else "" for i, o in enumerate(operands)]
    results = [f"r{i}" for i in range(count)]
    given = {k: list(v) if isinstance(v, tuple) else v for k, v in options.items()}
    arrays = [
        numpy_helper.from_array(np.asarray(o), n) for o, n in zip(operands, names, strict=True) if n
    ]
    graph = helper.make_graph(
        [helper.make_node(function, names, results, **given)],
        "one",
        [],
        [helper.make_empty_tensor_value_info(r) for r in results],
        arrays,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=10)
    options_ = onnxruntime.SessionOptions()
    options_.log_severity_level = 4
    return onnxruntime.InferenceSession(model.SerializeToString(), options_).run(None, {})


@pytest.mark.parametrize(
    ("function", "operands", "options"), CASES, ids=[f"{i}-{c[0]}" for i, c in enumerate(CASES)]
)
def test_a_function_is_that_of_onnx_runtime(function, operands, options) -> None:
    one = part(function, operands, options)
    one.check({"y": (1, 1, 1)})
    got = list(one.of_one({"y": np.zeros((1, 1, 1))}).values())
    want = by_onnxruntime(function, operands, options, len(got))
    for a, b in zip(got, want, strict=True):
        assert a.shape == b.shape
        assert a.dtype.kind == b.dtype.kind
        if a.dtype.kind == "f":
            np.testing.assert_allclose(a, b, rtol=2e-6, atol=2e-6)
        else:
            assert (a == b).all()


def test_every_function_is_judged() -> None:
    assert set(FUNCTIONS) - {c[0] for c in CASES} == {"ConstantOfShape", "NonMaxSuppression"}
    filled = part("ConstantOfShape", [ints(2, 3), np.float64(1.5)], {})
    (got,) = filled.of_one({"y": np.zeros((1, 1, 1))}).values()
    assert (got == np.full((2, 3), 1.5)).all()


@pytest.mark.parametrize("name", FUNCTIONS)
def test_operands_and_results_are_those_of_onnx(name: str) -> None:
    """As many as the operator may have, at most 256; here the value of ConstantOfShape is an
    operand."""
    schema, function = defs.get_schema(name, OPSET), FUNCTIONS[name]
    more = name == "ConstantOfShape"
    assert function.least == schema.min_input
    assert function.most == min(schema.max_input + more, 256)
    if schema.max_output == schema.min_output:
        assert function.results == schema.max_output
    assert set(function.options) <= set(schema.attributes)


@settings(max_examples=examples(60), deadline=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    most=st.integers(0, 6),
    overlap=st.sampled_from([0.0, 0.25, 0.5, 1.0]),
    least=st.sampled_from([None, 0.0, 0.6]),
    centred=st.booleans(),
)
def test_boxes_are_suppressed_as_onnx_runtime_does(seed, most, overlap, least, centred) -> None:
    rng = np.random.default_rng(seed)
    boxes = rng.uniform(0, 4, (1, 12, 4)).astype(np.float32)
    scores = rng.choice(64, (1, 2, 12)).astype(np.float32) / 64 - 0.2
    # ties in the order of scores are open: let there be none
    scores += np.arange(12, dtype=np.float32) / 1024
    operands = [boxes, scores, ints(most), np.float32(overlap)]
    operands += [] if least is None else [np.float32(least)]
    options = {"center_point_box": int(centred)}
    one = part("NonMaxSuppression", operands, options)
    (got,) = one.of_one({"y": np.zeros((1, 1, 1))}).values()
    (want,) = by_onnxruntime("NonMaxSuppression", operands, options, 1)
    assert got.shape == want.shape
    assert (got == want).all()


def chain(*steps: HostStep, results: tuple[str, ...], **constants: Array) -> HostPart:
    return HostPart((HostInput("x", "y", (6,)),), steps, constants, results)


def test_results_of_several_samples() -> None:
    """Boxes of the first class only, as many as a sample has; a sum without a batch."""
    one = chain(
        HostStep("Reshape", ("x", "shape"), ("scores",)),
        HostStep("NonMaxSuppression", ("boxes", "scores", "most", "overlap", "least"), ("kept",)),
        HostStep("ReduceSum", ("x",), ("total",), {"keepdims": 0}),
        HostStep("Mul", ("x", "half"), ("scaled",)),
        results=("kept", "total", "scaled", "x"),
        shape=ints(1, 1, 6),
        boxes=np.array([[[i, 0.0, i + 1, 1] for i in range(6)]]),
        most=np.array(6),
        overlap=np.array(0.5),
        least=np.array(0.5),
        half=np.array(0.5),
    )
    one.check({"y": (6, 1, 1)})
    assert one.ragged == {"kept"}
    y = np.array([[0.1, 0.9, 0.8, 0, 0, 0], [0, 0, 0, 0, 0, 0.7]]).reshape(2, 6, 1, 1)
    got = one({"y": y})
    assert list(got) == ["kept", "total", "scaled", "x"]
    assert got["kept"].shape == (2, 2, 3)
    assert got["kept"][0].tolist() == [[0, 0, 1], [0, 0, 2]]
    assert got["kept"][1, 0].tolist() == [0, 0, 5]
    assert np.isnan(got["kept"][1, 1]).all()
    np.testing.assert_allclose(got["total"], [1.8, 0.7])
    assert (got["scaled"] == y.reshape(2, 6) / 2).all()
    assert (got["x"] == y.reshape(2, 6)).all()


BIG = 1 << 40


@pytest.mark.parametrize(
    ("steps", "constants", "message"),
    [
        ([HostStep("Loop", ("x",), ("z",))], {}, "no function 'Loop'"),
        ([HostStep("Add", ("x",), ("z",))], {}, "takes 2 to 2 operands, not 1"),
        ([HostStep("Abs", ("x",), ("z", "w"))], {}, "has 1 to 1 results, not 2"),
        ([HostStep("Abs", ("q",), ("z",))], {}, "reads ['q'], which is not known yet"),
        ([HostStep("Abs", ("x",), ("x",))], {}, "'x' is defined twice"),
        ([HostStep("Abs", ("x",), ("../z",))], {}, "must be up to 128 letters"),
        ([HostStep("Abs", ("x",), ("z",), {"axis": 1})], {}, "options are none, not axis=1"),
        ([HostStep("Softmax", ("x",), ("z",), {"axis": 1.0})], {}, "not axis=1.0"),
        ([HostStep("Softmax", ("x",), ("z",), {"axis": True})], {}, "not axis=True"),
        ([HostStep("Softmax", ("x",), ("z",), {"axis": 7})], {}, "axis 7 of a tensor with 2"),
        ([HostStep("Tile", ("x", "n"), ("z",))], {"n": ints(BIG, BIG)}, "elements"),
        ([HostStep("Expand", ("x", "n"), ("z",))], {"n": ints(BIG, 6)}, "elements"),
        ([HostStep("ConstantOfShape", ("n",), ("z",))], {"n": ints(BIG)}, "elements"),
        ([HostStep("ConstantOfShape", ("n",), ("z",))], {"n": ints(-1)}, "shape [-1]"),
        ([HostStep("Reshape", ("x", "n"), ("z",))], {"n": ints(5)}, "do not fit"),
        ([HostStep("Gather", ("x", "n"), ("z",), {"axis": 1})], {"n": ints(6)}, "outside [-6, 6)"),
        ([HostStep("Split", ("x", "n"), ("z",), {"axis": 1})], {"n": ints(5)}, "parts [5] of 6"),
        ([HostStep("TopK", ("x", "n"), ("z",))], {"n": ints(7)}, "the first 7 of 6"),
        ([HostStep("Transpose", ("x",), ("z",), {"perm": (0, 0)})], {}, "do not fit"),
        ([HostStep("Cast", ("x",), ("z",), {"to": 8})], {}, "a cast to type 8"),
        ([HostStep("Div", ("n", "n"), ("z",))], {"n": ints(0)}, "divided by 0"),
        ([HostStep("Abs", ("n",), ("z",))], {"n": np.array([b"a"])}, "of type |S1"),
        (
            [
                HostStep("ConstantOfShape", ("n",), ("a",)),
                *(HostStep("Abs", (a,), (b,)) for a, b in ("ab", "bc", "cd", "de", "ez")),
            ],
            {"n": ints(ELEMENTS_MAX)},
            "more than 268,435,456 elements",
        ),
    ],
    ids=lambda v: None,
)  # fmt: skip
def test_what_cannot_be_done_is_refused(steps, constants, message) -> None:
    one = HostPart((HostInput("x", "y", (6,)),), tuple(steps), constants, ("z",))
    with pytest.raises(ValueError, match=r"[a-z]") as error:
        one.check({"y": (6, 1, 1)})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_endless_comparisons_are_refused(monkeypatch) -> None:
    scores, boxes = np.ones((1, 1, 9)), np.zeros((1, 9, 4))
    many = part("NonMaxSuppression", [boxes, scores, ints(9), np.float64(0.5)], {})
    many.check({"y": (1, 1, 1)})
    monkeypatch.setattr(host_functions, "COMPARISONS_MAX", 20)
    many.check({"y": (1, 1, 1)})  # a trial chooses one box
    with pytest.raises(ValueError, match="more than 20 boxes to compare"):
        many.of_one({"y": np.zeros((1, 1, 1))})
    with pytest.raises(ValueError, match="9 scores a class for 8 boxes"):
        part("NonMaxSuppression", [boxes[:, 1:], scores, ints(1)], {}).check({"y": (1, 1, 1)})


def test_inputs_are_views_of_outputs() -> None:
    step = HostStep("Abs", ("x",), ("z",))
    for one, message in (
        (HostInput("x", "w", (6,)), "there is no output 'w', only ['y']"),
        (HostInput("x", "y", (5,)), "is no view of"),
        (HostInput("x", "y", (1, 1, 2, 3)), "is no view of"),
    ):
        with pytest.raises(ValueError, match=r"view|output") as error:
            HostPart((one,), (step,), {}, ("z",)).check({"y": (6, 1, 1)})
        assert message in str(error.value)
    with pytest.raises(ValueError, match=r"a host without steps"):
        HostPart((HostInput("x", "y", (6,)),)).check({"y": (6, 1, 1)})


def test_results_get_other_names() -> None:
    """Names of the other tensors and of each other, swapped; a constant and an input as result."""
    one = chain(
        HostStep("Mul", ("x", "half"), ("a",)),
        HostStep("Add", ("a", "x"), ("b",)),
        HostStep("Neg", ("b",), ("b_2",)),
        HostStep("Split", ("b_2",), ("", "end"), {"axis": 1, "num_outputs": 2}),
        results=("a", "end", "x", "half"),
        half=np.array(0.5),
    )
    outputs = {"y": np.arange(12.0).reshape(2, 6)}
    for names in (("b", "a", "half", "x"), ("b", "b_2", "b_3", "q"), ("a", "end", "x", "half")):
        other = one.returning(names)
        other.check({"y": (6,)})
        assert other.results == names
        pairs = zip(one(outputs).values(), other(outputs).values(), strict=True)
        assert all((x == y).all() for x, y in pairs)
