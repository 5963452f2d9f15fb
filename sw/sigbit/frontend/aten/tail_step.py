"""One ATen operation behind a cut: its arguments and the resulting host steps."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.accounting import NEUTRAL_ATEN, given
from sigbit.frontend.source import origin
from sigbit.frontend.tail import Tail
from sigbit.frontend.values import Refusal
from sigbit_hw.arch.host import Option


@dataclass
class Step:
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
        """Refuse an operation that does not keep the batch as first axis."""
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
        """Return an argument by its name in the operation's schema."""
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
        """Return a tensor or number that is an argument, by its name in the steps."""
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
        """Add a constant of this operation; return its name."""
        return self.tail.constant(f"{self.node.name}.{name}", np.asarray(value))

    def axis(self, name: str = "dim", rank: int | None = None) -> int:
        """Return a dimension other than the batch."""
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
        """Append a step; return the name of its result: the operation's, or that of an inner
        ``part``."""
        result = f"{self.node.name}.{part}" if part else self.node.name
        self.tail.add(function, operands, results or (result,), options, origin(self.node).location)
        return result
