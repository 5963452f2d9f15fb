"""Reader for untrusted ONNX files: contents and references are checked before they are loaded or
expanded."""

import math
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto

from sigbit_tools.shown import shown

FILE_MAX = (1 << 31) - 1
"""Maximum bytes of a model, without external data: the limit of its encoding."""
NODES_MAX = 200_000
"""Maximum number of nodes of a model, its functions expanded."""
DEPTH_MAX = 32
"""Maximum nesting depth of graphs."""

_KEYS = frozenset({"location", "offset", "length", "checksum"})


def read_model(path: Path) -> ModelProto:
    """Return the model in ``path`` with its external data; raise ``ValueError`` with the defect."""
    if path.exists() and not path.is_file():
        raise ValueError("it is not a regular file")
    if path.stat().st_size > FILE_MAX:
        raise ValueError(f"it holds more than {FILE_MAX:,} bytes")
    try:
        model = onnx.load_model_from_string(path.read_bytes(), format="protobuf")
    except DecodeError as error:
        raise ValueError(f"it cannot be decoded: {error}") from None
    check_model(model)
    folder = path.resolve().parent
    external = False
    for tensor in _tensors(model):
        size = _size(tensor)
        if tensor.data_location == TensorProto.EXTERNAL or tensor.external_data:
            _check_external(tensor, size, folder)
            external = True
    if external:
        try:
            onnx.load_external_data_for_model(model, str(folder))
        except (onnx.checker.ValidationError, OSError, RuntimeError, ValueError) as error:
            raise ValueError(f"its external data cannot be read: {error}") from None
    return model


def check_model(model: ModelProto) -> None:
    """Raise ``ValueError`` unless the model's graphs, functions expanded, are small enough, and the
    importer supports their contents."""
    if not model.HasField("graph"):
        raise ValueError("it holds no graph")
    if model.graph.sparse_initializer:
        raise ValueError("it holds sparse tensors: make them dense")
    _check_texts(model)
    calls = {_key(f.domain, f.name): _calls(f.node) for f in model.functions}
    if len(calls) < len(model.functions):
        raise ValueError("it holds two functions of one name")
    sizes: dict[str, int] = {}
    while len(sizes) < len(calls):  # those first that call no others
        ready = [
            name
            for name, callees in calls.items()
            if name not in sizes and all(c in sizes for c in callees if c in calls)
        ]
        if not ready:
            raise ValueError(f"its functions call each other: {shown(sorted(calls))}")
        for name in ready:
            sizes[name] = _total(calls[name], sizes)
    total = _total(_calls(model.graph.node), sizes)
    if total > NODES_MAX:
        raise ValueError(
            f"it has {total:,} nodes with its functions expanded, at most {NODES_MAX:,} work"
        )


def _check_texts(model: ModelProto) -> None:
    """Check that every name is text; invalid UTF-8 arrives as bytes."""
    graphs, nodes = [model.graph], [n for f in model.functions for n in f.node]
    texts: list[object] = [t for f in model.functions for t in (f.domain, f.name)]
    texts += [opset.domain for opset in model.opset_import]
    while graphs or nodes:
        for graph in graphs:
            values = (*graph.input, *graph.output, *graph.value_info, *graph.initializer)
            texts += [graph.name, *(value.name for value in values)]
            nodes += graph.node
        graphs = []
        for node in nodes:
            texts += [node.name, node.op_type, node.domain, *node.input, *node.output]
            texts += [attribute.name for attribute in node.attribute]
            graphs += _graphs(node)
        nodes = []
    if not all(isinstance(text, str) for text in texts):
        raise ValueError("it holds names that are not UTF-8 text")


def _key(domain: str, name: str) -> str:
    return f"{domain}:{name}"


def _total(calls: Mapping[str, int], sizes: Mapping[str, int]) -> int:
    return sum(count * sizes.get(callee, 1) for callee, count in calls.items())


def _calls(nodes: Iterable[NodeProto], depth: int = 0) -> dict[str, int]:
    """Count the uses of every operator by nodes, and by the graphs within them."""
    if depth > DEPTH_MAX:
        raise ValueError(f"it has graphs within graphs, more than {DEPTH_MAX} levels")
    counts: dict[str, int] = {}
    for node in nodes:
        key = _key(node.domain, node.op_type)
        counts[key] = counts.get(key, 0) + 1
        for inner in _graphs(node):
            for name, count in _calls(inner.node, depth + 1).items():
                counts[name] = counts.get(name, 0) + count
    return counts


def _graphs(node: NodeProto) -> Iterator[GraphProto]:
    for attribute in node.attribute:
        if attribute.HasField("g"):
            yield attribute.g
        yield from attribute.graphs


def _tensors(model: ModelProto) -> Iterator[TensorProto]:
    """Yield all tensors of a model, at any depth."""
    graphs: list[GraphProto] = [model.graph]
    nodes: list[NodeProto] = [n for f in model.functions for n in f.node]
    attributes: list[AttributeProto] = [a for f in model.functions for a in f.attribute_proto]
    while graphs or nodes or attributes:
        while graphs:
            graph = graphs.pop()
            yield from graph.initializer
            for sparse in graph.sparse_initializer:
                yield sparse.values
                yield sparse.indices
            nodes += graph.node
        while nodes:
            attributes += nodes.pop().attribute
        while attributes:
            attribute = attributes.pop()
            if attribute.HasField("t"):
                yield attribute.t
            yield from attribute.tensors
            if attribute.HasField("sparse_tensor"):
                yield attribute.sparse_tensor.values
                yield attribute.sparse_tensor.indices
            if attribute.HasField("g"):
                graphs.append(attribute.g)
            graphs += attribute.graphs


def _size(tensor: TensorProto) -> int:
    """Return the bytes of a tensor according to its shape and type."""
    if any(n < 0 for n in tensor.dims):
        raise ValueError(
            f"the tensor {shown(tensor.name)} has the shape {shown(list(tensor.dims))}"
        )
    elements = math.prod(tensor.dims)
    if tensor.data_type == TensorProto.STRING:
        return elements
    try:
        item = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (KeyError, TypeError, ValueError):
        raise ValueError(f"the tensor {shown(tensor.name)} is of an unknown type") from None
    size = elements * item
    if tensor.HasField("raw_data") and not tensor.external_data:
        packed = -(-elements // 4)  # four elements a byte at most
        if not packed <= len(tensor.raw_data) <= size:
            raise ValueError(
                f"the tensor {shown(tensor.name)} {shown(list(tensor.dims))} has "
                f"{len(tensor.raw_data):,} bytes"
            )
    return size


def _check_external(tensor: TensorProto, size: int, folder: Path) -> None:
    """Check that the data lie in a file beside the model, and match the size of the tensor."""
    what = f"the external data of {shown(tensor.name)}"
    if not all(isinstance(t, str) for e in tensor.external_data for t in (e.key, e.value)):
        raise ValueError(f"{what} are described by what is not UTF-8 text")
    entries = {entry.key: entry.value for entry in tensor.external_data}
    if len(entries) < len(tensor.external_data) or not {"location"} <= set(entries) <= _KEYS:
        raise ValueError(f"{what} must have a location, and once: it has {shown(sorted(entries))}")
    location = entries["location"]
    parts = PurePosixPath(location).parts
    if not parts or location.startswith("/") or ".." in parts or "\\" in location:
        raise ValueError(f"{what} must lie in the model's folder, not at {shown(location)}")
    path = folder.joinpath(*parts)
    if not location.isprintable() or path.resolve() != path or not path.is_file():
        raise ValueError(f"{what} must be a file in the model's folder, not {shown(location)}")
    numbers = [entries.get("offset", "0"), entries.get("length", str(size))]
    if not all(n.isascii() and n.isdecimal() and len(n) < 20 for n in numbers):
        raise ValueError(f"{what} have offset and length {shown(numbers)}")
    offset, length = map(int, numbers)
    there = os.stat(path).st_size
    if length > size or offset + length > there:
        raise ValueError(
            f"{what} are {length:,} bytes from {offset:,} on: the tensor has {size:,}, the file "
            f"{there:,}"
        )
