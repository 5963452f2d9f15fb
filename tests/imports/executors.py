"""What other projects' executors compute for every tensor of a quantized model."""

import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from numpy.typing import NDArray

from sigbit.compiler import compile_graph
from sigbit.frontend import import_onnx
from sigbit.quant import PreparedModel, QuantSpec, convert
from sigbit.quant.post import post_training
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.names import legal_name
from sigbit_sim.interp.device import Interp

Floats = NDArray[np.float32]
_QUANTIZERS = ("Quant", "IntQuant", "BipolarQuant", "FloatQuant", "Trunc", "DequantizeLinear")
_BETWEEN = ("QuantizeLinear", "Clip", "Flatten", "Reshape", "Identity", "Relu")


def tensors(path: Path, x: Floats, batch: int = 1) -> dict[str, Floats]:
    """Every tensor by name, ``batch`` inputs at a time: by qonnx for models with its operators, by
    ONNX Runtime without optimizations for others."""
    model = onnx.load(path)
    own = any(n.domain.startswith(("qonnx", "onnx.brevitas")) for n in model.graph.node)
    run = by_qonnx if own else by_onnxruntime
    found = [run(model, x[i : i + batch]) for i in range(0, len(x), batch)]
    return {n: np.concatenate([np.atleast_1d(f[n]) for f in found]) for n in found[0]}


def by_qonnx(model: onnx.ModelProto, x: Floats) -> dict[str, Floats]:
    pytest.importorskip("qonnx")
    from qonnx.core.modelwrapper import ModelWrapper
    from qonnx.core.onnx_exec import execute_onnx
    from qonnx.transformation.infer_shapes import InferShapes

    wrapper = ModelWrapper(model, make_deepcopy=True)
    name = _input(model)
    wrapper.set_tensor_shape(name, list(x.shape))
    for output in wrapper.graph.output:
        del output.type.tensor_type.shape.dim[:]
    del wrapper.graph.value_info[:]
    wrapper = wrapper.transform(InferShapes())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of shapes that it does not infer
        found: dict[str, Floats] = execute_onnx(wrapper, {name: x}, return_full_exec_context=True)
    computed = {name, *(o for n in model.graph.node for o in n.output)}
    return {k: v for k, v in found.items() if k in computed and v is not None}


def by_onnxruntime(model: onnx.ModelProto, x: Floats) -> dict[str, Floats]:
    """Every tensor by name, without optimizations."""
    import onnxruntime

    whole = onnx.ModelProto()
    whole.CopyFrom(model)
    known = {o.name for o in model.graph.output}
    names = [o for n in model.graph.node for o in n.output if o and o not in known]
    whole.graph.output.extend(onnx.ValueInfoProto(name=n) for n in names)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads, options.log_severity_level = 1, 3
    session = onnxruntime.InferenceSession(whole.SerializeToString(), options)
    results = session.run(None, {_input(model): x})
    return dict(zip((o.name for o in session.get_outputs()), results, strict=True))


def _input(model: onnx.ModelProto) -> str:
    constants = {t.name for t in model.graph.initializer}
    (name,) = (i.name for i in model.graph.input if i.name not in constants)
    return name


def quantized_tensor(model: onnx.ModelProto, name: str) -> str:
    """The tensor of ``model`` that the stored tensor ``name`` of its import holds: the result of
    the quantizer behind the node, or the input, of this name."""
    name = name.removesuffix(".quantized")
    by_name = {legal_name((n.name or n.output[0]).strip("/")): n for n in model.graph.node}
    if name in by_name:
        node = by_name[name]
        if node.op_type in _QUANTIZERS:
            return node.output[0]
        tensor = node.output[0]
    else:
        tensor = next(i.name for i in model.graph.input if legal_name(i.name) == name)
    while True:
        behind = [n for n in model.graph.node if tensor in n.input[:1]]
        node = next(n for n in behind if n.op_type in (*_QUANTIZERS, *_BETWEEN))
        tensor = node.output[0]
        if node.op_type in _QUANTIZERS:
            return tensor


@dataclass(frozen=True)
class Compared:
    """A deployed model: the integers of its quantizers on the interpreter, and those of an executor
    (``wanted``), by stored tensor."""

    prepared: PreparedModel
    got: Mapping[str, NDArray[np.int64]]
    wanted: Mapping[str, NDArray[np.int64]]

    @property
    def differing(self) -> dict[str, int]:
        """Number of integers that differ, by tensor."""
        return {n: int((self.got[n] != w).sum()) for n, w in self.wanted.items()}


def compare(model: onnx.ModelProto, x: Floats, config: ArchConfig) -> Compared:
    """Deploy a model of qonnx's operators and run it beside qonnx."""
    want, graph, given = by_qonnx(model, x), import_onnx(model), torch.from_numpy(x)
    prepared = post_training(graph, given, QuantSpec.from_arch(config))
    integer = convert(prepared)
    stored = {n: v.numpy() for n, v in integer.stored(given).items()}
    program = compile_graph(integer.graph, config)
    feed = {p.name: stored[p.name] for p in program.inputs}
    codes = {**stored, **Interp(config).run(program, feed, layers=True).layers}
    got, wanted = {}, {}
    for name, quantizer in graph.quantizers.items():
        real = np.asarray(want[quantized_tensor(model, name)], np.float64)
        levels = real / float(quantizer.scale)
        assert np.abs(np.rint(levels) - levels).max() < 1e-3, name
        wanted[name] = np.rint(levels).astype(np.int64)
        got[name] = (codes[name] + integer.graph[name].type.zero).reshape(levels.shape)
    return Compared(prepared, got, wanted)
