"""Context for a translator of an ATen operation: its arguments, and the graph being built."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Node as FxNode

from sigbit.frontend import views
from sigbit.frontend.builder import Builder
from sigbit.frontend.moves import Index
from sigbit.frontend.values import Computed, Masked, Mixed, Refusal, Value
from sigbit.ir import floating
from sigbit.ir.floating import Node


def one_sample(constant: Tensor, rank: int) -> Tensor:
    """Return a constant that is the same for all samples, without the batch: of at most ``rank``
    axes."""
    if constant.dim() > rank:
        if not bool((constant == constant[:1]).all()):
            raise Refusal("a constant that differs from sample to sample", "use one for all")
        constant = constant[0]
    return constant


@dataclass(frozen=True)
class Translation:
    """One operation: its node, the name for its result, its source location, the known values of
    its operands, the names of parameters. ``read`` holds the names of the arguments that were read;
    see :mod:`sigbit.frontend.accounting`."""

    node: FxNode
    name: str
    location: str
    values: Mapping[FxNode, Value]
    names: Mapping[FxNode, str]
    build: Builder
    read: set[str] = field(default_factory=set)

    def argument(self, name: str, absent: Any = None) -> Any:
        """Return an argument by its name in the operation's schema, or its default; ``absent`` if
        the schema has no such name."""
        assert isinstance(self.node.target, OpOverload)
        self.read.add(name)
        for i, argument in enumerate(self.node.target._schema.arguments):
            if argument.name == name:
                if i < len(self.node.args):
                    return self.node.args[i]
                return self.node.kwargs.get(name, argument.default_value)
        return absent

    def in_shape(self, *names: str) -> None:
        """Mark arguments as read that only affect the shape of the result."""
        self.read.update(names)

    def number(self, name: str, absent: float = 0.0) -> float:
        """Return an argument that is one number, given directly or as a constant tensor; ``absent``
        if it is left out."""
        given = self.argument(name)
        if given is None:
            return absent
        if isinstance(given, (int, float)):
            return float(given)
        value = self.constant(name)
        if value is None or value.numel() != 1:
            what = "computed" if value is None else f"{value.numel()} numbers"
            raise Refusal(f"argument {name!r} is {what}, not one number", "use one constant number")
        return float(value)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the (first) result, without the batch."""
        value = self.node.meta["val"]
        first = value if isinstance(value, Tensor) else value[0]
        return tuple(int(s) for s in first.shape[1:])

    @property
    def dtype(self) -> torch.dtype:
        """Type of the (first) result."""
        value = self.node.meta["val"]
        return (value if isinstance(value, Tensor) else value[0]).dtype

    def shape_of(self, tensor: str) -> tuple[int, ...]:
        """Shape of a tensor of the graph."""
        return self.build.nodes[tensor].shape

    def constant(self, name: str) -> Tensor | None:
        """Return the constant or number that is argument ``name``; None if the network computes
        it."""
        value = self.argument(name)
        if isinstance(value, FxNode):
            found = self.values.get(value)
            return found if isinstance(found, Tensor) else None
        return None if value is None else torch.tensor(value, dtype=self.dtype)

    def computed(self, name: str, *, masked: bool = False) -> Computed:
        """Return the known value of the computed tensor that is argument ``name``; with ``masked``,
        also that of scores before their mask."""
        given = self.argument(name)
        found = self.values.get(given) if isinstance(given, FxNode) else None
        return found.value if masked and isinstance(found, Masked) else self.known(given)

    def known(self, value: Any) -> Computed:
        """Return the known value of operand ``value``, which must be computed."""
        found = self.values.get(value) if isinstance(value, FxNode) else None
        if isinstance(found, Computed):
            return found
        if isinstance(found, Mixed):
            raise found.refusal()
        if isinstance(found, Masked):
            raise Refusal("scores with a mask of -inf", "apply softmax to them at once")
        if isinstance(found, Tensor) or found is None:
            raise Refusal(
                "an operand is a constant, not a computed tensor",
                "fold constants into a layer's weight or bias",
            )
        raise Refusal(
            "reads the states of all steps, or what the host computes",
            "select single steps; leave softmax and argmax to the end",
        )

    def tensor(self, name: str) -> str:
        """Return the tensor of the graph that is argument ``name``."""
        return self.build.tensor(self.computed(name), self.location, self.dtype)

    def image(self, name: str) -> str:
        """Return the tensor that is argument ``name``, which must be [batch, C, H, W]."""
        tensor = self.tensor(name)
        if len(self.shape_of(tensor)) != 3:
            raise Refusal("works on [batch, C, H, W] tensors only", "give images to this layer")
        return tensor

    def parameter(self, name: str) -> str | None:
        """Return the parameter that is argument ``name``; None if it is absent."""
        if self.argument(name) is None:
            return None
        value = self.constant(name)
        if value is None:
            raise Refusal(
                f"operand {name!r} is computed by the network, not a parameter",
                "use a parameter of the module",
            )
        return self.build.parameter(
            self.names.get(self.argument(name), f"{self.name}.{name}"), value
        )

    def weight(self, name: str) -> str:
        """Return the parameter that is argument ``name``, which must be present."""
        found = self.parameter(name)
        if found is None:
            raise Refusal(f"operand {name!r} is missing", "give the layer its parameter")
        return found

    def derived(self, name: str, value: Tensor) -> str:
        """Add a parameter that the importer has computed; return its name."""
        return self.build.parameter(f"{self.name}.{name}", value.detach().contiguous())

    def base(
        self, *inputs: str, shape: tuple[int, ...] | None = None, part: str = ""
    ) -> dict[str, Any]:
        """Return the fields of :class:`~sigbit.ir.floating.Node`; ``part`` names an inner step."""
        return {
            "name": self.build.unique(f"{self.name}.{part}" if part else self.name),
            "inputs": inputs,
            "shape": self.shape if shape is None else shape,
            "location": self.location,
        }

    def add(self, node: Node) -> Computed:
        """Append ``node``."""
        return Computed(self.build.add(node))

    def size(self, value: Computed) -> tuple[int, ...]:
        """Return the shape of a value."""
        return self.shape_of(value.tensor) if value.index is None else value.index.shape

    def index(self, value: Computed) -> Index:
        """Return the positions of a value's elements in its tensor."""
        return views.whole(self.shape_of(value.tensor)) if value.index is None else value.index

    def chosen(self, value: Computed, index: Index) -> Computed:
        """Return elements of a value's tensor; the tensor itself for all elements in order."""
        same = index.shape == self.shape_of(value.tensor) and views.is_whole(index)
        return Computed(value.tensor, None if same else index, self.node)

    def broadcast(self, value: Computed, shape: tuple[int, ...] | None = None) -> Computed:
        """Repeat a value along the axes that it lacks, or that have size 1."""
        shape = self.shape if shape is None else shape
        if self.size(value) == shape:
            return value
        self.require_axes(value, len(shape))
        return self.chosen(value, np.broadcast_to(self.index(value), shape))

    def require_axes(self, value: Computed, count: int) -> None:
        """Refuse a value with fewer axes than ``count``: the batch would be aligned with an axis of
        the samples."""
        if len(self.size(value)) != count:
            raise Refusal(
                f"an operand of samples {list(self.size(value))} among samples of {count} axes, "
                "which mixes the samples of a batch",
                "give it axes of size 1 behind the batch (unsqueeze)",
            )

    def laid_out(self, value: Computed, order: tuple[int, ...]) -> Computed:
        """Return a value in a tensor that holds it as an image. ``order`` are the value's axes for
        channels, lines and columns; a missing one has size 1."""
        turned = self.index(value).transpose(order)
        image = turned.reshape(*turned.shape, *[1] * (3 - len(order) if len(order) > 1 else 0))
        held = self.chosen(value, image)
        held = Computed(held.tensor, held.index, value.origin or self.node)
        tensor = self.build.tensor(held, self.location, self.dtype)
        places = views.whole(turned.shape).transpose(np.argsort(order))
        return self.chosen(Computed(tensor), places)

    def settled(self, value: Computed) -> Computed:
        """Return a value that is all of its tensor, in any order; move it if necessary."""
        shape = self.shape_of(value.tensor)
        if value.index is None or views.has_all(value.index, int(np.prod(shape))):
            return value
        rank = value.index.ndim
        if rank in (1, 3):
            try:
                return Computed(self.build.tensor(value, self.location, self.dtype))
            except Refusal:
                if rank == 1:
                    raise
        if rank > 3:
            rows = views.as_rows(value.index)
            held = self.laid_out(Computed(value.tensor, rows, value.origin), (1, 0))
            return self.chosen(held, self.index(held).reshape(value.index.shape))
        orders = ((1, 0), (0, 1)) if rank == 2 else ((2, 0, 1),)
        for order in orders[:-1]:
            try:
                return self.laid_out(value, order)
            except Refusal:
                pass
        return self.laid_out(value, orders[-1])

    def value(self, name: str) -> Computed:
        """Return the computed value that is argument ``name``, all of its tensor in any order."""
        return self.settled(self.computed(name))

    def unary(self, value: Computed, function: str, *parameters: float, part: str = "") -> Computed:
        """Apply a function to every element."""
        value = self.settled(value)
        base = self.base(value.tensor, shape=self.shape_of(value.tensor), part=part)
        node = floating.Unary(**base, function=function, parameters=parameters)
        return Computed(self.build.add(node), value.index, self.node)

    def relu(self, value: Computed, limit: float | None = None, part: str = "") -> Computed:
        """Return ``min(max(x, 0), limit)`` of every element."""
        value = self.settled(value)
        base = self.base(value.tensor, shape=self.shape_of(value.tensor), part=part)
        return Computed(self.build.add(floating.Relu(**base, limit=limit)), value.index, self.node)

    def scaled(self, value: Computed, factor: float, part: str = "scaled") -> Computed:
        """Multiply a value by a number."""
        if factor == 1:
            return value
        if factor == -1:
            return self.unary(value, "neg", part=part)
        return self.affine(value, torch.tensor(factor, dtype=self.dtype), None, part=part)

    def plus(self, a: Computed, b: Computed, part: str = "") -> Computed:
        """Return the sum of two values, broadcast."""
        return self._paired(floating.Add, a, b, part)

    def times(self, a: Computed, b: Computed, part: str = "") -> Computed:
        """Return the product of two values, broadcast; a factor of one number per channel is left
        to the product."""
        shape = self._common_shape(a, b)
        for x, y in ((a, b), (b, a)):
            held = self.shape_of(y.tensor)
            alone = len(shape) == 3 and held[1:] in ((), (1, 1)) and held[0] == shape[0]
            if alone and self.size(x) == shape and self.size(y) == (shape[0], 1, 1) != shape:
                if not views.is_whole(self.index(y)):
                    continue
                first = self.build.tensor(x, self.location, self.dtype)
                base = self.base(first, y.tensor, shape=shape, part=part)
                return Computed(self.build.add(floating.Multiply(**base)))
        return self._paired(floating.Multiply, a, b, part)

    def _common_shape(self, a: Computed, b: Computed) -> tuple[int, ...]:
        """Return the shape to which two values broadcast."""
        axes = max(len(self.size(a)), len(self.size(b)))
        for value in (a, b):
            self.require_axes(value, axes)
        try:
            return np.broadcast_shapes(self.size(a), self.size(b))
        except ValueError:
            raise Refusal(
                f"operands {self.size(a)} and {self.size(b)} do not fit together",
                "give tensors of one shape, or of shapes that broadcast",
            ) from None

    def _paired(self, kind: type[Node], a: Computed, b: Computed, part: str) -> Computed:
        shape = self._common_shape(a, b)
        first, second = self._aligned(self.broadcast(a, shape), self.broadcast(b, shape))
        own = self.shape_of(first.tensor)
        base = self.base(first.tensor, second.tensor, shape=own, part=part)
        return Computed(self.build.add(kind(**base)), first.index, self.node)

    def _aligned(self, a: Computed, b: Computed) -> tuple[Computed, Computed]:
        """Return two values of one shape in tensors with the same element order."""
        ia, ib = self.index(a), self.index(b)
        if self.shape_of(a.tensor) == self.shape_of(b.tensor) and np.array_equal(ia, ib):
            first = self.settled(a)
            if first is a:
                return a, b
        problem: Refusal | None = None
        for x, y, swapped in ((a, b, False), (b, a, True)):
            try:
                held = self.settled(x)
                shape = self.shape_of(held.tensor)
                places = views.replaced(self.index(held), self.index(y)).reshape(shape)
                moved = Computed(y.tensor, places, y.origin)
                tensor = self.build.tensor(self.chosen(moved, places), self.location, self.dtype)
            except Refusal as refusal:
                problem = problem or refusal
                continue
            other = Computed(tensor, held.index)
            return (other, held) if swapped else (held, other)
        assert problem is not None
        raise problem

    def by_channel(self, value: Computed, constant: Tensor) -> bool:
        """Return whether a constant is one number per channel of a value's tensor; True if it does
        not broadcast at all."""
        if constant.numel() == 1:
            return True
        rows = self._rows(value, constant)
        return not len(rows) or bool((rows == rows[:, :1]).all())

    def constant_like(self, value: Computed, constant: Tensor, part: str) -> Computed:
        """Return a constant that broadcasts with a value as a value of its own, in the same
        order."""
        image = self._rows(value, constant).reshape(self.shape_of(value.tensor))
        base = self.base(shape=tuple(image.shape), part=part)
        node = floating.Constant(**base, value=self.derived(part, image))
        return Computed(self.build.add(node), value.index)

    def channels(self, value: Computed, constant: Tensor) -> Tensor:
        """Return a constant that broadcasts with a value, as one number per channel of its
        tensor."""
        count = self.shape_of(value.tensor)[0]
        if constant.numel() == 1:
            return constant.detach().to(self.dtype).reshape(1).expand(count).clone()
        rows = self._rows(value, constant)
        if not len(rows) or not bool((rows == rows[:, :1]).all()):
            raise Refusal(
                f"a constant operand of shape {tuple(constant.shape)}",
                "use one number, or one per channel",
            )
        return rows[:, 0].clone()

    def _rows(self, value: Computed, constant: Tensor) -> Tensor:
        """Return a constant that broadcasts with a value as the elements of its tensor, one row a
        channel; without rows if it does not broadcast."""
        count = self.shape_of(value.tensor)[0]
        given, shape = constant.detach().to(self.dtype), self.size(value)
        full = given.reshape((1,) * (len(shape) + 1 - given.dim()) + given.shape)
        if full.dim() == len(shape) + 1 and bool((full == full[:1]).all()):
            full = full[:1]
        try:
            rows = full.expand(1, *shape).reshape(-1)
        except RuntimeError:
            rows = full.new_zeros(0)
        if len(rows):
            order = torch.from_numpy(self.index(value).ravel().copy())
            rows = torch.empty_like(rows).index_copy_(0, order, rows).reshape(count, -1)
        return rows

    def affine(
        self, value: Computed, scale: Tensor | None, shift: Tensor | None, part: str = ""
    ) -> Computed:
        """Return ``value * scale + shift``; constants that differ from pixel to pixel become
        tensors."""
        value = self.settled(value)
        if scale is not None and not self.by_channel(value, scale):
            value = self.times(value, self.constant_like(value, scale, f"{part}scale"), part)
            return value if shift is None else self.affine(value, None, shift, part)
        if shift is not None and not self.by_channel(value, shift):
            value = value if scale is None else self.affine(value, scale, None, f"{part}scaled")
            return self.plus(value, self.constant_like(value, shift, f"{part}shift"), part)
        shape = self.shape_of(value.tensor)
        scales, shifts = (None if v is None else self.channels(value, v) for v in (scale, shift))
        ones = torch.ones(shape[0], dtype=self.dtype)
        norm = floating.BatchNorm(
            **self.base(value.tensor, shape=shape, part=part),
            weight=None if scales is None else self.derived(f"{part}scale", scales),
            bias=None if shifts is None else self.derived(f"{part}shift", shifts),
            mean=self.derived("zero", 0 * ones),
            var=self.derived("one", ones),
            eps=0.0,
        )
        return Computed(self.build.add(norm), value.index, self.node)
