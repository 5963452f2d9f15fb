"""First level: the operations that the array executes, on named values.

An operation reads sliding windows of values and writes one value. It is one of: a
multiply-accumulate (``conv``) over any number of operands, a running maximum (``max``), or a
``copy`` of a value into another layout.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from sigbit.compiler.errors import require
from sigbit.ir.integer import Conv, MaxPool, window

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Value:
    """A tensor of stored integers in [low, high]; padding around it holds ``halo`` (None:
    unread)."""

    name: str
    tensor: str
    shape: tuple[int, int, int]
    planes: int
    low: int
    high: int
    halo: int | None = None
    phases: int = 1


@dataclass(frozen=True)
class Operand:
    """Windows of a value, ``padding`` being (top, left, bottom, right) and ``halo`` the stored
    integer it needs there (None: no padding is read). ``weights`` ``[oc, ic / groups, kh, kw]``
    have ``terms`` terms; maxima and copies have none."""

    value: str
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    weights: Ints | None = None
    terms: int = 1
    depthwise: bool = False
    halo: int | None = None

    def reach(self, out: tuple[int, int], size: tuple[int, int]) -> tuple[int, int, int, int]:
        """Lines and columns read outside an image of ``size`` (top, left, bottom, right) to produce
        ``out`` = (height, width)."""
        below, right = (
            max(0, (n - 1) * s + k - p - length)
            for n, s, k, p, length in zip(
                out, self.stride, self.kernel, self.padding[:2], size, strict=True
            )
        )
        return self.padding[0], self.padding[1], below, right

    def phases(self, out_width: int) -> int | None:
        """Column phases its value must be stored in; None if any will do."""
        return self.stride[1] if out_width > 1 else None


@dataclass(frozen=True)
class Op:
    """One operation; ``node`` is the layer it comes from, None for a copy."""

    name: str
    kind: str
    operands: tuple[Operand, ...]
    result: str
    node: Conv | MaxPool | None = None

    @property
    def where(self) -> str:
        """How messages name the operation."""
        location = self.node.location if self.node else ""
        return f"{self.name} ({location})" if location else self.name


@dataclass(frozen=True)
class Network:
    """Operations in order of execution; ``inputs`` and ``outputs`` are names of values."""

    name: str
    values: dict[str, Value]
    ops: tuple[Op, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    @cached_property
    def uses(self) -> dict[str, list[tuple[int, Operand]]]:
        """By value: who reads it, as (index of the operation, operand)."""
        uses: dict[str, list[tuple[int, Operand]]] = {name: [] for name in self.values}
        for index, op in enumerate(self.ops):
            for operand in op.operands:
                uses[operand.value].append((index, operand))
        return uses

    @cached_property
    def defined(self) -> dict[str, int]:
        """By value: index of the operation that writes it, -1 for inputs."""
        return dict.fromkeys(self.inputs, -1) | {op.result: i for i, op in enumerate(self.ops)}

    @cached_property
    def last_use(self) -> dict[str, int]:
        """By value: index of the operation after which its memory may be reused; outputs stay one
        operation longer, while they are stored."""
        last = {
            name: max([self.defined[name], *(i for i, _ in uses)])
            for name, uses in self.uses.items()
        }
        return {n: i + (n in self.outputs) for n, i in last.items()}


def verify_network(network: Network) -> None:
    """Operations are in order, every value is written once, and shapes fit."""
    seen = set(network.inputs)
    for op in network.ops:
        result = network.values[op.result]
        require(op.result not in seen, f"{op.name} writes {op.result} a second time")
        require(bool(op.operands), f"{op.name} reads nothing")
        require(op.kind == "conv" or len(op.operands) == 1, f"{op.name} reads several values")
        for operand in op.operands:
            require(operand.value in seen, f"{op.name} reads {operand.value} before it is written")
            value = network.values[operand.value]
            got = window(value.shape[1:], operand.kernel, operand.stride, operand.padding)
            require(got == result.shape[1:], f"{op.name}: windows of {operand.value} give {got}")
            require((operand.weights is not None) == (op.kind == "conv"), f"{op.name}: weights")
            if operand.weights is not None:
                need = (result.shape[0], 1 if operand.depthwise else value.shape[0])
                require(operand.weights.shape == (*need, *operand.kernel), f"{op.name}: weights")
            elif op.kind == "copy":
                require(value.planes == result.planes, f"{op.name} changes the digits")
        seen.add(op.result)
    for name in network.outputs:
        require(name in seen, f"output {name} is never written")
