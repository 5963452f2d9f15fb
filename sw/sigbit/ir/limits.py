"""Types and limits of what an integer graph says, which may come from a file: checked before any
arithmetic with it."""

from collections.abc import Iterable, Iterator
from math import prod
from typing import Any

import numpy as np

from sigbit.ir.annotation import HostOp
from sigbit_hw.arch.names import check_name
from sigbit_tools.shown import shown

SIDE_MAX, ELEMENTS_MAX = 1 << 20, 1 << 31
"""Channels, lines or columns of a tensor, and its elements, at most."""
STEP_MAX = 1 << 16
"""Strides, dilations, upsampling and padding at most."""
SCALES = (2.0**-126, 2.0**127)
"""Scales are normal numbers of float32."""


def problems(name: str, nodes: Iterable[Any], host: Iterable[HostOp]) -> Iterator[str]:
    """What is no legal name, type or size in a graph, one after the other."""
    yield from _name(name, "the graph's name")
    for node in nodes:
        yield from _name(node.name, "a node's name")
        yield from _name(getattr(node, "kind", "input"), f"{node.name}: kind")
        kind = node.type
        yield from _ints(node.name, "shape", kind.shape, 3, 1, SIDE_MAX)
        if prod(kind.shape) > ELEMENTS_MAX:
            yield f"{node.name}: {list(kind.shape)} has more than {ELEMENTS_MAX:,} elements"
        yield from _ints(node.name, "planes and zero", (kind.planes, kind.zero), 2, -(1 << 31))
        if not isinstance(kind.scale, float | np.floating) or not (
            SCALES[0] <= kind.scale <= SCALES[1]
        ):
            yield f"{node.name}: scale must be in [2**-126, 2**127], not {shown(kind.scale)}"
        yield from _geometry(node)
        yield from _arrays(node)
    for op in host:
        if type(op.output) is not int or not isinstance(op.function, str):
            yield f"host: {shown(op)} is no function of an output"


def _name(value: object, what: str) -> Iterator[str]:
    try:
        check_name(value, what)
    except ValueError as error:
        yield str(error)


def _ints(
    node: str, what: str, values: object, count: int, least: int, most: int = 1 << 31
) -> Iterator[str]:
    whole = isinstance(values, tuple) and all(isinstance(v, int | np.integer) for v in values)
    if (
        not isinstance(values, tuple)
        or not whole
        or len(values) != count
        or not all(least <= v <= most for v in values)
    ):
        yield (
            f"{node}: {what} must be {count} whole numbers in [{least}, {most}], not "
            f"{shown(values)}"
        )


def _geometry(node: Any) -> Iterator[str]:
    if hasattr(node, "low"):
        yield from _ints(node.name, "low and high", (node.low, node.high), 2, -(1 << 31))
    for part in (node, *getattr(node, "sources", ())):
        for name, count, least in (
            ("kernel", 2, 1),
            ("stride", 2, 1),
            ("dilation", 2, 1),
            ("upsampling", 2, 1),
            ("padding", 4, -STEP_MAX),
        ):
            if hasattr(part, name):
                yield from _ints(node.name, name, getattr(part, name), count, least, STEP_MAX)
        if hasattr(part, "groups"):
            numbers = (part.terms, part.groups)
            yield from _ints(node.name, "terms and groups", numbers, 2, 1, SIDE_MAX)


def _arrays(node: Any) -> Iterator[str]:
    found = {
        name: (getattr(node, name), dimensions)
        for name, dimensions in (
            ("bias", 1),
            ("mantissa", 1),
            ("shift", 1),
            ("table", 1),
            ("channels", 2),
        )
        if hasattr(node, name)
    }
    found |= {
        f"weights {index}": (source.weights, 4)
        for index, source in enumerate(getattr(node, "sources", ()))
    }
    for name, (array, dimensions) in found.items():
        if (
            not isinstance(array, np.ndarray)
            or array.dtype.kind not in "iu"
            or array.ndim != dimensions
        ):
            yield (
                f"{node.name}: {name} must hold whole numbers in {dimensions} dimensions, not "
                f"{getattr(array, 'dtype', type(array).__name__)}"
            )
