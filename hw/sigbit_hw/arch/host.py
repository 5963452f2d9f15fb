"""The host's part of a network: what remains to be done with the accelerator's outputs.

Steps are operators of ONNX as its operator set 21 has them, a subset whose results are bounded
(:mod:`~sigbit_hw.arch.host_functions`), on real numbers of double precision, integers of 64 bits
and truth values. They see one sample at a time, with a batch of one in front, so that a network
exported for a batch of one runs for any number of samples.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import prod

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.host_call import HostError, Option, Value
from sigbit_hw.arch.host_functions import FUNCTIONS
from sigbit_hw.arch.names import check_name, numbered
from sigbit_tools.shown import shown

STEPS_MAX = 4096
"""Steps at most."""
BUDGET = 1 << 28
"""Elements that the results of all steps have together at most, for one sample."""

Reals = NDArray[np.float64]

__all__ = ["FUNCTIONS", "HostError", "HostInput", "HostPart", "HostStep", "Option", "Value"]


@dataclass(frozen=True)
class HostInput:
    """The accelerator's ``output``, in the network's own axes, as the steps call and see it:
    ``shape`` is that of one sample, with the same elements in the same order."""

    name: str
    output: str
    shape: tuple[int, ...]


@dataclass(frozen=True)
class HostStep:
    """``results = function(*operands, **options)``; an operand "" is left out. ``source`` is where
    the user wrote it."""

    function: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    options: Mapping[str, Option] = field(default_factory=dict)
    source: str = ""


@dataclass(frozen=True, eq=False)
class HostPart:
    """Work of the host after the accelerator; none if there are no ``steps``.

    ``inputs`` are outputs of the accelerator, ``results`` is what the network returns. A name is
    given once: to an input, a constant, or a result of a step.
    """

    inputs: tuple[HostInput, ...] = ()
    steps: tuple[HostStep, ...] = ()
    constants: Mapping[str, NDArray[np.generic]] = field(default_factory=dict)
    results: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.steps)

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, HostPart):
            return NotImplemented
        parts = (self.inputs, self.steps, self.results), (other.inputs, other.steps, other.results)
        return (
            parts[0] == parts[1]
            and self.constants.keys() == other.constants.keys()
            and all(
                a.dtype == other.constants[n].dtype and np.array_equal(a, other.constants[n])
                for n, a in self.constants.items()
            )
        )

    __hash__ = None  # type: ignore[assignment]

    @cached_property
    def ragged(self) -> frozenset[str]:
        """The names of what has another size for every sample: what a choice of boxes leads to."""
        found: set[str] = set()
        for step in self.steps:
            if FUNCTIONS[step.function].ragged or found.intersection(step.operands):
                found.update(step.results)
        return frozenset(found)

    def returning(self, names: Sequence[str]) -> "HostPart":
        """The same steps, with ``names`` for the results; another tensor of such a name gets a
        number behind it."""
        tensors = (
            *(i.name for i in self.inputs),
            *self.constants,
            *(r for s in self.steps for r in s.results if r),
        )
        mine = dict(zip(self.results, names, strict=True))
        taken = {*tensors, *names}
        for tensor in tensors:
            if tensor not in mine and tensor in names:
                mine[tensor] = numbered(tensor, taken)
                taken.add(mine[tensor])

        def renamed(those: Sequence[str]) -> tuple[str, ...]:
            return tuple(mine.get(n, n) for n in those)

        return HostPart(
            tuple(replace(i, name=mine.get(i.name, i.name)) for i in self.inputs),
            tuple(
                replace(s, operands=renamed(s.operands), results=renamed(s.results))
                for s in self.steps
            ),
            {mine.get(n, n): a for n, a in self.constants.items()},
            renamed(self.results),
        )

    def check(self, shapes: Mapping[str, tuple[int, ...]]) -> None:
        """Raise ``ValueError``, in one line for people, unless the steps can be done with outputs
        of these names and shapes, those of one sample; they are done once, with zeros."""
        if not self.steps:
            _need(self == HostPart(), "a host without steps has neither inputs nor results")
            return
        _need(len(self.steps) <= STEPS_MAX, f"{len(self.steps):,} steps, at most {STEPS_MAX:,}")
        for i in self.inputs:
            _need(i.output in shapes, f"there is no output {shown(i.output)}, only {list(shapes)}")
            there, wanted = shapes[i.output], list(i.shape)
            _need(
                1 <= len(wanted) <= 3 and min(wanted) > 0 and prod(wanted) == prod(there),
                f"{shown(i.name)} of shape {shown(wanted)} is no view of {list(there)}",
            )
        known: set[str] = set()

        def define(name: str) -> None:
            check_name(name, "a tensor of the host")
            _need(name not in known, f"{name!r} is defined twice")
            known.add(name)

        for name in (*(i.name for i in self.inputs), *self.constants):
            define(name)
        for name, array in self.constants.items():
            _need(
                array.dtype in (np.float64, np.int64, np.bool_),
                f"the constant {name!r} is of type {array.dtype}, not float64, int64 or bool",
            )
        for step in self.steps:
            _need(step.function in FUNCTIONS, f"no function {shown(step.function)}")
            try:
                FUNCTIONS[step.function].check(step.operands, step.results, step.options)
            except HostError as error:
                raise ValueError(f"{step.function}: {error}") from None
            absent = [o for o in step.operands if o and o not in known]
            _need(not absent, f"{step.function} reads {shown(absent[:1])}, which is not known yet")
            for name in filter(None, step.results):
                define(name)
        _need(bool(self.results), "no results")
        _need(len(set(self.results)) == len(self.results), "a result is given twice")
        absent = [r for r in self.results if r not in known]
        _need(not absent, f"no step has the result {shown(absent[:1])}")
        self.of_one({name: np.zeros(shape) for name, shape in shapes.items()}, trial=True)

    def classes(self, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, int | None]:
        """Number of classes by result, for outputs of these names and shapes; None for results that
        are not one row per sample."""
        rows = self.of_one({n: np.zeros(shape) for n, shape in shapes.items()}, trial=True)
        return {
            name: int(row.shape[1]) if row.ndim == 2 and name not in self.ragged else None
            for name, row in rows.items()
        }

    def of_one(self, outputs: Mapping[str, Reals], *, trial: bool = False) -> dict[str, Value]:
        """The results for one sample, from the accelerator's outputs ``[*shape]``; ``ValueError``
        where a step cannot be done, which is all that a ``trial`` finds out."""
        values: dict[str, Value] = {k: np.asarray(v) for k, v in self.constants.items()}
        for given in self.inputs:
            values[given.name] = outputs[given.output].reshape(1, *given.shape)
        left = BUDGET
        for index, step in enumerate(self.steps):
            operands = [values[o] if o else None for o in step.operands]
            try:
                with np.errstate(all="ignore"):
                    found = FUNCTIONS[step.function](
                        operands, step.options, len(step.results), trial=trial
                    )
            except HostError as error:
                raise ValueError(f"{step.function}: {error}") from None
            left -= sum(v.size for v in found)
            _need(left >= 0, f"more than {BUDGET:,} elements a sample")
            values.update({n: v for n, v in zip(step.results, found, strict=True) if n})
            for name in self._done[index]:
                values.pop(name, None)
        return {name: values[name] for name in self.results}

    @cached_property
    def _done(self) -> list[set[str]]:
        """The names that nothing reads any more, behind each step."""
        last: dict[str, int] = {}
        for index, step in enumerate(self.steps):
            last.update(dict.fromkeys((*step.operands, *step.results), index))
        done: list[set[str]] = [set() for _ in self.steps]
        for name, index in last.items():
            if name not in self.results:
                done[index].add(name)
        return done

    def __call__(self, outputs: Mapping[str, Reals]) -> dict[str, Value]:
        """The results ``[N, ...]`` by name, from the accelerator's outputs ``[N, *shape]``.

        Where every sample has a size of its own, what a sample has less than others is NaN.
        """
        samples = len(next(iter(outputs.values())))
        each = [self.of_one({n: x[i] for n, x in outputs.items()}) for i in range(samples)]
        return {name: self._stacked([e[name] for e in each], name) for name in self.results}

    def _stacked(self, each: list[Value], name: str) -> Value:
        if name not in self.ragged:
            batched = each[0].ndim > 0 and len(each[0]) == 1
            return np.concatenate(each) if batched else np.stack(each)
        most = np.max([a.shape for a in each], axis=0)
        full = np.full((len(each), *most), np.nan)
        for row, array in zip(full, each, strict=True):
            row[tuple(slice(n) for n in array.shape)] = array
        return full


def _need(condition: bool, message: str) -> None:
    if not condition:
        raise ValueError(message)
