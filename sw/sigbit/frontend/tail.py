"""The host's part of a float graph: what importers put behind the accelerator's outputs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from sigbit.frontend.values import HostFunction, Refusal
from sigbit.ir.floating import FloatGraph
from sigbit_hw.arch.host import FUNCTIONS, HostError, HostInput, HostPart, HostStep, Option
from sigbit_hw.arch.names import legal_name

_OPTIONS: Mapping[HostFunction, Mapping[str, Option]] = {
    "ArgMax": {"axis": 1, "keepdims": 0},
    "LogSoftmax": {"axis": 1},
    "Softmax": {"axis": 1},
}


class Names:
    """Legal names, each given once."""

    def __init__(self) -> None:
        self._given: dict[str, str] = {}
        self._used: set[str] = set()

    def __getitem__(self, name: str) -> str:
        """The legal name of what the model calls ``name``; "" stays."""
        if name and name not in self._given:
            self._given[name] = self.new(name)
        return self._given.get(name, "")

    def new(self, name: str) -> str:
        """A legal name like ``name`` that nothing has."""
        legal = unique = legal_name(name)
        count = 1
        while unique in self._used:
            count += 1
            unique = f"{legal}_{count}"
        self._used.add(unique)
        return unique


def classified(
    outputs: Sequence[tuple[str, tuple[int, ...]]],
    functions: Sequence[Sequence[tuple[HostFunction, str]]],
) -> HostPart:
    """The host's part that applies ``functions`` over the channels of ``outputs``, which are given
    with their shapes."""
    if not any(functions):
        return HostPart()
    names, inputs, steps, results = Names(), [], [], []
    for (output, shape), each in zip(outputs, functions, strict=True):
        name = names.new(output)
        inputs.append(HostInput(name, output, shape))
        for function, location in each:
            below, name = name, names.new(f"{output}.{function.lower()}")
            options = _OPTIONS[function]
            steps.append(HostStep(function, (below,), (name,), options, location))
        results.append(name)
    return HostPart(tuple(inputs), tuple(steps), {}, tuple(results))


@dataclass
class Tail:
    """Steps behind a cut under construction, in the model's own names."""

    steps: list[HostStep] = field(default_factory=list)
    constants: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        """A constant called so, or like it; its name."""
        kinds = {"f": np.float64, "i": np.int64, "u": np.int64, "b": np.bool_}
        kind = kinds.get(array.dtype.kind)
        if kind is None:
            raise Refusal(f"a constant of type {array.dtype}", "use numbers")
        value = np.asarray(array, kind)
        unique, count = name, 1
        while (known := self.constants.get(unique)) is not None and not (
            known.dtype == value.dtype and np.array_equal(known, value)
        ):
            count += 1
            unique = f"{name}#{count}"
        self.constants[unique] = value
        return unique

    def add(
        self,
        function: str,
        operands: Iterable[str],
        results: Iterable[str],
        options: Mapping[str, Option] | None = None,
        source: str = "",
    ) -> None:
        """Append a step; :class:`Refusal` for a function that the host has not."""
        step = HostStep(function, tuple(operands), tuple(results), dict(options or {}), source)
        if function not in FUNCTIONS:
            raise Refusal(*unknown())
        try:
            FUNCTIONS[function].check(step.operands, step.results, step.options)
        except HostError as error:
            raise Refusal(f"is behind the cut, where the host {error}", _LATER) from None
        self.steps.append(step)


_LATER = "cut behind it"


def unknown() -> tuple[str, str]:
    """Reason and remedy of an operation that the host has not."""
    return (
        "is behind the cut, and the host has no such function",
        f"cut behind it; the host has {', '.join(sorted(FUNCTIONS))}",
    )


def with_tail(
    graph: FloatGraph,
    boundary: Sequence[str],
    shapes: Mapping[str, tuple[int, ...]],
    tail: Tail,
    results: Sequence[str],
) -> FloatGraph:
    """``graph``, whose results are the model's tensors ``boundary``, with ``tail`` behind them.

    ``shapes`` are those of the tensors as the model has them, without the batch; ``results`` is
    what the model returns. :class:`Refusal` where the steps cannot be done.
    """
    if not tail.steps:
        return graph
    names = Names()
    inputs, before, given = [], graph.host, {}
    if before:
        inputs = [replace(i, name=names[f"before.{i.name}"]) for i in before.inputs]
        steps = [_renamed(s, lambda n: names[f"before.{n}"]) for s in before.steps]
        given = dict(zip(boundary, (names[f"before.{r}"] for r in before.results), strict=True))
    else:
        steps = []
        for tensor, output in zip(boundary, graph.outputs, strict=True):
            own = graph[output].shape
            shape = shapes.get(tensor, own)
            fits = 1 <= len(shape) <= 3 and prod(shape) == prod(own)
            inputs.append(HostInput(names[tensor], output, shape if fits else own))
    used = {o for s in tail.steps for o in s.operands}

    def name(tensor: str) -> str:
        return given.get(tensor) or names[tensor]

    part = HostPart(
        tuple(inputs),
        (*steps, *(_renamed(s, name) for s in tail.steps)),
        {name(n): a for n, a in tail.constants.items() if n in used},
        tuple(name(r) for r in results),
    )
    try:
        part.check({n: graph[n].shape for n in graph.outputs})
    except ValueError as error:
        raise Refusal(f"behind the cut: {error}", "cut elsewhere") from None
    return replace(graph, host=part)


def _renamed(step: HostStep, name: Callable[[str], str]) -> HostStep:
    operands, results = (tuple(map(name, n)) for n in (step.operands, step.results))
    return replace(step, operands=operands, results=results)
