"""Networks: integer models, and float networks from PyTorch and ONNX."""

import io
import json
import pickle
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from onnx import TensorProto, helper, numpy_helper
from torch import nn

from hostile.containers import codec, with_arrays
from hostile.kinds import Codec, Document, Kind, Rng, Unsound, at, edited, text
from sigbit.compiler.random_graph import random_graph
from sigbit.frontend import graph_from_exported, import_onnx
from sigbit.inputs.integer_models import load_exported
from sigbit.ir.model_file import load_model, model_digest, save_model
from sigbit_hw.arch.config import PRESETS

Craft = Callable[[bytes], bytes]
_SBM = codec("integer-model")


class Canary:
    """Unpickled, it would leave a file: nobody may do that."""

    def __reduce__(self) -> tuple[Any, ...]:
        return open, ("pickled-code-ran", "w")


def _read_sbm(path: Path) -> None:
    graph = load_model(path)
    again = path.with_name("again.sbm")
    digest = save_model(graph, again)
    if model_digest(load_model(again)) != digest:
        raise Unsound("an integer model changes when it is saved and loaded")
    again.unlink()


def sbm(*path: str | int, value: object) -> Craft:
    """The document with ``value`` at ``path``."""
    return edited(_SBM, at(*path, value=value))


_SBMS: dict[str, Craft] = {
    "a name that leaves": sbm("name", value="../../x"),
    "a node's name that leaves": sbm("nodes", 0, "name", value="../x"),
    "a shape of 2^60": sbm("nodes", 0, "type", "shape", value=[1, 1 << 20, 1 << 40]),
    "a shape of 0": sbm("nodes", 0, "type", "shape", value=[0, 0, 0]),
    "scale 0": sbm("nodes", 0, "type", "scale", value=0.0),
    "scale of text": sbm("nodes", 0, "type", "scale", value="1"),
    "a range of 2^31": sbm("nodes", 0, "high", value=(1 << 31) - 1),
    "100 planes": sbm("nodes", 0, "type", "planes", value=100),
    "no nodes": sbm("nodes", value=[]),
    "no outputs": sbm("outputs", value=[]),
    "a host's function": sbm(
        "host",
        "steps",
        value=[{"function": "Loop", "operands": [], "results": ["z"], "options": {}, "source": ""}],
    ),
    "a host's constant": sbm("host", "constants", value=["a"]),
    "a host's input without steps": sbm(
        "host", "inputs", value=[{"name": "a", "output": "x", "shape": [1]}]
    ),
    "an output that is text": sbm("outputs", value=["nobody"]),
    "an output of no node": sbm("outputs", 0, "tensor", value="nobody"),
    "an output's name that leaves": sbm("outputs", 0, "name", value="../../x"),
    "an output of other axes": sbm("outputs", 0, "axes", value="batch features"),
    "preprocessing of something else": sbm("preprocessing", value={"size": [1, 1]}),
    "preprocessing of another size": sbm(
        "preprocessing",
        value={
            "size": [1 << 20, 1 << 20],
            "mean": [0.5],
            "std": [0.5],
            "scale": 1.0,
            "resize": None,
            "colours": "RGB",
        },
    ),
    "a class of control characters": sbm("classes", value=["cat\x1b[31m"]),
    "an unknown key": sbm("foo", value=1),
    "another version": sbm("schema_version", value=99),
    "nothing": text(_SBM, lambda t: ""),
    "no JSON": text(_SBM, lambda t: "{bad"),
    "100,000 lists": text(_SBM, lambda t: "[" * 100_000 + "]" * 100_000),
    "NaN": text(_SBM, lambda t: t.replace('"scale": 0.5', '"scale": NaN', 1)),
    "arrays of floats": with_arrays(
        "integer-model", lambda a: a.update({k: v.astype(np.float32) for k, v in a.items()})
    ),
    "an array more": with_arrays("integer-model", lambda a: a.update(more=np.zeros(1, np.int8))),
    "an array less": with_arrays("integer-model", lambda a: a.popitem()),
    "arrays of nothing": with_arrays(
        "integer-model", lambda a: a.update({k: v[:0] for k, v in a.items()})
    ),
}


class _Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.out = (
            nn.Conv2d(2, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.Linear(4, 3),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.out(torch.relu(self.norm(self.conv(x))).mean((2, 3)))


def _write_pt2(folder: Path, rng: Rng) -> None:
    torch.manual_seed(int(rng.integers(1 << 30)))
    batch = torch.export.Dim("batch", min=1, max=64) if rng.random() < 0.5 else None
    shapes = ({0: batch},) if batch is not None else None
    exported = torch.export.export(_Net().eval(), (torch.zeros(2, 2, 6, 6),), dynamic_shapes=shapes)
    torch.export.save(exported, folder / "net.pt2")


def _read_pt2(path: Path) -> None:
    graph_from_exported(load_exported(path), path.stem)


def repacked(change: Callable[[dict[str, bytes]], object], **options: Any) -> Craft:
    """A zip archive whose entries are changed, in place."""

    def craft(data: bytes) -> bytes:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        change(entries)
        buffer = io.BytesIO()
        with zipfile.ZipFile(buffer, "w", **options) as archive:
            for name, content in entries.items():
                archive.writestr(name, content)
        return buffer.getvalue()

    return craft


def _graph_of(entries: dict[str, bytes]) -> str:
    return next(name for name in entries if name.endswith("models/model.json"))


def _pt2_codec() -> Codec:
    def unpack(data: bytes) -> Document:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            document: Document = json.loads(
                archive.read(_graph_of(dict.fromkeys(archive.namelist(), b"")))
            )
            return document

    def pack(data: bytes, document: str) -> bytes:
        return repacked(lambda e: e.update({_graph_of(e): document.encode()}))(data)

    return Codec(unpack, pack)


_PT2 = _pt2_codec()


def _added(name: str, content: bytes) -> Craft:
    return repacked(lambda e: e.update({f"{next(iter(e)).partition('/')[0]}/{name}": content}))


def _config(change: Callable[[Document], object]) -> Craft:
    """The document that lists the weights changed."""

    def apply(entries: dict[str, bytes]) -> None:
        name = next(n for n in entries if n.endswith("model_weights_config.json"))
        document = json.loads(entries[name])
        change(document)
        entries[name] = json.dumps(document).encode()

    return repacked(apply)


def _first(document: Document) -> Document:
    found: Document = next(iter(document["config"].values()))
    return found


def _target(value: str) -> Craft:
    return edited(_PT2, at("graph_module", "graph", "nodes", 0, "target", value=value))


def _expression(value: str) -> Craft:
    size = {"as_expr": {"expr_str": value, "hint": {"as_int": 2}}}
    return edited(_PT2, at("graph_module", "graph", "tensor_values", "x", "sizes", 0, value=size))


def _samples(content: bytes) -> Craft:
    """Sample inputs are pickled; they are not read, so only their place in the file is wrong."""
    return _added("data/sample_inputs/other.pt", content)


_PT2S: dict[str, Craft] = {
    "pickled weights": _config(lambda d: _first(d).update(use_pickle=True)),
    "a pickled object": _added("data/constants/custom_obj_0", pickle.dumps(Canary())),
    "an opaque object": _added("data/constants/opaque_obj_0", pickle.dumps(Canary())),
    "old weights": _added("data/weights/model.pt", pickle.dumps(Canary())),
    "other samples": _samples(pickle.dumps(Canary())),
    "a library": _added("data/aotinductor/model/x.so", b"\x7fELF"),
    "an extra file": _added("extra/x", b"1"),
    "a path that leaves": _added("../../x", b"1"),
    "an absolute path": repacked(lambda e: e.update({"/x": b"1"})),
    "weights elsewhere": _config(lambda d: _first(d).update(path_name="../../x")),
    "weights of 2^40": _config(
        lambda d: _first(d)["tensor_meta"].update(sizes=[{"as_int": 1 << 40}])
    ),
    "weights of strides 0": _config(
        lambda d: _first(d)["tensor_meta"].update(
            sizes=[{"as_int": 1 << 20}, {"as_int": 1 << 20}],
            strides=[{"as_int": 0}, {"as_int": 0}],
        )
    ),
    "weights without a shape": _config(lambda d: _first(d).update(tensor_meta=None)),
    "a call of the system": _target("torch.os.system"),
    "a call of builtins": _target("torch.builtins.eval"),
    "an operator of operators": _target("_operator.methodcaller"),
    "an extension": _target("#x.y"),
    "an operator that is text": _target("print"),
    "an expression with a call": _expression("__import__('os').system('touch pickled-code-ran')"),
    "an expression with attributes": _expression("().__class__.__bases__[0].__subclasses__()"),
    "an expression without end": _expression("9**9**9**9"),
    "an expression of a symbol's name": _expression("Symbol('x; import os')"),
    "an endless expression": _expression("1+" * 100_000 + "1"),
    "an object's argument": edited(
        _PT2,
        at(
            "graph_module",
            "graph",
            "nodes",
            0,
            "inputs",
            0,
            "arg",
            value={"as_custom_obj": {"name": "x", "class_fqn": "y"}},
        ),
    ),
    "100,000 lists": text(_PT2, lambda t: "[" * 100_000 + "]" * 100_000),
    "a key twice": text(_PT2, lambda t: t[:-1] + ', "x": 1, "x": 2}'),
    "no graph": repacked(lambda e: e.pop(_graph_of(e))),
    "another format": repacked(
        lambda e: e.update({n: b"pt1" for n in e if n.endswith("archive_format")})
    ),
    "a bomb": _added("data/weights/bomb", b"\0" * (1 << 20)),
    "packed 1,000 times": repacked(
        lambda e: e.update(
            {f"{next(iter(e)).partition('/')[0]}/data/weights/w": b"\0" * (96 << 20)}
        ),
        compression=zipfile.ZIP_DEFLATED,
    ),
    "text": lambda data: b"not an archive",
    "a pickle": lambda data: pickle.dumps(Canary()),
}


def _conv(rng: Rng) -> onnx.ModelProto:
    weight = rng.standard_normal((4, 2, 3, 3)).astype(np.float32)
    matrix = rng.standard_normal((4, 3)).astype(np.float32)
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["a"], name="/conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["a"], ["b"], name="/relu"),
        helper.make_node("GlobalAveragePool", ["b"], ["c"], name="/pool"),
        helper.make_node("Constant", [], ["s"], value=numpy_helper.from_array(np.array([0, -1]))),
        helper.make_node("Reshape", ["c", "s"], ["d"], name="/flat"),
        helper.make_node("MatMul", ["d", "m"], ["y"], name="/head"),
    ]
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 2, 6, 6])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 3])],
        [numpy_helper.from_array(weight, "w"), numpy_helper.from_array(matrix, "m")],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def _write_onnx(folder: Path, rng: Rng) -> None:
    onnx.save(_conv(rng), str(folder / "net.onnx"))


def _write_external(folder: Path, rng: Rng) -> None:
    onnx.save_model(
        _conv(rng),
        str(folder / "net.onnx"),
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )


def onnx_model(change: Callable[[onnx.ModelProto], object]) -> Craft:
    """The model changed, in place or by what ``change`` returns."""

    def craft(data: bytes) -> bytes:
        model = onnx.load_model_from_string(data)
        other = change(model)
        return (other if isinstance(other, onnx.ModelProto) else model).SerializeToString()

    return craft


def _node(op: str, inputs: list[str], **attributes: Any) -> Callable[[onnx.ModelProto], None]:
    """Another node in front of all, whose result is the kernel of a Mul with the input."""

    def change(model: onnx.ModelProto) -> None:
        nodes = list(model.graph.node)
        del model.graph.node[:]
        nodes[-1].output[0] = "z"
        model.graph.node.extend(
            [
                helper.make_node(op, inputs, ["huge"], **attributes),
                *nodes,
                helper.make_node("Add", ["z", "huge"], ["y"]),
            ]
        )

    return change


def _with(name: str, values: Any, then: Callable[[onnx.ModelProto], None]) -> Craft:
    """``then`` with an initializer more."""

    def change(model: onnx.ModelProto) -> None:
        model.graph.initializer.append(numpy_helper.from_array(np.asarray(values), name))
        then(model)

    return onnx_model(change)


def _functions(depth: int, width: int, *, ring: bool = False) -> Craft:
    """Functions that call each other: ``width ** depth`` nodes in all."""

    def change(model: onnx.ModelProto) -> None:
        opset = [helper.make_opsetid("", 17), helper.make_opsetid("local", 1)]
        for level in range(depth):
            last = level == depth - 1
            callee = ("Relu", "") if last and not ring else (f"f{(level + 1) % depth}", "local")
            names = ["a", *(f"t{i}" for i in range(width - 1)), "b"]
            nodes = [
                helper.make_node(callee[0], [names[i]], [names[i + 1]], domain=callee[1])
                for i in range(width)
            ]
            model.functions.append(
                helper.make_function("local", f"f{level}", ["a"], ["b"], nodes, opset)
            )
        model.opset_import.append(opset[1])
        model.graph.node[1].op_type, model.graph.node[1].domain = "f0", "local"

    return onnx_model(change)


def _initializer(**fields: Any) -> Craft:
    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        for name, value in fields.items():
            if name == "dims":
                del tensor.dims[:]
                tensor.dims.extend(value)
            else:
                setattr(tensor, name, value)

    return onnx_model(change)


def _external(**entries: str) -> Craft:
    """The first initializer elsewhere."""

    def change(model: onnx.ModelProto) -> None:
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.ClearField("external_data")
        tensor.data_location = TensorProto.EXTERNAL
        for key, value in entries.items():
            tensor.external_data.add(key=key, value=value)

    return onnx_model(change)


def _loop(model: onnx.ModelProto) -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["d"]), helper.make_node("Identity", ["v"], ["u"])],
        "body",
        [
            helper.make_tensor_value_info("i", TensorProto.INT64, []),
            helper.make_tensor_value_info("c", TensorProto.BOOL, []),
            helper.make_tensor_value_info("v", TensorProto.FLOAT, [1]),
        ],
        [
            helper.make_tensor_value_info("d", TensorProto.BOOL, []),
            helper.make_tensor_value_info("u", TensorProto.FLOAT, [1]),
        ],
    )
    for name, value in (("count", np.int64(1 << 62)), ("go", np.bool_(True))):
        model.graph.initializer.append(numpy_helper.from_array(np.array(value), name))
    model.graph.initializer.append(numpy_helper.from_array(np.zeros(1, np.float32), "start"))
    _node("Loop", ["count", "go", "start"], body=body)(model)


def _dims(*dims: int) -> Craft:
    def change(model: onnx.ModelProto) -> None:
        shape = model.graph.input[0].type.tensor_type.shape
        for dim, value in zip(shape.dim, dims, strict=True):
            dim.dim_value = value

    return onnx_model(change)


def _attribute(value: Any) -> Craft:
    """The padding of the convolution as something else."""

    def change(model: onnx.ModelProto) -> None:
        del model.graph.node[0].attribute[:]
        model.graph.node[0].attribute.append(helper.make_attribute("pads", value))

    return onnx_model(change)


ANY_ONNX: dict[str, Craft] = {
    "text": lambda data: b"not a model",
    "nothing": lambda data: b"",
    "data in a parent's folder": _external(location="../secret.txt", offset="0", length="288"),
    "data at the root": _external(location="/etc/passwd", offset="0", length="288"),
    "data in a folder above": _external(location="a/../../secret.txt", offset="0", length="288"),
    "data of no file": _external(location="absent.bin", offset="0", length="288"),
    "data in the folder itself": _external(location=".", offset="0", length="288"),
    "data before the file": _external(location="net.onnx", offset="-8", length="288"),
    "data behind the file": _external(location="net.onnx", offset="1000000", length="288"),
    "more data than the tensor has": _external(location="net.onnx", offset="0", length="500"),
    "data of 2^70": _external(location="net.onnx", offset="0", length=str(1 << 70)),
    "data of text": _external(location="net.onnx", offset="x", length="y"),
    "data with an attribute of Python": _external(
        location="net.onnx", offset="0", length="288", __class__="x"
    ),
    "data without a place": _external(offset="0", length="288"),
    "data of a NUL": _external(location="a\0b", offset="0", length="288"),
    "weights of 2^60": _initializer(dims=[1 << 30, 1 << 30]),
    "weights of -1": _initializer(dims=[-1, 2, 3, 3]),
    "weights of an unknown type": _initializer(data_type=99),
    "weights as text": _initializer(data_type=TensorProto.STRING),
    "a constant of 2^50": _with(
        "size", np.array([1 << 25, 1 << 25]), _node("ConstantOfShape", ["size"])
    ),
    "a constant of 10^9": _with(
        "size", np.array([1000, 1000, 1000]), _node("ConstantOfShape", ["size"])
    ),
    "an expansion to 2^50": _with(
        "size",
        np.array([1 << 25, 1 << 25]),
        lambda m: (
            m.graph.initializer.append(
                numpy_helper.from_array(np.zeros((1, 1), np.float32), "one")
            ),
            _node("Expand", ["one", "size"])(m),
        )[1],
    ),
    "a range of 2^50": _with(
        "one",
        np.int64(1),
        lambda m: (
            m.graph.initializer.extend(
                [
                    numpy_helper.from_array(np.array(0), "zero"),
                    numpy_helper.from_array(np.array(1 << 50), "limit"),
                ]
            ),
            _node("Range", ["zero", "limit", "one"])(m),
        )[1],
    ),
    "tiles of 2^40": _with(
        "many", np.array([1 << 20, 1 << 20, 1, 1]), _node("Tile", ["w", "many"])
    ),
    "padding of 2^40": _with(
        "many", np.array([1 << 40, 0, 0, 0, 0, 0, 0, 0]), _node("Pad", ["w", "many"])
    ),
    "a loop without end": onnx_model(_loop),
    "a random number": onnx_model(_node("RandomNormal", [], shape=[3])),
    "a regular expression": _with(
        "words",
        np.array(["a" * 40], object),
        _node("RegexFullMatch", ["words"], pattern="(a+)+$b"),
    ),
    "an unknown operator": onnx_model(lambda m: setattr(m.graph.node[1], "op_type", "Magic")),
    "another's operator": onnx_model(lambda m: setattr(m.graph.node[1], "domain", "evil")),
    "10^12 nodes in functions": _functions(12, 10),
    "functions in a ring": _functions(3, 1, ring=True),
    "an input of 2^60": _dims(1, 1 << 30, 1 << 15, 1 << 15),
    "an input of 2^40 values": _dims(1, 2, 1 << 20, 1 << 20),
    "an input of -1": _dims(1, -1, 6, 6),
    "padding as text": _attribute("many"),
    "padding of floats": _attribute([0.5, 0.5]),
    "padding of graphs": _attribute([onnx.GraphProto()]),
    "padding of 2^60": _attribute([1 << 60] * 4),
    "padding of three": _attribute([1, 1, 1]),
    "stride 0": onnx_model(
        lambda m: m.graph.node[0].attribute.append(helper.make_attribute("strides", [0, 0]))
    ),
    "groups of -1": onnx_model(
        lambda m: m.graph.node[0].attribute.append(helper.make_attribute("group", -1))
    ),
    "an operand of nobody": onnx_model(lambda m: m.graph.node[1].input.__setitem__(0, "nobody")),
    "no operands": onnx_model(lambda m: m.graph.node[1].input.pop()),
    "a ring of nodes": onnx_model(lambda m: m.graph.node[0].input.__setitem__(0, "y")),
    "no graph": onnx_model(lambda m: m.ClearField("graph")),
    "no outputs": onnx_model(lambda m: m.graph.ClearField("output")),
    "a sparse tensor": onnx_model(lambda m: m.graph.sparse_initializer.add()),
}

KINDS = (
    Kind(
        "integer model",
        "net.sbm",
        lambda folder, rng: save_model(
            random_graph(rng, PRESETS["nano"], layers=3), folder / "net.sbm"
        ),
        _read_sbm,
        exact=True,
        codec=_SBM,
        crafted=_SBMS,
    ),
    Kind("torch.export", "net.pt2", _write_pt2, _read_pt2, codec=_PT2, crafted=_PT2S),
    Kind("ONNX", "net.onnx", _write_onnx, import_onnx, crafted=ANY_ONNX),
    Kind("ONNX, external data", "net.onnx", _write_external, import_onnx, crafted=ANY_ONNX),
)
