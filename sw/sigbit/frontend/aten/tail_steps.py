"""ATen operations as steps of the host, by the name of the operation."""

from collections.abc import Callable, Mapping

import numpy as np
import torch
from torch.fx import Node as FxNode

from sigbit.frontend.aten.operators import op_name
from sigbit.frontend.aten.tail_step import Step
from sigbit.frontend.values import Refusal

Translate = Callable[[Step], object]


def _one(function: str, operand: str = "self") -> Translate:
    return lambda s: s.add(function, s.operand(operand))


def _two(function: str) -> Translate:
    def translate(s: Step) -> None:
        if s.get("alpha", 1) != 1:
            raise Refusal(f"alpha={s.get('alpha')}, behind the cut", "multiply first")
        if s.get("rounding_mode") is not None:
            raise Refusal(f"rounding_mode={s.get('rounding_mode')}, behind the cut", "leave it out")
        s.add(function, s.operand("self"), s.operand("other"))

    return translate


def _power(s: Step) -> None:
    s.add("Pow", s.operand("self"), s.operand("exponent"))


def _root(s: Step) -> None:
    s.add("Reciprocal", s.add("Sqrt", s.operand("self"), part="root"))


def _silu(s: Step) -> None:
    x = s.operand("self")
    s.add("Mul", x, s.add("Sigmoid", x, part="gate"))


def _clamp(s: Step) -> None:
    limits = [s.get(n) for n in ("min", "max")]
    if any(isinstance(v, FxNode) for v in limits):
        raise Refusal("limits that are tensors, behind the cut", "use numbers")
    names = ["" if v is None else s.number(n, float(v))
             for n, v in zip(("min", "max"), limits, strict=True)]  # fmt: skip
    s.add("Clip", *[s.operand("self"), *names][: 3 if names[1] else 2])


def _cast(s: Step) -> None:
    kinds = {"f": 11, "i": 7, "u": 7, "b": 9}
    s.read.update(("dtype", "other"))
    kind = torch.empty((), dtype=s.node.meta["val"].dtype).numpy().dtype.kind
    s.add("Cast", s.operand("self"), options={"to": kinds[kind]})


def _reshaped(s: Step) -> None:
    s.read.update(("size", "shape", "dim", "start_dim", "end_dim", "sizes", "implicit"))
    shape = s.number("shape", np.array(s.shape, np.int64))
    s.add("Reshape", s.operand("self"), shape)


def _expanded(s: Step) -> None:
    s.read.update(("size", "implicit"))
    s.add("Expand", s.operand("self"), s.number("shape", np.array(s.shape, np.int64)))


def _permuted(s: Step) -> None:
    rank = s.node.meta["val"].dim()
    order = list(range(rank))
    if op_name(s.node.target) == "permute":
        order = [d % rank for d in s.get("dims")]
    else:
        a, b = s.get("dim0") % rank, s.get("dim1") % rank
        order[a], order[b] = order[b], order[a]
    if order[0] != 0:
        raise Refusal("moves the batch, behind the cut", "keep the batch in front")
    s.add("Transpose", s.operand("self"), options={"perm": tuple(order)})


def _joined(s: Step) -> None:
    axis = s.axis()
    names = []
    for tensor in s.get("tensors"):
        if tensor in s.static:
            array = s.static[tensor].detach().numpy()
            names.append(s.tail.constant(tensor.name, array))
        else:
            names.append(tensor.name)
    s.add("Concat", *names, options={"axis": axis})


def _sliced(s: Step) -> None:
    numbers = {"start": s.get("start", 0), "end": s.get("end", 1 << 62), "step": s.get("step", 1)}
    names = {k: s.number(k, np.array([v], np.int64)) for k, v in numbers.items()}
    dim = s.number("dim", np.array([s.axis()], np.int64))
    s.add("Slice", s.operand("self"), names["start"], names["end"], dim, names["step"])


def _selected(s: Step) -> None:
    index = s.number("index", np.array(s.get("index"), np.int64))
    s.add("Gather", s.operand("self"), index, options={"axis": s.axis()})


def _parts(s: Step) -> None:
    axis, several = s.axis(), s.node.meta["val"]
    s.read.update(("split_size", "split_sizes", "chunks"))
    sizes = s.number("sizes", np.array([int(v.shape[axis]) for v in several], np.int64))
    names = [f"{s.node.name}.{i}" for i in range(len(several))]
    s.add("Split", s.operand("self"), sizes, options={"axis": axis}, results=names)


def _part(s: Step) -> None:
    source, index = s.node.args
    assert isinstance(source, FxNode)
    s.add("Identity", f"{source.name}.{index}")


def _over(function: str) -> Translate:
    def translate(s: Step) -> None:
        if s.get("half_to_float", False):
            raise Refusal("half_to_float=True", "compute in float32")
        s.read.add("dtype")
        s.add(function, s.operand("self"), options={"axis": s.axis()})

    return translate


def _index_of(function: str) -> Translate:
    def translate(s: Step) -> None:
        options = {"axis": s.axis(), "keepdims": int(s.get("keepdim", False))}
        s.add(function, s.operand("self"), options=options)

    return translate


def _reduced(function: str) -> Translate:
    def translate(s: Step) -> None:
        axes = s.number("axes", np.array(s.axes(), np.int64))
        options = {"keepdims": int(s.get("keepdim", False))}
        s.read.add("dtype")
        s.add(function, s.operand("self"), axes, options=options)

    return translate


def _best(s: Step) -> None:
    options = {"axis": s.axis(), "largest": int(s.get("largest", True))}
    s.get("sorted")  # sorted always
    k = s.number("k", np.array([s.get("k")], np.int64))
    names = [f"{s.node.name}.0", f"{s.node.name}.1"]
    s.add("TopK", s.operand("self"), k, options=options, results=names)


def _extreme(function: str, index: str) -> Translate:
    """max.dim and min.dim: values and indices."""

    def translate(s: Step) -> None:
        axis, keep = s.axis(), int(s.get("keepdim", False))
        x, axes = s.operand("self"), s.number("axes", np.array([axis], np.int64))
        s.add(function, x, axes, options={"keepdims": keep}, results=[f"{s.node.name}.0"])
        options = {"axis": axis, "keepdims": keep}
        s.add(index, x, options=options, results=[f"{s.node.name}.1"])

    return translate


def _where(s: Step) -> None:
    s.add("Where", s.operand("condition"), s.operand("self"), s.operand("other"))


def _gathered(s: Step) -> None:
    s.add("GatherElements", s.operand("self"), s.operand("index"), options={"axis": s.axis()})


STEPS: Mapping[str, Translate] = {
    "_log_softmax": _over("LogSoftmax"),
    "_softmax": _over("Softmax"),
    "_to_copy": _cast,
    "_unsafe_view": _reshaped,
    "abs": _one("Abs"),
    "add": _two("Add"),
    "alias": _one("Identity"),
    "amax": _reduced("ReduceMax"),
    "amin": _reduced("ReduceMin"),
    "argmax": _index_of("ArgMax"),
    "argmin": _index_of("ArgMin"),
    "cat": _joined,
    "ceil": _one("Ceil"),
    "chunk": _parts,
    "clamp": _clamp,
    "clone": _one("Identity"),
    "contiguous": _one("Identity"),
    "cos": _one("Cos"),
    "detach": _one("Identity"),
    "div": _two("Div"),
    "eq": _two("Equal"),
    "exp": _one("Exp"),
    "expand": _expanded,
    "flatten": _reshaped,
    "floor": _one("Floor"),
    "gather": _gathered,
    "ge": _two("GreaterOrEqual"),
    "getitem": _part,
    "gt": _two("Greater"),
    "le": _two("LessOrEqual"),
    "log": _one("Log"),
    "log_softmax": _over("LogSoftmax"),
    "lt": _two("Less"),
    "max": _extreme("ReduceMax", "ArgMax"),
    "maximum": _two("Max"),
    "mean": _reduced("ReduceMean"),
    "min": _extreme("ReduceMin", "ArgMin"),
    "minimum": _two("Min"),
    "mul": _two("Mul"),
    "neg": _one("Neg"),
    "permute": _permuted,
    "pow": _power,
    "reciprocal": _one("Reciprocal"),
    "relu": _one("Relu"),
    "reshape": _reshaped,
    "rsqrt": _root,
    "select": _selected,
    "sigmoid": _one("Sigmoid"),
    "sign": _one("Sign"),
    "silu": _silu,
    "sin": _one("Sin"),
    "slice": _sliced,
    "softmax": _over("Softmax"),
    "split": _parts,
    "split_with_sizes": _parts,
    "sqrt": _one("Sqrt"),
    "squeeze": _reshaped,
    "sub": _two("Sub"),
    "sum": _reduced("ReduceSum"),
    "tanh": _one("Tanh"),
    "topk": _best,
    "transpose": _permuted,
    "unflatten": _reshaped,
    "unsqueeze": _reshaped,
    "view": _reshaped,
    "where": _where,
}
"""Translators by the operation's name."""
