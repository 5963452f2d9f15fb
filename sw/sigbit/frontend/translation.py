"""What a translator of an ATen operation works with: its arguments, and the graph being built."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch._ops import OpOverload
from torch.fx import Node as FxNode

from sigbit.frontend.moves import Bordered, Chosen, Flattened, Move, Repeated, Step, Strided, moves
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating
from sigbit.ir.floating import Node, Quantizer
from sigbit_hw.arch.names import legal_name

N = TypeVar("N", bound=Node)


@dataclass
class Builder:
    """The float graph so far."""

    nodes: dict[str, Node] = field(default_factory=dict)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    quantizers: dict[str, Quantizer] = field(default_factory=dict)
    _moved: dict[int, tuple[Computed, str]] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """``name`` as a legal one, numbered if a node has it already."""
        name = legal_name(name)
        unique, count = name, 1
        while unique in self.nodes:
            count += 1
            unique = f"{name}_{count}"
        return unique

    def add(self, node: Node) -> str:
        """Append ``node``; its name."""
        self.nodes[node.name] = node
        return node.name

    def parameter(self, name: str, value: Tensor) -> str:
        """A parameter of this value called ``name``, or like it."""
        unique, count = name, 1
        while (there := self.parameters.get(unique)) is not None and not (
            there is value or (there.dtype == value.dtype and torch.equal(there, value))
        ):
            count += 1
            unique = f"{name}_{count}"
        self.parameters.setdefault(unique, value)
        return unique

    def tensor(self, value: Computed, location: str, dtype: torch.dtype) -> str:
        """The tensor that holds ``value``, moved where it has to be."""
        if value.index is None:
            return value.tensor
        if (known := self._moved.get(id(value))) is not None:
            return known[1]
        shape = self.nodes[value.tensor].shape
        found = moves(shape, value.index)
        if found is None:
            raise Refusal(
                f"a reshape or rearrangement of {shape} to {value.index.shape} that is none of "
                "flatten, channel choice, crop, border, stride, repetition, step of a sequence",
                "keep [batch, C, H, W] images, flatten them to [batch, features]",
                value.origin,
            )
        name = value.tensor
        for move in found:
            name = self._move(name, move, location, dtype)
        self._moved[id(value)] = (value, name)
        return name

    def _move(self, tensor: str, move: Move, location: str, dtype: torch.dtype) -> str:
        shape = self.nodes[tensor].shape

        def base(kind: str, shape: tuple[int, ...]) -> dict[str, Any]:
            return {
                "name": self.unique(f"{tensor}.{kind}"),
                "inputs": (tensor,),
                "shape": shape,
                "location": location,
            }

        match move:
            case Flattened():
                flat = base("flatten", (int(np.prod(shape)),))
                return self.add(floating.Flatten(**flat))
            case Step(step):
                return self.add(floating.Select(**base(f"step{step}", shape[1:]), step=step))
            case Repeated(factor):
                larger = (shape[0], shape[1] * factor[0], shape[2] * factor[1])
                return self.add(floating.Upsample(**base("upsample", larger), factor=factor))
            case Bordered((top, left, bottom, right) as padding):
                size = (shape[0], shape[1] + top + bottom, shape[2] + left + right)
                return self.add(floating.Pad(**base("pad", size), padding=padding))
            case Strided((dy, dx) as stride, (top, left, bottom, right) as padding):
                height = (shape[1] + top + bottom - 1) // dy + 1
                width = (shape[2] + left + right - 1) // dx + 1
                return self.add(
                    floating.AvgPool2d(
                        **base("stride", (shape[0], height, width)),
                        kernel=(1, 1),
                        stride=stride,
                        padding=padding,
                        divisor=1,
                    )
                )
            case Chosen(channels):
                if min(channels) >= 0:
                    chosen = base("channels", (len(channels), *shape[1:]))
                    return self.add(floating.Channels(**chosen, index=channels))
                return self._with_zeros(tensor, channels, location, dtype)

    def _with_zeros(
        self, tensor: str, channels: tuple[int, ...], location: str, dtype: torch.dtype
    ) -> str:
        """Channels and zeros, by a weight of ones and zeros that also does a stride before it."""
        node = self.nodes[tensor]
        weight = torch.zeros(len(channels), node.shape[0], dtype=dtype)
        for row, channel in enumerate(channels):
            if channel >= 0:
                weight[row, channel] = 1
        fields: dict[str, Any] = {
            "name": self.unique(f"{tensor}.channels"),
            "inputs": (tensor,),
            "shape": (len(channels), *node.shape[1:]),
            "location": location,
            "bias": None,
        }
        if len(node.shape) == 1:
            name = self.parameter(f"{tensor}.selection", weight)
            return self.add(floating.Linear(**fields, weight=name))
        stride, padding = (1, 1), (0, 0, 0, 0)
        if isinstance(node, floating.AvgPool2d) and node.kernel == (1, 1) and node.divisor == 1:
            fields["inputs"], stride, padding = node.inputs, node.stride, node.padding
        name = self.parameter(f"{tensor}.selection", weight[:, :, None, None])
        return self.add(floating.Conv2d(**fields, weight=name, stride=stride, padding=padding))


@dataclass(frozen=True)
class Translation:
    """One operation: its node, the name for its result, where the user wrote it, what is known of
    its operands, the names of parameters. ``read`` are the arguments that were asked for: see
    :mod:`sigbit.frontend.accounting`."""

    node: FxNode
    name: str
    location: str
    values: Mapping[FxNode, Value]
    names: Mapping[FxNode, str]
    build: Builder
    read: set[str] = field(default_factory=set)

    def argument(self, name: str, absent: Any = None) -> Any:
        """An argument by its name in the operation's schema, or its default; ``absent`` where the
        schema has none of this name."""
        assert isinstance(self.node.target, OpOverload)
        self.read.add(name)
        for i, argument in enumerate(self.node.target._schema.arguments):
            if argument.name == name:
                if i < len(self.node.args):
                    return self.node.args[i]
                return self.node.kwargs.get(name, argument.default_value)
        return absent

    def in_shape(self, *names: str) -> None:
        """Note arguments that have no effect but on the result's shape."""
        self.read.update(names)

    def number(self, name: str, absent: float = 0.0) -> float:
        """An argument that is one number, given as it is or as a constant tensor; ``absent`` where
        it is left out."""
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
        """The constant or number that is argument ``name``; None if the network computes it."""
        value = self.argument(name)
        if isinstance(value, FxNode):
            found = self.values.get(value)
            return found if isinstance(found, Tensor) else None
        return None if value is None else torch.tensor(value, dtype=self.dtype)

    def computed(self, name: str) -> Computed:
        """What is known of the computed tensor that is argument ``name``."""
        return self.known(self.argument(name))

    def known(self, value: Any) -> Computed:
        """What is known of operand ``value``, which must be computed."""
        found = self.values.get(value) if isinstance(value, FxNode) else None
        if isinstance(found, Computed):
            return found
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
        """The tensor of the graph that is argument ``name``."""
        return self.build.tensor(self.computed(name), self.location, self.dtype)

    def image(self, name: str) -> str:
        """The tensor that is argument ``name``, which must be [batch, C, H, W]."""
        tensor = self.tensor(name)
        if len(self.shape_of(tensor)) != 3:
            raise Refusal("works on [batch, C, H, W] tensors only", "give images to this layer")
        return tensor

    def parameter(self, name: str) -> str | None:
        """The parameter that is argument ``name``; None where it is absent."""
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
        """The parameter that is argument ``name``, which must be there."""
        found = self.parameter(name)
        if found is None:
            raise Refusal(f"operand {name!r} is missing", "give the layer its parameter")
        return found

    def derived(self, name: str, value: Tensor) -> str:
        """A parameter that the importer has computed."""
        return self.build.parameter(f"{self.name}.{name}", value.detach().contiguous())

    def base(
        self, *inputs: str, shape: tuple[int, ...] | None = None, part: str = ""
    ) -> dict[str, Any]:
        """The fields of :class:`~sigbit.ir.floating.Node`; ``part`` names an inner step."""
        return {
            "name": self.build.unique(f"{self.name}.{part}" if part else self.name),
            "inputs": inputs,
            "shape": self.shape if shape is None else shape,
            "location": self.location,
        }

    def add(self, node: Node) -> Computed:
        """Append ``node``."""
        return Computed(self.build.add(node))

    def unary(self, tensor: str, function: str, *parameters: float, part: str = "") -> str:
        """A function of every element."""
        base = self.base(tensor, shape=self.shape_of(tensor), part=part)
        return self.build.add(floating.Unary(**base, function=function, parameters=parameters))

    def affine(
        self, tensor: str, scale: Tensor | None, shift: Tensor | None, part: str = ""
    ) -> str:
        """``tensor * scale + shift`` a channel; both are numbers or broadcast along channels. An
        image is scaled before it is flattened, where its pixels are scaled alike."""
        shape = self.shape_of(tensor)
        if len(shape) == 2:
            raise Refusal("works on a whole sequence", "select the steps first")
        flat = self.build.nodes[tensor]
        if isinstance(flat, floating.Flatten):
            image = self.shape_of(flat.inputs[0])
            rows = [_alike(v, image) for v in (scale, shift)]
            if all(r is not None or v is None for r, v in zip(rows, (scale, shift), strict=True)):
                scaled = self.affine(flat.inputs[0], rows[0], rows[1], part=part)
                base = self.base(scaled, shape=shape, part=f"{part}flatten")
                return self.build.add(floating.Flatten(**base))
        ones = torch.ones(shape[0], dtype=self.dtype)

        def channels(value: Tensor) -> Tensor:
            given = value.detach().to(self.dtype)
            full = given.reshape((1,) * (len(shape) + 1 - given.dim()) + given.shape)
            one = full.flatten(2)[:1, :, :1] if full.dim() > 2 else full[:1, :, None]
            kept = full.shape[1] in (1, shape[0]) if full.dim() == len(shape) + 1 else False
            if not kept or not bool((full.reshape(*full.shape[:2], -1) == one).all()):
                raise Refusal(
                    f"a constant operand of shape {tuple(value.shape)}",
                    "use one number, or one a channel",
                )
            return one.reshape(-1) * ones

        return self.build.add(
            floating.BatchNorm(
                **self.base(tensor, shape=shape, part=part),
                weight=None if scale is None else self.derived(f"{part}scale", channels(scale)),
                bias=None if shift is None else self.derived(f"{part}shift", channels(shift)),
                mean=self.derived("zero", 0 * ones),
                var=self.derived("one", ones),
                eps=0.0,
            )
        )


def _alike(value: Tensor | None, image: tuple[int, ...]) -> Tensor | None:
    """The constant ``value``, which broadcasts with a flattened ``image`` of one pixel at least, as
    one that broadcasts with the image itself; None where pixels of a channel differ."""
    if value is None or len(image) != 3:
        return None
    if value.numel() == 1:
        return value.reshape(1)
    if value.dim() > 2 or value.numel() != image[0] * image[1] * image[2]:
        return None
    rows = value.reshape(image[0], -1)
    return rows[:, :1, None] if bool((rows == rows[:, :1]).all()) else None
