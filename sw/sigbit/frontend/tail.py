"""The host's part of a float graph: the steps that importers put behind the accelerator's
outputs."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from math import prod

import numpy as np
from numpy.typing import NDArray

from sigbit.frontend.values import HostFunction, Refusal
from sigbit.ir.arrays import distinct
from sigbit.ir.floating import FloatGraph
from sigbit_hw.arch.host import FUNCTIONS, HostError, HostInput, HostPart, HostStep, Option
from sigbit_hw.arch.names import legal_name, numbered

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
        """Return the legal name of the model's tensor ``name``; "" stays ""."""
        if name and name not in self._given:
            self._given[name] = self.new(name)
        return self._given.get(name, "")

    def new(self, name: str) -> str:
        """Return an unused legal name like ``name``."""
        unique = numbered(legal_name(name), self._used)
        self._used.add(unique)
        return unique


def classified(
    outputs: Sequence[str],
    functions: Sequence[Sequence[tuple[HostFunction, str]]],
    shapes: Mapping[str, tuple[int, ...]],
) -> HostPart:
    """Return the host's part that computes each of ``outputs``, tensors of these ``shapes`` that
    may occur several times, with ``functions`` applied over the channels; None without
    functions."""
    if not any(functions):
        return HostPart()
    names, steps, results = Names(), [], []
    inputs = {output: HostInput(names[output], output, shapes[output]) for output in outputs}
    for output, each in zip(outputs, functions, strict=True):
        name = names[output]
        for function, location in each:
            below, name = name, names.new(f"{output}.{function.lower()}")
            options = _OPTIONS[function]
            steps.append(HostStep(function, (below,), (name,), options, location))
        results.append(name)
    returned = _once(results, names, steps)
    return HostPart(tuple(inputs.values()), tuple(steps), {}, returned)


def _once(results: Iterable[str], names: Names, steps: list[HostStep]) -> tuple[str, ...]:
    """Return ``results``, with copies made by ``steps`` for tensors that are returned several
    times."""
    once: list[str] = []
    for result in results:
        unique = result
        if result in once:
            unique = names.new(result)
            steps.append(HostStep("Identity", (result,), (unique,)))
        once.append(unique)
    return tuple(once)


@dataclass
class Tail:
    """Steps behind a cut under construction, in the model's own names."""

    steps: list[HostStep] = field(default_factory=list)
    constants: dict[str, NDArray[np.generic]] = field(default_factory=dict)

    def constant(self, name: str, array: NDArray[np.generic]) -> str:
        """Add a constant with this name, or a similar one; return its name."""
        kinds = {"f": np.float64, "i": np.int64, "u": np.int64, "b": np.bool_}
        kind = kinds.get(array.dtype.kind)
        if kind is None:
            raise Refusal(f"a constant of type {array.dtype}", "use numbers")
        value: NDArray[np.generic] = np.asarray(array, kind)
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
        """Append a step; raise :class:`Refusal` for a function that the host does not support."""
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
    """Return reason and remedy for an operation that the host does not support."""
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
    """Return ``graph``, whose results are the model's tensors ``boundary``, with ``tail`` behind
    them.

    ``shapes`` are the shapes of the model's tensors, without the batch; ``results`` are the tensors
    that the model returns. Raises :class:`Refusal` if the steps cannot be executed.
    """
    if not tail.steps:
        return graph
    names = Names()
    inputs, before, given = [], graph.host, {}
    steps: list[HostStep] = []
    if before:
        inputs = [replace(i, name=names[f"before.{i.name}"]) for i in before.inputs]
        steps += [_renamed(s, lambda n: names[f"before.{n}"]) for s in before.steps]
        given = dict(zip(boundary, (names[f"before.{r}"] for r in before.results), strict=True))
    else:
        for tensor, called, output in zip(boundary, graph.output_names, graph.outputs, strict=True):
            own = graph[output].shape
            shape = shapes.get(tensor, own)
            fits = 1 <= len(shape) <= 3 and prod(shape) == prod(own)
            inputs.append(HostInput(names[tensor], called, shape if fits else own))
    used = {o for s in tail.steps for o in s.operands}

    def name(tensor: str) -> str:
        return given.get(tensor) or names[tensor]

    steps += [_renamed(s, name) for s in tail.steps]
    constants = {name(n): a for n, a in tail.constants.items() if n in used}
    returned = _once((name(r) for r in results), names, steps)
    part = HostPart(tuple(inputs), tuple(steps), constants, returned)
    try:
        outputs = zip(graph.output_names, graph.outputs, strict=True)
        part.check({n: graph[tensor].shape for n, tensor in outputs})
    except ValueError as error:
        raise Refusal(f"behind the cut: {error}", "cut elsewhere") from None
    return replace(graph, host=part)


def named_results(graph: FloatGraph, names: Sequence[str]) -> FloatGraph:
    """Return ``graph`` with the model's own ``names`` for its outputs, or for the host's results if
    the host has steps. An empty name keeps the existing one."""
    known = graph.host.results if graph.host else graph.output_names
    if len(names) != len(known):
        return graph
    found = distinct(legal_name(n) if n else k for n, k in zip(names, known, strict=True))
    if graph.host:
        return replace(graph, host=graph.host.returning(found))
    return replace(graph, output_names=found)


def _renamed(step: HostStep, name: Callable[[str], str]) -> HostStep:
    operands, results = (tuple(map(name, n)) for n in (step.operands, step.results))
    return replace(step, operands=operands, results=results)
