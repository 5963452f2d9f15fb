"""The integer bundle: everything about an integer graph in JSON and .npy files, with golden values.

``bundle.json`` names, for every node, its operands, shapes, geometry and the files of its arrays,
and describes its computation in words; ``golden/`` holds the stored integers of every tensor for a
few inputs. They can be checked without this software.
"""

import io
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from sigbit.export.files import ExportError, write_folder, write_zip
from sigbit.ir.arrays import narrow
from sigbit.ir.integer import (
    Constant,
    Conv,
    Gather,
    Input,
    IntegerGraph,
    Matmul,
    MaxPool,
    Node,
    TensorType,
)
from sigbit_hw.arch import numerics
from sigbit_hw.arch.formats import Format
from sigbit_hw.arch.host_schema import host_document

VERSION = 4
"""Version of the layout of ``bundle.json``."""

MARKER = "bundle.json"

RULES = {
    "tensor": "arrays [batch, channels, height, width] of stored integers; "
    "real value = scale * (stored + zero)",
    "input": "stored = clip(round(real / scale - zero), low, high), rounded to nearest, ties away "
    "from zero",
    "conv": "acc = sum over sources of a convolution (cross-correlation, no kernel flip) of stored "
    "integers with integer weights [out channels, in channels / groups, kernel height, kernel "
    "width]; before it, upsampling (u, v) puts u - 1 lines and v - 1 columns between neighbouring "
    "pixels, and padding (top, left, bottom, right) goes around the result, negative: lines and "
    "columns are cut off; all these positions hold the stored integer -zero of the source's "
    "tensor, which stands for the real value 0",
    "requantize": f"total = acc * {numerics.UNIT} + base; y = floor(total / step), clipped to "
    f"[{numerics.Y_MIN}, {numerics.Y_MAX}]; where tie is 1, y is odd and total = y * step, y is "
    f"lowered by 1; stored = table[y mod {numerics.TABLE_ENTRIES}]; base, step and tie are "
    "integers per output channel",
    "constant": "the same values [channels, height, width] for every sample",
    "matmul": "acc[n, p] = sum over channels k of left[k, p] * right[k, n], with n and p the "
    "pixels of right and left line by line; n is the channel of the result; right is a tensor of "
    "weight digits (its type says weights), whose stored integers are sums of planes digits of the "
    "weight format",
    "maxpool": "maximum over windows of stored integers; padding (top, left, bottom, right) holds "
    "padding_value, negative padding cuts off",
    "output": "what the network returns, or the host reads under this name: the tensor in these "
    "axes; channels height width as it is stored, features its elements in their order",
    "host": "steps left to the host, in this order: operators of ONNX (operator set 21) on real "
    "outputs of one sample, viewed as [1, *shape]; their constants are arrays called host.NAME",
    "gather": "channel i of the result is channel channels[i][1] of tensor number channels[i][0]",
}


def export_bundle(
    graph: IntegerGraph,
    path: str | Path,
    vectors: int | Mapping[str, NDArray[np.integer[Any]]] = 2,
) -> None:
    """Write the bundle of ``graph``: a zip file if ``path`` ends in .zip, else a folder. It is
    written atomically; an existing bundle of that name is replaced.

    ``vectors`` are stored integers ``[batch, C, H, W]`` for every input, or a number of random ones
    (the same every time).
    """
    path = Path(path)
    files = bundle_files(graph, vectors)
    if path.suffix == ".zip":
        if path.is_dir():
            raise ExportError(f"{path} is a folder: give the name of a file")
        write_zip(path, files)
    else:
        write_folder(path, files, MARKER)


def bundle_files(
    graph: IntegerGraph, vectors: int | Mapping[str, NDArray[np.integer[Any]]] = 2
) -> dict[str, bytes]:
    """Return the files of the bundle by their paths in it."""
    arrays: dict[str, NDArray[Any]] = {}
    nodes = [_described(graph, i, n, arrays) for i, n in enumerate(graph.nodes)]
    golden = {}
    for i, (name, value) in enumerate(_golden(graph, vectors).items()):
        golden[name] = f"golden/{i:04d}.npy"
        arrays[golden[name]] = narrow(value)
    outputs = zip(graph.output_names, graph.outputs, graph.output_axes, strict=True)
    host, constants = host_document(graph.host)
    arrays |= {f"{name}.npy": array for name, array in constants.items()}
    document = {
        "version": VERSION,
        "name": graph.name,
        "weight_format": _format(graph.weight_format),
        "activation_format": _format(graph.act_format),
        "radix_bits": graph.radix_bits,
        "rules": RULES,
        "nodes": nodes,
        "outputs": [
            {"name": name, "tensor": tensor, "axes": axes.value} for name, tensor, axes in outputs
        ],
        "host": host,
        "golden": golden,
    }
    text = json.dumps(document, indent=1, allow_nan=False) + "\n"
    return {MARKER: text.encode(), **{name: _npy(a) for name, a in arrays.items()}}


def _golden(
    graph: IntegerGraph, vectors: int | Mapping[str, NDArray[np.integer[Any]]]
) -> dict[str, NDArray[np.int64]]:
    if isinstance(vectors, int):
        rng = np.random.default_rng(0)
        vectors = {
            n.name: rng.integers(n.low, n.high + 1, (vectors, *n.type.shape)) for n in graph.inputs
        }
    for node in graph.inputs:
        given = vectors.get(node.name)
        if given is None or given.shape[1:] != node.type.shape:
            shape = None if given is None else list(given.shape)
            raise ExportError(
                f"vectors of input {node.name!r} must be [batch, {list(node.type.shape)}], "
                f"not {shape}"
            )
        if given.size and (given.min() < node.low or given.max() > node.high):
            raise ExportError(
                f"vectors of input {node.name!r} must lie in [{node.low}, {node.high}]"
            )
    with torch.no_grad():
        values = graph.evaluate({k: torch.from_numpy(np.asarray(v)) for k, v in vectors.items()})
    return {name: value.numpy() for name, value in values.items()}


def _described(
    graph: IntegerGraph, index: int, node: Node, arrays: dict[str, NDArray[Any]]
) -> dict[str, Any]:
    """Return the JSON of one node; its arrays are added to ``arrays``."""

    def array(what: str, value: NDArray[Any]) -> str:
        file = f"arrays/{index:04d}.{what}.npy"
        arrays[file] = narrow(value)
        return file

    common = {"name": node.name, "type": _type(node.type)}
    match node:
        case Input():
            return common | {"op": "input", "low": node.low, "high": node.high}
        case Constant():
            return common | {"op": "constant", "values": array("values", node.values)}
        case Matmul():
            return common | {
                "op": "matmul",
                "kind": node.kind,
                "left": node.left,
                "right": node.right,
                **{k: array(k, getattr(node, k)) for k in ("base", "step", "tie", "table")},
                "location": node.location,
            }
        case MaxPool():
            return common | {
                "op": "maxpool",
                "tensor": node.tensor,
                "kernel": node.kernel,
                "stride": node.stride,
                "padding": node.padding,
                "padding_value": graph.act_format.min,
                "location": node.location,
            }
        case Gather():
            return common | {
                "op": "gather",
                "tensors": node.tensors,
                "channels": array("channels", node.channels),
                "location": node.location,
            }
        case Conv():
            sources = [
                {
                    "tensor": s.tensor,
                    "zero": graph[s.tensor].type.zero,
                    "weights": array(f"weights{i}", s.weights),
                    "weight_shape": s.weights.shape,
                    "weight_terms": s.terms,
                    "stride": s.stride,
                    "padding": s.padding,
                    "groups": s.groups,
                    "dilation": s.dilation,
                    "upsampling": s.upsampling,
                }
                for i, s in enumerate(node.sources)
            ]
            return common | {
                "op": "conv",
                "kind": node.kind,
                "sources": sources,
                **{k: array(k, getattr(node, k)) for k in ("base", "step", "tie", "table")},
                "location": node.location,
            }


def _type(kind: TensorType) -> dict[str, Any]:
    return {
        "shape": kind.shape,
        "planes": kind.planes,
        "scale": kind.scale,
        "zero": kind.zero,
        "weights": kind.weights,
    }


def _format(native: Format) -> dict[str, Any]:
    return native.to_json() | {"bits": native.bits, "values": [int(v) for v in native.values]}


def _npy(value: NDArray[Any]) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, value, allow_pickle=False)
    return buffer.getvalue()
