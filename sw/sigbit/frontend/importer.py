"""From a graph of ATen operations to the float graph: every node is translated or reported."""

import operator
from collections.abc import Iterator, Mapping
from itertools import islice, product
from math import prod
from types import FunctionType, MappingProxyType
from typing import Any

import torch
from torch import Tensor
from torch.fx import Graph as FxGraph
from torch.fx import Node as FxNode

from sigbit.frontend import movement
from sigbit.frontend.accounting import check_aten
from sigbit.frontend.aten import operators as torch_ops
from sigbit.frontend.builder import Builder
from sigbit.frontend.report import UnsupportedModel, UnsupportedNode
from sigbit.frontend.source import origin
from sigbit.frontend.tail import classified
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import (
    ELEMENTS_MAX,
    Computed,
    HostFunction,
    Mixed,
    OnHost,
    Refusal,
    Steps,
    Unusable,
    Value,
    elements_of,
    is_empty,
)
from sigbit.frontend.views import whole
from sigbit.ir.floating import (
    FloatGraph,
    Node,
    Placeholder,
    QuantAnnotation,
    parameter_names,
)
from sigbit.ir.integer import Axes, GraphError
from sigbit_hw.arch.host import HostPart
from sigbit_hw.arch.names import legal_name


class Importer:
    """Translates the nodes of one graph of ATen operations in order.

    Parameters
    ----------
    graph : torch.fx.Graph
        In functional form; ``meta["val"]`` of every node has its shape and type.
    constants : Mapping
        Name and value of the placeholders that are not network inputs, by their node's name.
    name : str
        The model's name.
    translators : Mapping
        Translators by the operation's name.
    quantizers : Mapping
        The quantizers of constants that are quantized values, by their node's name.
    """

    def __init__(
        self,
        graph: FxGraph,
        constants: Mapping[str, tuple[str, Tensor]],
        name: str,
        translators: Mapping[str, torch_ops.Translator] = torch_ops.TRANSLATORS,
        quantizers: Mapping[str, QuantAnnotation] = MappingProxyType({}),
    ) -> None:
        self._graph, self._constants, self._name = graph, constants, name
        self._translators, self._quantizers = translators, quantizers
        self._axes: Mapping[str, Axes] = {}
        self._reached = 0
        self._build = Builder()
        self._values: dict[FxNode, Value] = {}
        self._names: dict[FxNode, str] = {}
        self._rows: dict[object, UnsupportedNode] = {}
        self._refused: set[str] = set()

    def run(self) -> FloatGraph:
        """Return the graph; raise :class:`UnsupportedModel` if it cannot be built. Inputs of two or
        three axes are images and sequences with channels first or last, whichever the network can
        be computed with; if neither works, the report describes the attempt that got furthest."""
        self._limit()
        self._check_types()
        furthest: tuple[int, UnsupportedModel, dict[object, UnsupportedNode], set[str]] | None = (
            None
        )
        for axes in self._ways():
            self._build, self._axes = Builder(), axes
            self._values, self._names = {}, {}
            self._rows, self._refused, self._reached = {}, set(), 0
            try:
                return self._run()
            except UnsupportedModel as error:
                if furthest is None or self._reached > furthest[0]:
                    furthest = self._reached, error, self._rows, self._refused
        assert furthest is not None
        _, why, self._rows, self._refused = furthest
        raise why

    def _ways(self) -> Iterator[dict[str, Axes]]:
        """Yield the possible axes of the inputs, by their nodes' names, the usual ones first."""
        inputs = {n.name: n.meta["val"] for n in self._inputs()}
        ranks = {k: v.dim() for k, v in inputs.items() if isinstance(v, Tensor)}
        choices = [_AXES.get(rank, (Axes.FEATURES,)) for rank in ranks.values()]
        for each in islice(product(*choices), _WAYS_MAX):
            yield dict(zip(ranks, each, strict=True))

    def _run(self) -> FloatGraph:
        for node in self._graph.nodes:
            if node.op == "placeholder":
                self._placeholder(node)
            elif node.op == "call_function":
                self._call(node)
        outputs, host = self._outputs()
        if self._rows:
            raise UnsupportedModel(self._name, tuple(self._rows.values()))
        nodes = _needed(self._build.nodes, outputs)
        used = {p for n in nodes for p in parameter_names(n)}
        needed = {n.name for n in nodes}
        try:
            return FloatGraph(
                legal_name(self._name),
                nodes,
                {k: v for k, v in self._build.parameters.items() if k in used},
                outputs,
                {k: q for k, q in self._build.quantizers.items() if k in needed},
                host,
                self._of_parameters(used),
            )
        except GraphError as error:
            row = UnsupportedNode(self._name, "graph", "", str(error), "please report this model")
            raise UnsupportedModel(self._name, (row,)) from error

    @property
    def refused(self) -> frozenset[str]:
        """The nodes that :meth:`run` refused; none if it refused anything else."""
        others = any(row.op in ("output", "graph") for row in self._rows.values())
        return frozenset() if others else frozenset(self._refused)

    def _limit(self) -> None:
        """Refuse a tensor that no accelerator could hold, before anything of its size is made."""
        for node in self._graph.nodes:
            elements = elements_of(node.meta.get("val"))
            if elements > ELEMENTS_MAX:
                where = origin(node)
                reason = f"has {elements:,} elements, at most {ELEMENTS_MAX:,} work"
                row = UnsupportedNode(
                    node.name, where.op, where.location, reason, "give smaller inputs"
                )
                raise UnsupportedModel(self._name, (row,))

    def _check_types(self) -> None:
        """Refuse a network in another float type than float32 or float64, once for all nodes."""
        for node in self._inputs():
            value = node.meta["val"]
            if isinstance(value, Tensor) and value.dtype in _NARROW:
                reason = f"an input of type {value.dtype}: networks are read in float32 or float64"
                row = UnsupportedNode(
                    node.name, "placeholder", "", reason, "call model.float(), and give float32"
                )
                raise UnsupportedModel(self._name, (row,))

    def _inputs(self) -> Iterator[FxNode]:
        """Yield the placeholders that are network inputs."""
        for node in self._graph.nodes:
            if node.op == "placeholder" and node.name not in self._constants:
                yield node

    def _of_parameters(self, used: set[str]) -> dict[str, QuantAnnotation]:
        """Return the quantizers of the parameters that are constants of the model itself."""
        given = {id(self._constants[n][1]): q for n, q in self._quantizers.items()}
        values = self._build.parameters
        return {k: given[id(values[k])] for k in used if id(values[k]) in given}

    def _refuse(self, node: FxNode, refusal: Refusal) -> None:
        self._reached = self._reached or len(self._values)
        at = refusal.node or node
        self._refused.add(at.name)
        where = origin(at)
        name = where.name if "origin" in at.meta else at.name
        row = UnsupportedNode(name, where.op, where.location, refusal.reason, refusal.remedy)
        self._rows.setdefault(where if where.location else at, row)
        self._values[node] = self._stand_in(node, node.meta.get("val"))

    def _stand_in(self, node: FxNode, value: Any) -> Value:
        """Return a placeholder for a refused result, so that the nodes that read it are examined as
        well."""
        if isinstance(value, (list, tuple)):
            return tuple(self._stand_in(node, v) for v in value)
        if not isinstance(value, Tensor) or value.dim() < 2 or is_empty(value):
            return Unusable()
        if not all(isinstance(size, int) for size in value.shape):
            return Unusable()
        shape = tuple(int(s) for s in value.shape[1:])
        name = self._build.unique(node.name)
        if len(shape) in (1, 3):
            return Computed(self._build.add(Node(name=name, shape=shape)))
        places = whole((shape[-1], prod(shape[:-1]), 1))
        stand_in = self._build.add(Node(name=name, shape=places.shape))
        return Computed(stand_in, places.reshape(places.shape[0], -1).T.reshape(shape))

    def _placeholder(self, node: FxNode) -> None:
        if (constant := self._constants.get(node.name)) is not None:
            self._names[node], self._values[node] = constant
            return
        value = node.meta["val"]
        if (
            not isinstance(value, Tensor)
            or value.dim() not in (2, 3, 4)
            or not value.is_floating_point()
        ):
            reason = "an input must be a float tensor [batch, C, H, W], [batch, features] or "
            self._refuse(
                node,
                Refusal(reason + "[batch, steps, features]", "give images, vectors or sequences"),
            )
            return
        shape = tuple(int(s) for s in value.shape[1:])
        if is_empty(value):
            reason = f"an input without elements: {list(value.shape)}"
            self._refuse(node, Refusal(reason, "give at least one sample of at least one element"))
            return
        name = self._build.unique(origin(node).name or node.name)
        given = self._build.add(Placeholder(name=name, shape=shape))
        self._values[node] = self._build.image_of(given, self._axes[node.name])

    def _call(self, node: FxNode) -> None:
        try:
            self._values[node] = self._translate(node)
        except Refusal as refusal:
            self._refuse(node, refusal)

    def _translate(self, node: FxNode) -> Value:
        operands = [self._values[a] for a in node.all_input_nodes]
        if any(isinstance(o, Unusable) for o in operands):
            return self._stand_in(node, node.meta.get("val"))
        if node.target is operator.getitem:
            source, index = node.args
            assert isinstance(source, FxNode)
            assert isinstance(index, int)
            several = self._values[source]
            assert isinstance(several, tuple)
            if index >= len(several):
                raise Refusal("a second result of an operation", "use the first result only")
            return several[index]
        own = isinstance(node.target, FunctionType)
        if all(isinstance(o, Tensor) for o in operands) and not own:
            return self._constant(node)
        name, where = torch_ops.op_name(node.target), origin(node)
        if name in torch_ops.SAID:
            return ()
        if name in torch_ops.FILLED:
            return self._filled(node)
        if name in torch_ops.MOVES:
            return movement.moved(node, self._values, self._build)
        translator = self._translators.get(name)
        if translator is None:
            raise Refusal(*torch_ops.unknown(str(node.target)))
        _check_result(node)
        call = Translation(
            node,
            self._build.unique(where.name),
            where.location,
            self._values,
            self._names,
            self._build,
        )
        result = translator(call)
        check_aten(node, call.read)
        return result

    def _constant(self, node: FxNode) -> Value:
        """Return the result of an operation on parameters alone."""
        args, kwargs = movement.replaced(node, lambda n: self._values[n])
        assert callable(node.target)
        with torch.no_grad():
            result = node.target(*args, **kwargs)
        return tuple(result) if isinstance(result, (list, tuple)) else result

    def _filled(self, node: FxNode) -> Value:
        """Return the result of an operation on shapes alone, with tensors of zeros as operands."""
        args, kwargs = movement.replaced(node, lambda n: torch.zeros(n.meta["val"].shape))
        assert callable(node.target)
        kwargs = {k: v for k, v in kwargs.items() if k not in movement.STORAGE}
        result = node.target(*args, **kwargs)
        assert isinstance(result, Tensor)
        return result.to(node.meta["val"].dtype)

    def _outputs(self) -> tuple[tuple[str, ...], HostPart]:
        names: list[str] = []
        functions: list[tuple[tuple[HostFunction, str], ...]] = []
        for position, result in enumerate(_results(self._graph)):
            value = self._values.get(result) if isinstance(result, FxNode) else None
            if isinstance(value, Unusable):
                continue  # behind a node that was refused
            on_host: tuple[tuple[HostFunction, str], ...] = ()
            if isinstance(value, OnHost):
                on_host, value = value.functions, value.value
            if isinstance(value, Mixed) and isinstance(result, FxNode):
                self._refuse(result, value.refusal())
                continue
            if not isinstance(value, Computed):
                reason = (
                    "the states of all steps are no output"
                    if isinstance(value, Steps)
                    else f"{result} is not a computed tensor"
                )
                remedy = "return tensors that the network computes"
                self._rows[f"output {position}"] = UnsupportedNode(
                    "output", "output", "", reason, remedy
                )
                continue
            try:
                names.append(self._build.output(value, origin(result).location))
                functions.append(on_host)
            except Refusal as refusal:
                self._refuse(result, refusal)
        host = classified(names, functions, {n: self._build.nodes[n].shape for n in names})
        return tuple(dict.fromkeys(names)) if host else tuple(names), host


_NARROW = (torch.float16, torch.bfloat16)
_AXES: Mapping[int, tuple[Axes, ...]] = {
    3: (Axes.SEQUENCE, Axes.SIGNAL),
    4: (Axes.IMAGE, Axes.LINES),
}
"""Possible axes of an input, by the number of axes."""
_WAYS_MAX = 8
"""Maximum number of combinations of input axes to try."""


def _check_result(node: FxNode) -> None:
    """Raise :class:`Refusal` for a result without elements, or of another float type than the
    operands."""
    results = node.meta["val"]
    result = results if isinstance(results, Tensor) else results[0]
    if is_empty(result):
        raise Refusal(f"a result without elements: {list(result.shape)}", "mend the sizes")
    if not result.is_floating_point():
        return
    for operand in node.all_input_nodes:
        value = operand.meta.get("val")
        if not isinstance(value, Tensor) or not value.dim() or not value.is_floating_point():
            continue
        if value.dtype != result.dtype:
            raise Refusal(
                f"a result of type {result.dtype} of an operand of type {value.dtype}",
                "compute in one float type",
            )


def _results(graph: FxGraph) -> tuple[Any, ...]:
    """Return the results of a graph."""
    results: Any = graph.output_node().args[0]
    return tuple(results)


def _needed(nodes: dict[str, Node], outputs: tuple[str, ...]) -> tuple[Node, ...]:
    """Return the nodes that outputs depend on, and all inputs."""
    needed = set(outputs)
    for node in reversed(nodes.values()):
        if node.name in needed:
            needed.update(node.inputs)
    return tuple(n for n in nodes.values() if n.name in needed or isinstance(n, Placeholder))
