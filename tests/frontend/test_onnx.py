"""Every ONNX operator computes what ONNX's reference computes; what is refused is named."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from sigbit.frontend import UnreadableModel, UnsupportedModel, import_onnx
from sigbit.ir.floating import BatchNorm, Conv2d, Unary

Array = NDArray[np.generic]
Case = tuple[Sequence[onnx.NodeProto], dict[str, Array], tuple[int, ...]]
N = helper.make_node


def f32(*shape: int, seed: int = 1) -> Array:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def i64(*values: int) -> Array:
    return np.array(values, dtype=np.int64)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: dict[str, Array],
    shape: tuple[int | str | None, ...],
    outputs: Sequence[str] = ("y",),
    opset: int = 20,
) -> onnx.ModelProto:
    info = helper.make_tensor_value_info
    graph = helper.make_graph(
        nodes,
        "net",
        [info("x", TensorProto.FLOAT, shape)],
        [onnx.ValueInfoProto(name=o) for o in outputs],
        [numpy_helper.from_array(v, k) for k, v in constants.items()],
    )
    domains = {n.domain for n in nodes if n.domain}
    opsets = [helper.make_opsetid("", opset), *(helper.make_opsetid(d, 1) for d in domains)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def check(proto: onnx.ModelProto, *shape: int, batch: int = 3) -> None:
    graph = import_onnx(proto)
    x = f32(batch, *shape, seed=7)
    wanted = ReferenceEvaluator(proto).run(None, {"x": x})
    with torch.no_grad():
        results = graph.results({"x": torch.from_numpy(x)})
    assert len(results) == len(wanted) > 0
    for got, want in zip(results, wanted, strict=True):
        assert got.numel() == want.size > 0
        np.testing.assert_allclose(got.numpy().reshape(want.shape), want, rtol=1e-4, atol=1e-5)


def one(op: str, *operands: Array, **attributes: object) -> Case:
    names = [f"c{i}" for i in range(len(operands))]
    return [N(op, ["x", *names], ["y"], **attributes)], dict(zip(names, operands, strict=True)), ()


SMALL = (4, 7, 9)
OPERATORS: dict[str, Case] = {
    "conv": one("Conv", f32(6, 4, 3, 3), f32(6), strides=[2, 1], pads=[1, 0, 2, 1]),
    "conv_groups": one("Conv", f32(8, 2, 2, 3), group=2, dilations=[2, 1]),
    "conv_same_upper": one("Conv", f32(6, 4, 4, 3), auto_pad="SAME_UPPER", strides=[2, 2]),
    "conv_same_lower": one("Conv", f32(6, 4, 4, 2), auto_pad="SAME_LOWER"),
    "conv_valid": one("Conv", f32(6, 4, 3, 3), auto_pad="VALID"),
    "batch_norm": one("BatchNormalization", f32(4), f32(4), f32(4), abs(f32(4)) + 1, epsilon=1e-3),
    "relu": one("Relu"),
    "clip": one("Clip", np.float32(-0.5), np.float32(0.75)),
    "clip_above": ([N("Clip", ["x", "", "c"], ["y"])], {"c": np.array(0.5, np.float32)}, ()),
    "leaky": one("LeakyRelu", alpha=0.2),
    "prelu": one("PRelu", np.full((4, 1, 1), 0.3, np.float32)),
    "sigmoid": one("Sigmoid"),
    "tanh": one("Tanh"),
    "hard_swish": one("HardSwish"),
    "hard_sigmoid": one("HardSigmoid"),
    "hard_sigmoid_torch": one("HardSigmoid", alpha=1 / 6, beta=0.5),
    "gelu": one("Gelu"),
    "gelu_tanh": one("Gelu", approximate="tanh"),
    "elu": one("Elu", alpha=0.7),
    "selu": one("Selu"),
    "softplus": one("Softplus"),
    "mish": one("Mish"),
    "abs": one("Abs"),
    "neg": one("Neg"),
    "add_constant": one("Add", f32(4, 1, 1)),
    "sub_constant": one("Sub", np.float32(2)),
    "mul_constant": one("Mul", f32(1, 4, 1, 1)),
    "div_constant": one("Div", abs(f32(4, 1, 1)) + 1),
    "pow": one("Pow", np.float32(2)),
    "rsub": ([N("Sub", ["c", "x"], ["y"])], {"c": np.array(1, np.float32)}, ()),
    "add": ([N("Sigmoid", ["x"], ["s"]), N("Add", ["x", "s"], ["y"])], {}, ()),
    "sum": ([N("Sigmoid", ["x"], ["s"]), N("Sum", ["x", "s", "x"], ["y"])], {}, ()),
    "sub": ([N("Sigmoid", ["x"], ["s"]), N("Sub", ["x", "s"], ["y"])], {}, ()),
    "silu": ([N("Sigmoid", ["x"], ["s"]), N("Mul", ["s", "x"], ["y"])], {}, ()),
    "mul": ([N("Tanh", ["x"], ["s"]), N("Mul", ["x", "s"], ["y"])], {}, ()),
    "concat": (
        [N("Relu", ["x"], ["r"]), N("Concat", ["x", "r"], ["y"], axis=1)],
        {},
        (),
    ),
    "split": (
        [
            N("Split", ["x", "s"], ["a", "b"], axis=1),
            N("Relu", ["a"], ["c"]),
            N("Concat", ["b", "c"], ["y"], axis=-3),
        ],
        {"s": i64(1, 3)},
        (),
    ),
    "split_equal": (
        [N("Split", ["x"], ["a", "b"], axis=1, num_outputs=2), N("Add", ["a", "b"], ["y"])],
        {},
        (),
    ),
    "slice": one("Slice", i64(1, -5), i64(1 << 40, 6), i64(2, 3), i64(2, 1)),
    "slice_back": one("Slice", i64(-1), i64(-(1 << 40)), i64(1), i64(-1)),
    "gather": one("Gather", i64(2, 0, -1), axis=1),
    "gather_one": (
        [N("Gather", ["x", "i"], ["c"], axis=3), N("Unsqueeze", ["c", "a"], ["y"])],
        {"i": np.array(2), "a": i64(3)},
        (),
    ),
    "shuffle": (
        [
            N("Reshape", ["x", "s"], ["a"]),
            N("Transpose", ["a"], ["b"], perm=[0, 2, 1, 3, 4]),
            N("Reshape", ["b", "t"], ["y"]),
        ],
        {"s": i64(0, 2, 2, 7, 9), "t": i64(0, -1, 7, 9)},
        (),
    ),
    "flatten": one("Flatten"),
    "squeeze": (
        [
            N("GlobalAveragePool", ["x"], ["p"]),
            N("Squeeze", ["p", "a"], ["s"]),
            N("Gemm", ["s", "w"], ["y"]),
        ],
        {"a": i64(2, 3), "w": f32(4, 6)},
        (),
    ),
    "view_by_shape": (
        [
            N("Shape", ["x"], ["s"]),
            N("Gather", ["s", "zero"], ["n"], axis=0),
            N("Unsqueeze", ["n", "axis"], ["n1"]),
            N("Concat", ["n1", "rest"], ["t"], axis=0),
            N("Reshape", ["x", "t"], ["y"]),
        ],
        {"zero": np.array(0), "axis": i64(0), "rest": i64(-1)},
        (),
    ),
    "max_pool": one("MaxPool", kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 0, 1]),
    "max_pool_ceil": one("MaxPool", kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1),
    "average_pool": one("AveragePool", kernel_shape=[3, 2], strides=[2, 2]),
    "average_pool_pad": one(
        "AveragePool", kernel_shape=[3, 3], pads=[1, 1, 0, 1], count_include_pad=1
    ),
    "global_average": one("GlobalAveragePool"),
    "global_max": one("GlobalMaxPool"),
    "reduce_mean": one("ReduceMean", i64(2, 3), keepdims=0),
    "reduce_mean_keep": one("ReduceMean", i64(-1), keepdims=1),
    "reduce_max": one("ReduceMax", i64(-1, -2)),
    "reduce_sum": one("ReduceSum", i64(2, 3)),
    "pad": one("Pad", i64(0, 0, 1, 2, 0, 0, 3, 0)),
    "pad_axes": one("Pad", i64(1, 2), np.float32(0), i64(3)),
    "resize": one(
        "Resize",
        np.zeros(0, np.float32),
        np.array([1, 1, 2, 3], np.float32),
        mode="nearest",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
    ),
    "resize_sizes": (
        [N("Resize", ["x", "", "", "s"], ["y"], mode="nearest")],
        {"s": i64(3, 4, 14, 27)},
        (),
    ),
    "identity": ([N("Identity", ["x"], ["a"]), N("Dropout", ["a"], ["y"])], {}, ()),
    "cast": one("Cast", to=TensorProto.FLOAT),
    "instance_norm": one("InstanceNormalization", f32(4), f32(4), epsilon=1e-3),
    "group_norm": one("GroupNormalization", f32(4), f32(4), num_groups=2),
    "einsum": one("Einsum", f32(5, 4), equation="bchw,dc->bdhw"),
    "einsum_of_two": ([N("Einsum", ["x", "x"], ["y"], equation="bchw,bdhw->bcd")], {}, ()),
    "masked_softmax": (
        [
            N("Add", ["x", "m"], ["a"]),
            N("Softmax", ["a"], ["s"]),
            N("Transpose", ["x"], ["t"], perm=[0, 1, 3, 2]),
            N("MatMul", ["s", "t"], ["y"]),
        ],
        {"m": np.where(np.arange(9) < 7, 0, -1e9).astype(np.float32)},
        (),
    ),
    "softmax": one("Softmax", axis=1),
    "log_softmax": one("LogSoftmax", axis=1),
    "argmax": one("ArgMax", axis=1, keepdims=0),
    "constant_node": (
        [
            N("Constant", [], ["c"], value=numpy_helper.from_array(f32(4, 1, 1))),
            N("Mul", ["x", "c"], ["y"]),
        ],
        {},
        (),
    ),
}
VECTORS: dict[str, Case] = {
    "gemm": one("Gemm", f32(5, 6), f32(6)),
    "gemm_scaled": one("Gemm", f32(6, 5), f32(1, 6), transB=1, alpha=0.5, beta=2.0),
    "gemm_plain": one("Gemm", f32(6, 5), transB=1),
    "matmul_add": (
        [N("MatMul", ["x", "w"], ["p"]), N("Add", ["p", "b"], ["y"])],
        {"w": f32(5, 6), "b": f32(6)},
        (),
    ),
    "batch_norm": one("BatchNormalization", f32(5), f32(5), f32(5), abs(f32(5)) + 1),
    "softmax": one("Softmax"),
}


@pytest.mark.parametrize("name", OPERATORS)
def test_operator(name: str) -> None:
    nodes, constants, _ = OPERATORS[name]
    opset = 21 if name == "group_norm" else 20  # earlier ones have factors of groups
    check(model(nodes, constants, (3, *SMALL), opset=opset), *SMALL)


def test_group_norm_of_groups() -> None:
    nodes, constants, _ = one("GroupNormalization", f32(2), f32(2), num_groups=2)
    proto = model(nodes, constants, ("batch", *SMALL), opset=18)
    x, groups = torch.from_numpy(f32(3, *SMALL)), (torch.from_numpy(f32(2)).repeat_interleave(2))
    (got,) = import_onnx(proto).results({"x": x})
    want = torch.nn.functional.group_norm(x, 2, groups, groups)
    assert torch.allclose(got, want, atol=1e-4)


@pytest.mark.parametrize("name", VECTORS)
def test_operator_of_vectors(name: str) -> None:
    nodes, constants, _ = VECTORS[name]
    check(model(nodes, constants, ("batch", 5)), 5)


@pytest.mark.parametrize("seed", range(8))
def test_convolutions(seed: int) -> None:
    rng = np.random.default_rng(seed)
    transposed = bool(seed % 2)
    groups = 1 if transposed else int(rng.choice([1, 2, 4]))  # the reference knows no others
    kernel, stride = rng.integers(1, 5, 2).tolist(), rng.integers(1, 4, 2).tolist()
    options = {
        "strides": stride,
        "dilations": rng.integers(1, 3, 2).tolist(),
        "pads": rng.integers(0, 3, 4).tolist(),
        "group": groups,
    }
    weight = f32(4, 8 // groups, *kernel) if transposed else f32(8, 4 // groups, *kernel)
    if transposed:
        options["output_padding"] = [int(rng.integers(0, s)) for s in stride]
    nodes, constants, _ = one("ConvTranspose" if transposed else "Conv", weight, f32(8), **options)
    check(model(nodes, constants, ("n", 4, 9, 11)), 4, 9, 11)


def torch_lstm(kind: str, form: str, steps: int = 3) -> Case:
    """As PyTorch exports a layer with batch_first=True: last step, last state, or a second one."""
    gates = 4 if kind == "LSTM" else 3
    more = {} if kind == "LSTM" else {"linear_before_reset": 1}
    constants = {
        "w": f32(1, gates * 6, 5),
        "r": f32(1, gates * 6, 6, seed=2),
        "b": f32(1, 2 * gates * 6, seed=3),
        "w2": f32(1, gates * 6, 6, seed=4),
        "one": i64(1),
        "zero": np.array(0),
        "last": np.array(-1),
    }
    nodes = [
        N("Transpose", ["x"], ["t"], perm=[1, 0, 2]),
        N(kind, ["t", "w", "r", "b"], ["Y", "H"], hidden_size=6, **more),
        N("Squeeze", ["Y", "one"], ["s"]),
    ]
    if form == "state":
        nodes.append(N("Gather", ["H", "zero"], ["y"], axis=0))
    elif form == "stacked":
        nodes += [
            N(kind, ["s", "w2", "r", "b"], ["Y2", "H2"], hidden_size=6, **more),
            N("Gather", ["H2", "zero"], ["y"], axis=0),
        ]
    else:
        nodes += [
            N("Transpose", ["s"], ["u"], perm=[1, 0, 2]),
            N("Gather", ["u", "last"], ["y"], axis=1),
        ]
    return nodes, constants, (steps, 5)


@pytest.mark.parametrize("form", ["last", "state", "stacked"])
@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
@pytest.mark.parametrize("steps", [2, 4])
def test_recurrent(kind: str, form: str, steps: int) -> None:
    nodes, constants, shape = torch_lstm(kind, form, steps)
    check(model(nodes, constants, ("batch", *shape)), *shape)


def test_gates_are_functions() -> None:
    nodes, constants, _ = OPERATORS["silu"]
    graph = import_onnx(model(nodes, constants, (3, *SMALL)))
    assert [n.function for n in graph.nodes if isinstance(n, Unary)] == ["silu"]


def test_matmul_and_add_is_one_layer() -> None:
    nodes, constants, _ = VECTORS["matmul_add"]
    graph = import_onnx(model(nodes, constants, ("batch", 5)))
    assert [type(n) for n in graph.nodes][1:].count(BatchNorm) == 1


def test_everything_refused_is_named() -> None:
    nodes = [
        N("LRN", ["x"], ["a"], name="/norm", size=3),
        N("Conv", ["a", "w"], ["b"], name="/conv"),
        N("Resize", ["b", "", "s"], ["c"], name="/up", mode="cubic"),
        N("Magic", ["c"], ["d"], name="/magic"),
        N("Relu", ["d"], ["e"], name="/relu"),
        N("TopK", ["e", "k"], ["y", ""], name="/top"),
    ]
    constants = {"w": f32(6, 4, 3, 3), "s": np.array([1, 1, 2, 2], np.float32), "k": i64(1)}
    with pytest.raises(UnsupportedModel) as caught:
        import_onnx(model(nodes, constants, ("batch", *SMALL)))
    rows = {r.location: (r.op, r.reason) for r in caught.value.rows}
    assert set(rows) == {"/norm", "/up", "/magic", "/top"}
    assert rows["/up"] == ("Resize", "interpolation by mode 'cubic'")
    assert all(r.remedy for r in caught.value.rows)


@pytest.mark.parametrize(
    ("node", "constants", "reason"),
    [
        (N("MatMul", ["x", "x"], ["y"]), {}, "operands do not fit"),
        (N("Transpose", ["x"], ["y"], perm=[1, 0, 2, 3]), {}, "mixes the samples"),
        (N("Gather", ["x", "i"], ["y"], axis=0), {"i": i64(0)}, "mixes the samples"),
        (N("Pad", ["x", "p"], ["y"], mode="edge"), {"p": i64(1, *[0] * 7)}, "sampl"),
        (N("AveragePool", ["x"], ["y"], kernel_shape=[3, 3, 3]), {}, "kernel"),
        (N("Conv", ["x", "w"], ["y"]), {"w": f32(6, 3, 3, 3)}, "operands do not fit"),
    ],
)
def test_refusal(node: onnx.NodeProto, constants: dict[str, Array], reason: str) -> None:
    with pytest.raises(UnsupportedModel, match=reason) as caught:
        import_onnx(model([node], constants, ("batch", *SMALL)))
    assert len(caught.value.rows) == 1
    assert caught.value.rows[0].op in (node.op_type, "output")


def test_dynamic_sizes_need_a_number() -> None:
    proto = model([N("Relu", ["x"], ["y"])], {}, ("batch", 3, "height", "width"))
    with pytest.raises(UnsupportedModel, match=r"dimension 2 \('height'\), 3 \('width'\) is dynam"):
        import_onnx(proto)
    assert import_onnx(proto, {"x": (3, 8, 6)})["y"].shape == (3, 8, 6)


def test_files(tmp_path: Path) -> None:
    proto = model([N("Relu", ["x"], ["y"])], {}, (1, 3, 4, 4))
    onnx.save(proto, tmp_path / "net.onnx")
    assert import_onnx(tmp_path / "net.onnx").name == "net"
    whole = (tmp_path / "net.onnx").read_bytes()
    for content in (b"nonsense", b"", whole[: len(whole) // 2], whole[:-1]):
        (tmp_path / "bad.onnx").write_bytes(content)
        with pytest.raises(UnreadableModel, match="not an ONNX model"):
            import_onnx(tmp_path / "bad.onnx")
    with pytest.raises(FileNotFoundError):
        import_onnx(tmp_path / "none.onnx")


@pytest.mark.parametrize(
    ("name", "convolutions"), [("densenet121", 121), ("resnet50", 53), ("squeezenet", 26)]
)
def test_published_networks(name: str, convolutions: int) -> None:
    """Graphs that come with ONNX, at full size, with weights that are all the same."""
    path = Path(onnx.__file__).parent / f"backend/test/data/light/light_{name}.onnx"
    graph = import_onnx(path)
    assert sum(isinstance(n, Conv2d) for n in graph.nodes) == convolutions
    assert [graph[o].shape[0] for o in graph.outputs] == [1000]
