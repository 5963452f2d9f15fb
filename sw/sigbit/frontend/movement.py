"""Operations that only move elements, understood by running them on the elements' indices."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.fx import Node as FxNode
from torch.fx.node import map_arg

from sigbit.frontend.builder import Builder
from sigbit.frontend.moves import Index
from sigbit.frontend.source import origin
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Mixed, Refusal, Steps, Value


def replaced(
    node: FxNode, value: Callable[[FxNode], Any]
) -> tuple[tuple[Any, ...], dict[str, Any]]:
    """Positional and keyword arguments of a node with values in place of nodes."""
    args = map_arg(node.args, value)
    return tuple(args), dict(map_arg(node.kwargs, value))


def moved(
    node: FxNode, values: Mapping[FxNode, Value], build: Builder, *, zeros: bool = False
) -> Value:
    """Return the result of a movement: known elements of the operand's source; with ``zeros``, a
    border counts as one of zeros, regardless of its value."""
    source = node.args[0]
    assert isinstance(source, FxNode)
    value = values[source]
    if isinstance(value, Steps):
        return _of_steps(node, value, source)
    if not isinstance(value, Computed | Mixed):
        raise Refusal("moves what the host computes", "leave softmax and argmax to the end")
    if any(not isinstance(values[n], Tensor) for n in node.all_input_nodes if n is not source):
        raise Refusal("moves elements by numbers that the network computes", "use constants")
    border = _border(node) if "pad" in str(node.target) else None
    if isinstance(border, FxNode):
        given = values[border]
        assert isinstance(given, Tensor)
        border = float(given)
    if (border or 0) != 0 and not zeros:
        if isinstance(value, Mixed):
            raise value.refusal()
        return _bordered(node, float(border or 0), value, values, build)
    shape = build.nodes[value.tensor].shape
    size = int(np.prod(shape))
    operand: Tensor = source.meta["val"]
    _check_cast(node, operand.dtype)
    samples = value.batch if isinstance(value, Mixed) else operand.shape[0]
    batch = torch.arange(samples, dtype=torch.float64) * size
    index = value.index if isinstance(value, Mixed) else full_index(value, shape, samples)
    args, kwargs = replaced(node, lambda n: index if n is source else values[n])
    kwargs = {k: v for k, v in kwargs.items() if k not in STORAGE}
    if border is not None:
        kwargs.pop("value", None)
        args = args[: _place(node)]
    assert callable(node.target)
    target = torch.reshape if "view.default" in str(node.target) else node.target
    result = target(*args, **kwargs)  # indices lie in memory otherwise than the elements
    if isinstance(result, (list, tuple)):
        return tuple(_sample(r, batch, value.tensor, node) for r in result)
    return _sample(result, batch, value.tensor, node)


def _bordered(
    node: FxNode,
    border: float,
    value: Computed,
    values: Mapping[FxNode, Value],
    build: Builder,
) -> Value:
    """Add a border of value ``border``: subtract it from the tensor, add a border of zeros, and add
    it again."""
    where, dtype = origin(node), node.meta["val"].dtype
    call = Translation(node, build.unique(where.name), where.location, values, {}, build)
    shift = torch.tensor(border, dtype=dtype)
    less = call.affine(value, None, -shift, part="less")
    source = node.args[0]
    assert isinstance(source, FxNode)
    padded = moved(node, {**values, source: less}, build, zeros=True)
    if isinstance(padded, Mixed):
        raise padded.refusal()
    assert isinstance(padded, Computed)
    return call.affine(padded, None, shift, part="more")


STORAGE = frozenset(["device", "dtype", "layout", "non_blocking", "pin_memory"])
"""Arguments for the storage of a result; its type is checked before."""


def _check_cast(node: FxNode, dtype: torch.dtype) -> None:
    """Raise :class:`Refusal` if the result has another type than the operand, ``dtype``."""
    results = node.meta["val"]
    result = results if isinstance(results, Tensor) else results[0]
    if result.dtype != dtype:
        raise Refusal(f"a cast from {dtype} to {result.dtype}", "compute in one float type")


def _border(node: FxNode) -> Any:
    """Return the value of a constant border."""
    if "value" in node.kwargs:
        return node.kwargs["value"]
    position = _place(node)
    return node.args[position] if len(node.args) > position else None


def _place(node: FxNode) -> int:
    """Return the argument position of a border's value."""
    return 2 if "constant_pad_nd" in str(node.target) else 3


def full_index(value: Computed, shape: tuple[int, ...], samples: int) -> Tensor:
    """Return the elements of a value of a tensor of ``shape`` for a batch, as in
    :class:`~sigbit.frontend.values.Mixed`."""
    size = int(np.prod(shape))
    first = np.arange(size).reshape(shape) if value.index is None else value.index
    one = torch.from_numpy(np.ascontiguousarray(first)).double()
    batch = torch.arange(samples, dtype=torch.float64) * size
    return torch.where(one < 0, 0, batch.view(-1, *[1] * one.dim()) + one + 1)


def _sample(result: Tensor, batch: Tensor, tensor: str, node: FxNode) -> Computed | Mixed:
    """Return the movement of one sample, if it is the same for all samples."""
    if not result.numel():
        raise Refusal(f"a result without elements: {list(result.shape)}", "mend the sizes")
    found = sample_of(result, batch)
    if found is None:
        return Mixed(tensor, result, len(batch), node)
    return Computed(tensor, found, node)


def sample_of(result: Tensor, batch: Tensor) -> Index | None:
    """Return the movement of one sample from that of a batch whose samples begin at ``batch``; None
    if the first axis is not that of the samples."""
    if result.dim() < 1 or result.shape[0] != len(batch):
        return None
    sample = result[0]
    others = torch.where(sample > 0, sample + batch.view(-1, *[1] * sample.dim()), 0)
    if not torch.equal(result, others):
        return None
    places: Index = sample.long().numpy() - 1
    return places


def _of_steps(node: FxNode, value: Steps, source: FxNode) -> Value:
    """Selection among the states of a recurrent layer."""
    shape = source.meta["val"].shape
    index = torch.zeros(shape, dtype=torch.float64)
    steps = torch.arange(len(value.tensors), dtype=torch.float64)
    index += steps.view([-1 if d == value.dim else 1 for d in range(len(shape))])
    args, kwargs = replaced(node, lambda n: index)
    assert callable(node.target)
    result = node.target(*args, **kwargs)
    batch, features = shape[1 - value.dim], shape[2]
    if isinstance(result, Tensor):
        if result.shape == (batch, features) and bool((result == result.flatten()[0]).all()):
            return Computed(value.tensors[int(result[0, 0])])
        if result.dim() == 3 and result.shape[1 - value.dim] == batch:
            chosen = result.select(1 - value.dim, 0)[:, :1]
            whole = bool((result == chosen.unsqueeze(1 - value.dim)).all())
            if result.shape[2] == features and whole:
                return Steps(tuple(value.tensors[int(i)] for i in chosen[:, 0]), value.dim)
    raise Refusal("rearranges the states of a recurrent layer", "select single steps")
