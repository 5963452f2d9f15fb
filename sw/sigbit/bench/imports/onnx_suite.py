"""The backend tests of the ``onnx`` package: one model per case, with inputs and results."""

import copy
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, numpy_helper

from sigbit.bench.imports.verdicts import Expected, Judged, judge, worst_or_best
from sigbit.frontend import import_onnx

SUITE = "onnx"
KINDS = ("node", "simple", "pytorch-converted", "pytorch-operator")

Array = NDArray[np.generic]
_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE, TensorProto.BFLOAT16)
_PRODUCTS = frozenset(["Add", "Div", "Max", "Min", "Mul", "Pow", "Sub"])
"""Operators that are also tested with a constant first operand."""
_EACH = frozenset([
    "Abs", "Add", "Ceil", "Celu", "Clip", "Cos", "Div", "Dropout", "Elu", "Erf", "Exp", "Floor",
    "Gelu", "HardSigmoid", "HardSwish", "Identity", "LeakyRelu", "Log", "Max", "Mean", "Min",
    "Mish", "Mul", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Round", "Selu", "Shrink",
    "Sigmoid", "Sign", "Sin", "Softplus", "Softsign", "Sqrt", "Sub", "Sum", "Swish", "Tanh",
    "ThresholdedRelu", "Where",
])  # fmt: skip
"""Elementwise operators, which are also tested with additional leading axes: a network's tensors
have a batch dimension, and most of these tests have none."""


@dataclass(frozen=True)
class Case:
    """A model, its inputs and its results."""

    name: str
    model: ModelProto
    inputs: list[Array]
    results: list[Array]


def judge_suite() -> Iterator[Judged]:
    """Judge every case."""
    for kind in KINDS:
        for test in sorted(_load(kind), key=lambda t: str(t.name)):
            case = _case(test)
            name = f"{kind}/{test.name.removeprefix('test_')}"
            tried = [
                judge(SUITE, name, partial(import_onnx, model), [expected])
                for model, expected in _variants(case)
            ]
            yield worst_or_best(tried)


def _load(kind: str) -> list[Any]:
    from onnx.backend.test.loader import load_model_tests

    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")  # some cases compute infinities
        return load_model_tests(kind=kind)


def _case(test: Any) -> Case:
    """A test of the package, from memory or from its folder, with the first of its data sets."""
    if test.model is not None:
        inputs, results = test.data_sets[0]
        return Case(test.name, test.model, _arrays(inputs), _arrays(results))
    folder = Path(test.model_dir)
    data = min(p for p in folder.iterdir() if p.name.startswith("test_data_set"))
    model = onnx.load(folder / "model.onnx")
    return Case(test.name, model, _stored(data, "input"), _stored(data, "output"))


def _stored(folder: Path, kind: str) -> list[Array]:
    arrays = []
    for number in range(len(list(folder.glob(f"{kind}_*.pb")))):
        tensor = TensorProto()
        tensor.ParseFromString((folder / f"{kind}_{number}.pb").read_bytes())
        arrays.append(numpy_helper.to_array(tensor))
    return arrays


def _arrays(values: Sequence[Any]) -> list[Array]:
    """Arrays; sequences and similar types remain unchanged, because their models are refused."""
    return [numpy_helper.to_array(v) if isinstance(v, TensorProto) else v for v in values]


def _variants(case: Case) -> Iterator[tuple[ModelProto, Expected]]:
    """The case with one of its operands as the network's input and the others as constants, and
    with all possible inputs; unchanged if it has no float tensor."""
    initial = {i.name for i in case.model.graph.initializer}
    inputs = [v for v in case.model.graph.input if v.name not in initial]
    floats = [i for i, v in enumerate(inputs) if v.type.tensor_type.elem_type in _FLOATS]
    plain = all(isinstance(a, np.ndarray | np.generic) for a in case.inputs)
    if not floats or not plain or len(inputs) != len(case.inputs):
        yield case.model, Expected([], [])
        return
    operators = {n.op_type for n in case.model.graph.node}
    choices = [floats[:1], *([floats] if len(floats) > 1 else [])]
    if operators <= _PRODUCTS and 1 in floats:
        choices.append([1])
    cases = [case]
    if operators <= _EACH:
        cases += _with_axes(case)
    for each in cases:
        for chosen in choices:
            yield _split(each, chosen)


def _split(case: Case, chosen: Sequence[int]) -> tuple[ModelProto, Expected]:
    """The model with the operands ``chosen`` as inputs and the others as constants."""
    model = copy.deepcopy(case.model)
    initial = {i.name for i in model.graph.initializer}
    values = [v for v in model.graph.input if v.name not in initial]
    del model.graph.input[:]
    for number, (value, array) in enumerate(zip(values, case.inputs, strict=True)):
        if number in chosen:
            model.graph.input.append(value)
        else:
            model.graph.initializer.append(numpy_helper.from_array(np.asarray(array), value.name))
    feeds = [_tensor(case.inputs[i]) for i in chosen]
    tolerance = max((_TOLERANCES.get(str(np.asarray(f).dtype), 0) for f in case.inputs), default=0)
    results = [_tensor(r) for r in case.results]
    return model, Expected(feeds, results, tolerance or 2e-4)


_TOLERANCES = {"bfloat16": 2e-2, "float16": 2e-3}
"""Tolerances for 16-bit models, which are read in float32; others have results with at least four
digits."""


def _tensor(array: Any) -> torch.Tensor:
    """A tensor; types that the importer widens are widened."""
    if not isinstance(array, np.ndarray | np.generic | float | int):
        return torch.empty(0)  # sequences and other types that no network has
    value = np.asarray(array)
    if value.dtype.kind not in "biufV":
        return torch.empty(0)  # strings
    if value.dtype.kind in "fV" and value.dtype not in (np.float32, np.float64):
        value = value.astype(np.float32)
    return torch.from_numpy(np.array(value))


def _with_axes(case: Case) -> Iterator[Case]:
    """The case with leading axes, so that it has a batch and channels."""
    rank = max(np.ndim(a) for a in case.inputs)
    if rank > 3:
        return
    more = 2 if rank == 0 else 1

    def wider(array: Array) -> Array:
        own = np.ndim(array)
        return np.asarray(array)[(None,) * (rank + more - own)] if own else np.asarray(array)

    model = copy.deepcopy(case.model)
    del model.graph.value_info[:]
    for values, arrays in (
        (model.graph.input, case.inputs),
        (model.graph.output, case.results),
    ):
        for value, array in zip(values, arrays, strict=False):
            shape = value.type.tensor_type.shape
            del shape.dim[:]
            for size in wider(array).shape:
                shape.dim.add().dim_value = size
    yield Case(case.name, model, [wider(a) for a in case.inputs], [wider(a) for a in case.results])
