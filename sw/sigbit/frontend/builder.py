"""The float graph under construction."""

from dataclasses import dataclass, field, replace
from hashlib import blake2b
from math import prod
from typing import Any

import numpy as np
import torch
from torch import Tensor

from sigbit.frontend.moves import (
    Assembled,
    Bordered,
    Chosen,
    Flattened,
    Move,
    Pixel,
    Repeated,
    Shuffled,
    Strided,
    moves,
)
from sigbit.frontend.values import Computed, Refusal
from sigbit.frontend.views import is_whole, whole
from sigbit.ir import floating
from sigbit.ir.floating import MAX_WINDOW, Node, QuantAnnotation
from sigbit.ir.integer import Axes
from sigbit_hw.arch.names import legal_name, numbered

_REPEATS = 7
"""Number of times that a pixel is repeated at once if it is repeated more often than a window is
large."""
_OUTPUTS = {2: (Axes.SIGNAL, Axes.SEQUENCE), 3: (Axes.IMAGE, Axes.LINES)}
"""Possible axes of an output, by their number: channels first, channels last."""


@dataclass
class Builder:
    """The float graph so far."""

    nodes: dict[str, Node] = field(default_factory=dict)
    parameters: dict[str, Tensor] = field(default_factory=dict)
    quantizers: dict[str, QuantAnnotation] = field(default_factory=dict)
    _moved: dict[object, str] = field(default_factory=dict)

    def unique(self, name: str) -> str:
        """Return ``name`` as a legal name, numbered if a node has it already."""
        return numbered(legal_name(name), self.nodes)

    def add(self, node: Node) -> str:
        """Append ``node``; return its name."""
        self.nodes[node.name] = node
        return node.name

    def parameter(self, name: str, value: Tensor) -> str:
        """Add a parameter of this value called ``name``, or similar."""
        unique, count = name, 1
        while (there := self.parameters.get(unique)) is not None and not (
            there is value or (there.dtype == value.dtype and torch.equal(there, value))
        ):
            count += 1
            unique = f"{name}_{count}"
        self.parameters.setdefault(unique, value)
        return unique

    def image_of(self, given: str, axes: Axes) -> Computed:
        """Return the value of the network input ``given`` of ``axes``."""
        shape = self.nodes[given].shape
        if axes in (Axes.IMAGE, Axes.FEATURES):
            return Computed(given)
        last = axes in (Axes.LINES, Axes.SEQUENCE)
        channels, *size = (shape[-1], *shape[:-1]) if last else shape
        image = (channels, *size, *[1] * (2 - len(size)))
        fields: dict[str, Any] = {"name": self.unique(f"{given}.image"), "inputs": (given,)}
        name = self.add(floating.ToImage(**fields, shape=image, axes=axes))
        index = whole(image).reshape(channels, *size)
        return Computed(name, np.moveaxis(index, 0, -1) if last else index)

    def output(self, value: Computed, location: str) -> str:
        """Return the tensor that has ``value`` with the axes of the network's user."""
        index = value.index
        if index is None or index.ndim == 1:
            return self.tensor(value, location, torch.float32)
        if not 1 < index.ndim < 4:
            raise Refusal(
                f"an output of shape {list(index.shape)}", "return images, sequences or vectors"
            )
        first, last = _OUTPUTS[index.ndim]
        problem: Refusal | None = None
        for axes in (first, last):
            turned = np.moveaxis(index, -1, 0) if axes is last else index
            held = turned.reshape(*turned.shape, *[1] * (3 - turned.ndim))
            shape = self.nodes[value.tensor].shape
            if turned.size == prod(shape) and is_whole(turned) and len(shape) == 3:
                channels, height, width = shape
                if axes.shape((channels, height, width)) == index.shape:
                    held = turned.reshape(shape)
            try:
                tensor = self.tensor(
                    Computed(value.tensor, held, value.origin), location, torch.float32
                )
            except Refusal as refusal:
                problem = problem or refusal
                continue
            if axes is Axes.IMAGE:
                return tensor
            fields: dict[str, Any] = {"inputs": (tensor,), "location": location}
            fields |= {"name": self.unique(f"{tensor}.output"), "shape": index.shape}
            return self.add(floating.FromImage(**fields, axes=axes))
        assert problem is not None
        raise problem

    def tensor(self, value: Computed, location: str, dtype: torch.dtype) -> str:
        """Return the tensor that holds ``value``, moved if necessary."""
        if value.index is None:
            return value.tensor
        if not value.index.size:
            raise Refusal("a tensor without elements", "leave it out", value.origin)
        places = blake2b(np.ascontiguousarray(value.index).data).digest()
        key = (value.tensor, value.index.shape, places)
        if (known := self._moved.get(key)) is not None:
            return known
        shape = self.nodes[value.tensor].shape
        found = moves(shape, value.index)
        if found is None:
            raise Refusal(
                f"a reshape or rearrangement of {shape} to {value.index.shape} that is none of "
                "flatten, channel choice, crop, border, stride, repetition, pixel shuffle",
                "keep [batch, C, H, W] images or [batch, steps, features] sequences, or flatten "
                "them to [batch, features]",
                value.origin,
            )
        name = value.tensor
        for move in found:
            name = self._move(name, move, location, dtype)
        self._moved[key] = name
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
                return self.add(floating.Flatten(**base("flatten", (prod(shape),))))
            case Pixel():
                image = base("image", (*shape, 1, 1))
                return self.add(floating.ToImage(**image, axes=Axes.FEATURES))
            case Repeated(factor):
                return self.repeated(tensor, factor, location)
            case Shuffled((h, w) as factor, True):
                space = base("shuffle", (shape[0] // (h * w), shape[1] * h, shape[2] * w))
                return self.add(floating.DepthToSpace(**space, factor=factor))
            case Shuffled((h, w) as factor, False):
                depth = base("unshuffle", (shape[0] * h * w, shape[1] // h, shape[2] // w))
                return self.add(floating.SpaceToDepth(**depth, factor=factor))
            case Assembled(pieces, axis):
                return self._assembled(tensor, pieces, axis, location, dtype)
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
                if (piece := self._piece(tensor, channels)) is not None:
                    return piece
                if min(channels) >= 0:
                    chosen = base("channels", (len(channels), *shape[1:]))
                    return self.add(floating.Channels(**chosen, index=channels))
        return self._with_zeros(tensor, channels, location, dtype)

    def _piece(self, tensor: str, channels: tuple[int, ...]) -> str | None:
        """Return the part of a concatenation that has exactly these channels, behind functions of
        single elements; None if there is none."""
        node, start = self.nodes[tensor], 0
        if isinstance(node, floating.Unary | floating.Relu):
            above = self._piece(node.inputs[0], channels)
            if above is None:
                return None
            shape, name = self.nodes[above].shape, self.unique(f"{tensor}.part")
            return self.add(replace(node, name=name, inputs=(above,), shape=shape))
        if not isinstance(node, floating.Concat):
            return None
        for name in node.inputs:
            count = self.nodes[name].shape[0]
            if channels == tuple(range(start, start + count)):
                return name
            start += count
        return None

    def repeated(self, tensor: str, factor: tuple[int, int], location: str) -> str:
        """Repeat every pixel; in several steps if more often than a window is large."""
        channels, *size = self.nodes[tensor].shape
        want = [n * f for n, f in zip(size, factor, strict=True)]
        while size != want:
            steps = [
                -(-m // n) if -(-m // n) <= MAX_WINDOW else _REPEATS
                for m, n in zip(want, size, strict=True)
            ]
            if any(m % (n * f) and n > 1 for m, n, f in zip(want, size, steps, strict=True)):
                raise Refusal(f"pixels repeated {factor} times", "repeat in several steps")
            size = [n * f for n, f in zip(size, steps, strict=True)]
            tensor = self.add(
                floating.Upsample(
                    name=self.unique(f"{tensor}.upsample"),
                    inputs=(tensor,),
                    shape=(channels, *size),
                    location=location,
                    factor=(steps[0], steps[1]),
                )
            )
            if any(n > m for n, m in zip(size, want, strict=True)):
                size = [min(n, m) for n, m in zip(size, want, strict=True)]
                above = self.nodes[tensor].shape
                cut = (0, 0, size[0] - above[1], size[1] - above[2])
                tensor = self._move(tensor, Bordered(cut), location, torch.float32)
        return tensor

    def _assembled(
        self,
        tensor: str,
        pieces: tuple[tuple[Move, ...], ...],
        axis: int,
        location: str,
        dtype: torch.dtype,
    ) -> str:
        names, places, size = [], [], list(self.nodes[tensor].shape)
        size[axis] = 0
        for piece in pieces:
            name = tensor
            for move in piece:
                name = self._move(name, move, location, dtype)
            names.append(name)
            places.append((size[1] if axis == 1 else 0, size[2] if axis == 2 else 0))
            size[axis] += self.nodes[name].shape[axis]
        return self.add(
            floating.Mosaic(
                name=self.unique(f"{tensor}.mosaic"),
                inputs=tuple(names),
                shape=tuple(size),
                location=location,
                places=tuple(places),
            )
        )

    def _with_zeros(
        self, tensor: str, channels: tuple[int, ...], location: str, dtype: torch.dtype
    ) -> str:
        """Return channels and zeros, by a weight of ones and zeros that also performs a stride
        before it."""
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
