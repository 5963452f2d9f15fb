"""ATen operations behind a cut, as steps of the host.

An exported program computes with the batch of its example in front; the host sees one sample at a
time, so that every tensor behind a cut must keep the batch in front.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Graph as FxGraph
from torch.fx import Node as FxNode

from sigbit.frontend.accounting import NEUTRAL_ATEN, given
from sigbit.frontend.aten.operators import op_name
from sigbit.frontend.cut import Operation
from sigbit.frontend.cutting import Front
from sigbit.frontend.importer import Importer
from sigbit.frontend.movement import replaced
from sigbit.frontend.source import Origin, origin
from sigbit.frontend.tail import Tail, unknown
from sigbit.frontend.values import Refusal
from sigbit_hw.arch.host import Option

Constants = Mapping[str, tuple[str, Tensor]]


class AtenTail:
    """A graph of ATen operations as a graph to cut, and its nodes as steps; see
    :class:`~sigbit.frontend.cutting.Cuttable`."""

    def __init__(self, graph: FxGraph, constants: Constants, name: str) -> None:
        self._graph, self._constants, self._name = graph, constants, name
        self._static: dict[FxNode, Tensor] = {}
        self.nodes: list[FxNode] = []
        self.inputs: list[str] = []
        for node in graph.nodes:
            if node.op == "placeholder" and node.name in constants:
                self._static[node] = constants[node.name][1]
            elif node.op == "placeholder":
                self.inputs.append(node.name)
            elif node.op == "call_function" and not self._fold(node):
                self.nodes.append(node)
        results: Any = graph.output_node().args[0]
        self.outputs = [str(r) for r in results]
        self.operations = [
            Operation(tuple(a.name for a in n.all_input_nodes if a not in self._static), (n.name,))
            for n in self.nodes
        ]

    def _fold(self, node: FxNode) -> bool:
        """Whether an operation depends on parameters alone, and its result is now known."""
        if not node.all_input_nodes or any(a not in self._static for a in node.all_input_nodes):
            return False
        args, kwargs = replaced(node, self._static.__getitem__)
        assert callable(node.target)
        with torch.no_grad():
            result = node.target(*args, **kwargs)
        if isinstance(result, Tensor):
            self._static[node] = result
        return isinstance(result, Tensor)

    @property
    def sides(self) -> Mapping[str, tuple[int, ...]]:
        """Shapes of the computed tensors without the batch."""
        values = {n.name: n.meta.get("val") for n in self.nodes}
        return {n: tuple(v.shape[1:]) for n, v in values.items() if isinstance(v, Tensor)}

    def steps(self, behind: Sequence[int]) -> tuple[Tail, dict[int, Refusal]]:
        """The operations ``behind`` as steps; why those of them are none that are not."""
        tail, refused = Tail(), {}
        for index in behind:
            node = self.nodes[index]
            try:
                translate = _STEPS.get(_name(node))
                if translate is None:
                    raise Refusal(*unknown())
                step = _Step(node, tail, self._static, self._batch)
                step.need_batch()
                translate(step)
                step.account()
            except Refusal as refusal:
                refused[index] = refusal
        return tail, refused

    @property
    def _batch(self) -> int:
        inputs = (n for n in self._graph.nodes if n.op == "placeholder" and n.name in self.inputs)
        return int(next(inputs).meta["val"].shape[0])

    def where(self, index: int) -> Origin:
        """Where a node is written, with the node's name."""
        return replace(origin(self.nodes[index]), name=self.nodes[index].name)

    def front(self, boundary: tuple[str, ...]) -> Front:
        """The import of the part that computes ``boundary``."""
        copy = FxGraph()
        known: dict[FxNode, FxNode] = {}
        for node in self._graph.nodes:
            if node.op != "output":
                known[node] = copy.node_copy(node, known.__getitem__)
                known[node].name = node.name
        by_name = {n.name: known[n] for n in known}
        copy.output(tuple(by_name[b] for b in boundary))
        copy.eliminate_dead_code()
        return Importer(copy, self._constants, self._name)


def _name(node: FxNode) -> str:
    return "getitem" if node.target is operator.getitem else op_name(node.target)


@dataclass
class _Step:
    """One operation: its arguments, and the steps to add to."""

    node: FxNode
    tail: Tail
    static: Mapping[FxNode, Tensor]
    batch: int

    def __post_init__(self) -> None:
        self.read: set[str] = set()

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the result with a batch of 1."""
        return (1, *(int(n) for n in self.node.meta["val"].shape[1:]))

    def need_batch(self) -> None:
        """Refuse what does not keep the batch in front."""
        for node in (self.node, *self.node.all_input_nodes):
            value = node.meta.get("val")
            several = value if isinstance(value, (tuple, list)) else [value]
            for each in several:
                if node in self.static or not isinstance(each, Tensor):
                    continue
                if not each.dim() or int(each.shape[0]) != self.batch:
                    raise Refusal(
                        "is behind the cut and does not keep the batch in front",
                        "write it with the batch as the first dimension",
                    )

    def get(self, name: str, default: Any = None) -> Any:
        """An argument by its name in the operation's schema."""
        self.read.add(name)
        values = {a.name: v for a, v in given(self.node)}
        schema: Any = self.node.target
        defaults = {a.name: a.default_value for a in schema._schema.arguments}
        found = values.get(name, defaults.get(name))
        return default if found is None else found

    def account(self) -> None:
        """Refuse arguments that were not read and are not at their defaults."""
        if not hasattr(self.node.target, "_schema"):
            return
        for argument, value in given(self.node):
            if argument.name in self.read or argument.name in NEUTRAL_ATEN:
                continue
            if argument.has_default_value() and value == argument.default_value:
                continue
            raise Refusal(
                f"argument {argument.name!r} is {value}, behind the cut", f"leave {argument.name}"
            )

    def operand(self, name: str) -> str:
        """A tensor or number that is an argument, by its name in the steps."""
        value = self.get(name)
        if isinstance(value, FxNode):
            if value in self.static:
                array = self.static[value].detach().numpy()
                return self.tail.constant(value.name, array)
            return value.name
        if isinstance(value, (bool, int, float)):
            return self.number(name, float(value) if isinstance(value, float) else value)
        raise Refusal(f"argument {name!r} is {value}, behind the cut", "use tensors and numbers")

    def number(self, name: str, value: Any) -> str:
        """A constant of this operation."""
        return self.tail.constant(f"{self.node.name}.{name}", np.asarray(value))

    def axis(self, name: str = "dim", rank: int | None = None) -> int:
        """A dimension other than the batch."""
        source = self.node.all_input_nodes[0].meta["val"]
        first = source[0] if isinstance(source, (tuple, list)) else source
        rank = first.dim() if rank is None else rank
        axis = self.get(name)
        if not isinstance(axis, int) or not -rank <= axis < rank or axis % rank == 0:
            raise Refusal(f"{name}={axis}, behind the cut", "use a dimension behind the batch")
        return axis % rank

    def axes(self, name: str = "dim") -> tuple[int, ...]:
        """Dimensions other than the batch."""
        rank = self.node.all_input_nodes[0].meta["val"].dim()
        given = self.get(name)
        found = [given] if isinstance(given, int) else list(given or range(rank))
        if any(a % rank == 0 for a in found):
            raise Refusal(f"{name}={given}, behind the cut", "leave the batch as it is")
        return tuple(a % rank for a in found)

    def add(
        self,
        function: str,
        *operands: str,
        options: Mapping[str, Option] | None = None,
        part: str = "",
        results: Sequence[str] = (),
    ) -> str:
        """Append a step; the name of its result: the operation's, or that of an inner ``part``."""
        result = f"{self.node.name}.{part}" if part else self.node.name
        self.tail.add(function, operands, results or (result,), options, origin(self.node).location)
        return result


_Translate = Callable[[_Step], object]


def _one(function: str, operand: str = "self") -> _Translate:
    return lambda s: s.add(function, s.operand(operand))


def _two(function: str) -> _Translate:
    def translate(s: _Step) -> None:
        if s.get("alpha", 1) != 1:
            raise Refusal(f"alpha={s.get('alpha')}, behind the cut", "multiply first")
        if s.get("rounding_mode") is not None:
            raise Refusal(f"rounding_mode={s.get('rounding_mode')}, behind the cut", "leave it out")
        s.add(function, s.operand("self"), s.operand("other"))

    return translate


def _power(s: _Step) -> None:
    s.add("Pow", s.operand("self"), s.operand("exponent"))


def _root(s: _Step) -> None:
    s.add("Reciprocal", s.add("Sqrt", s.operand("self"), part="root"))


def _silu(s: _Step) -> None:
    x = s.operand("self")
    s.add("Mul", x, s.add("Sigmoid", x, part="gate"))


def _clamp(s: _Step) -> None:
    limits = [s.get(n) for n in ("min", "max")]
    if any(isinstance(v, FxNode) for v in limits):
        raise Refusal("limits that are tensors, behind the cut", "use numbers")
    names = ["" if v is None else s.number(n, float(v))
             for n, v in zip(("min", "max"), limits, strict=True)]  # fmt: skip
    s.add("Clip", *[s.operand("self"), *names][: 3 if names[1] else 2])


def _cast(s: _Step) -> None:
    kinds = {"f": 11, "i": 7, "u": 7, "b": 9}
    s.read.update(("dtype", "other"))
    kind = torch.empty((), dtype=s.node.meta["val"].dtype).numpy().dtype.kind
    s.add("Cast", s.operand("self"), options={"to": kinds[kind]})


def _reshaped(s: _Step) -> None:
    s.read.update(("size", "shape", "dim", "start_dim", "end_dim", "sizes", "implicit"))
    shape = s.number("shape", np.array(s.shape, np.int64))
    s.add("Reshape", s.operand("self"), shape)


def _expanded(s: _Step) -> None:
    s.read.update(("size", "implicit"))
    s.add("Expand", s.operand("self"), s.number("shape", np.array(s.shape, np.int64)))


def _permuted(s: _Step) -> None:
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


def _joined(s: _Step) -> None:
    axis = s.axis()
    names = []
    for tensor in s.get("tensors"):
        if tensor in s.static:
            array = s.static[tensor].detach().numpy()
            names.append(s.tail.constant(tensor.name, array))
        else:
            names.append(tensor.name)
    s.add("Concat", *names, options={"axis": axis})


def _sliced(s: _Step) -> None:
    numbers = {"start": s.get("start", 0), "end": s.get("end", 1 << 62), "step": s.get("step", 1)}
    names = {k: s.number(k, np.array([v], np.int64)) for k, v in numbers.items()}
    dim = s.number("dim", np.array([s.axis()], np.int64))
    s.add("Slice", s.operand("self"), names["start"], names["end"], dim, names["step"])


def _selected(s: _Step) -> None:
    index = s.number("index", np.array(s.get("index"), np.int64))
    s.add("Gather", s.operand("self"), index, options={"axis": s.axis()})


def _parts(s: _Step) -> None:
    axis, several = s.axis(), s.node.meta["val"]
    s.read.update(("split_size", "split_sizes", "chunks"))
    sizes = s.number("sizes", np.array([int(v.shape[axis]) for v in several], np.int64))
    names = [f"{s.node.name}.{i}" for i in range(len(several))]
    s.add("Split", s.operand("self"), sizes, options={"axis": axis}, results=names)


def _part(s: _Step) -> None:
    source, index = s.node.args
    assert isinstance(source, FxNode)
    s.add("Identity", f"{source.name}.{index}")


def _over(function: str) -> _Translate:
    def translate(s: _Step) -> None:
        if s.get("half_to_float", False):
            raise Refusal("half_to_float=True", "compute in float32")
        s.read.add("dtype")
        s.add(function, s.operand("self"), options={"axis": s.axis()})

    return translate


def _index_of(function: str) -> _Translate:
    def translate(s: _Step) -> None:
        options = {"axis": s.axis(), "keepdims": int(s.get("keepdim", False))}
        s.add(function, s.operand("self"), options=options)

    return translate


def _reduced(function: str) -> _Translate:
    def translate(s: _Step) -> None:
        axes = s.number("axes", np.array(s.axes(), np.int64))
        options = {"keepdims": int(s.get("keepdim", False))}
        s.read.add("dtype")
        s.add(function, s.operand("self"), axes, options=options)

    return translate


def _best(s: _Step) -> None:
    options = {"axis": s.axis(), "largest": int(s.get("largest", True))}
    s.get("sorted")  # sorted always
    k = s.number("k", np.array([s.get("k")], np.int64))
    names = [f"{s.node.name}.0", f"{s.node.name}.1"]
    s.add("TopK", s.operand("self"), k, options=options, results=names)


def _extreme(function: str, index: str) -> _Translate:
    """max.dim and min.dim: values and indices."""

    def translate(s: _Step) -> None:
        axis, keep = s.axis(), int(s.get("keepdim", False))
        x, axes = s.operand("self"), s.number("axes", np.array([axis], np.int64))
        s.add(function, x, axes, options={"keepdims": keep}, results=[f"{s.node.name}.0"])
        options = {"axis": axis, "keepdims": keep}
        s.add(index, x, options=options, results=[f"{s.node.name}.1"])

    return translate


def _where(s: _Step) -> None:
    s.add("Where", s.operand("condition"), s.operand("self"), s.operand("other"))


def _gathered(s: _Step) -> None:
    s.add("GatherElements", s.operand("self"), s.operand("index"), options={"axis": s.axis()})


_STEPS: Mapping[str, _Translate] = {
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
"""By the operation's name."""
