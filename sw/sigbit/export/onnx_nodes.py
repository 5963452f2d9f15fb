"""Nodes and constants of an ONNX graph under construction, each with a unique name."""

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from sigbit_hw.arch.names import numbered

Array = NDArray[Any]


class Nodes:
    """Nodes in order and constants by name; names in ``used`` are taken."""

    def __init__(self, used: Iterable[str]) -> None:
        self.nodes: list[NodeProto] = []
        self.constants: dict[str, TensorProto] = {}
        self._used = set(used)

    def unique(self, name: str) -> str:
        """Return ``name``, with a number appended if it is taken, and mark it as taken."""
        unique = numbered(name, self._used)
        self._used.add(unique)
        return unique

    def add(self, op: str, *operands: str, result: str = "", **attributes: Any) -> str:
        """Append a node; return the name of its result."""
        result = result or self.unique(f"{operands[0]}.{op.lower()}")
        self.nodes.append(helper.make_node(op, operands, [result], result, **attributes))
        return result

    def constant(self, name: str, value: Array) -> str:
        """Add a constant; return its name."""
        name = self.unique(name)
        self.constants[name] = numpy_helper.from_array(np.ascontiguousarray(value), name)
        return name

    def ints(self, *values: int) -> str:
        """Return a vector of int64; equal vectors are stored once."""
        name = "ints." + "_".join(map(str, values))
        if name not in self.constants:
            self._used.add(name)
            self.constants[name] = numpy_helper.from_array(np.array(values, np.int64), name)
        return name
