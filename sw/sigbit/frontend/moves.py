"""Pure data movement: any chain of reshapes, transpositions, slices, borders and repetitions, as
the few moves that the float graph has.

A movement is the array ``index`` that has the result's shape and holds, for every element, its flat
index in the source, or -1 for the constant 0. Whatever was written, only this array counts: a
channel shuffle is found whether it is written as view, transpose, view or as a list of channels.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

Index = NDArray[np.int64]
Shape = tuple[int, ...]


@dataclass(frozen=True)
class Flattened:
    """An image as a vector."""


@dataclass(frozen=True)
class Chosen:
    """Channels or features in this order; -1 is a channel of zeros."""

    channels: tuple[int, ...]


@dataclass(frozen=True)
class Step:
    """One step of a sequence."""

    step: int


@dataclass(frozen=True)
class Bordered:
    """(top, left, bottom, right) zeros added, negative: lines and columns cut off."""

    padding: tuple[int, int, int, int]


@dataclass(frozen=True)
class Strided:
    """Every ``stride``-th line and column, of the part that ``padding`` (negative) leaves."""

    stride: tuple[int, int]
    padding: tuple[int, int, int, int]


@dataclass(frozen=True)
class Repeated:
    """Every line and column this many times."""

    factor: tuple[int, int]


Move = Flattened | Chosen | Step | Bordered | Strided | Repeated


def moves(source: Shape, index: Index) -> tuple[Move, ...] | None:
    """The moves that give ``index`` from a tensor of shape ``source``; None if none do."""
    if index.shape == source and _is_whole(index):
        return ()
    if index.ndim == 1:
        return _to_vector(source, index)
    if index.ndim == len(source) == 3:
        return _to_image(source, index)
    return None


def _is_whole(index: Index) -> bool:
    return bool((index.ravel() == np.arange(index.size)).all())


def _to_vector(source: Shape, index: Index) -> tuple[Move, ...] | None:
    if len(source) == 1:
        return (Chosen(tuple(map(int, index))),)
    if len(source) == 2:
        return _to_step(source, index)
    if len(source) != 3:
        return None
    if index.size == math.prod(source) and _is_whole(index):
        return (Flattened(),)
    if source[1:] == (1, 1):
        return (Flattened(), Chosen(tuple(map(int, index))))
    return _to_part(source, index)


def _to_step(source: Shape, index: Index) -> tuple[Move, ...] | None:
    steps, features = index // source[1], index % source[1]
    if (index < 0).any() or len(set(steps)) != 1:
        return None
    step = Step(int(steps[0]))
    if features.size == source[1] and _is_whole(features):
        return (step,)
    return (step, Chosen(tuple(map(int, features))))


def _to_part(source: Shape, index: Index) -> tuple[Move, ...] | None:
    """A block of an image, flattened."""
    if (index < 0).any():
        return None
    where = np.unravel_index(index, source)
    block = [np.arange(w.min(), w.max() + 1) for w in where]
    inside = np.ravel_multi_index(np.meshgrid(*block, indexing="ij"), source)
    if not np.array_equal(inside.ravel(), index):
        return None
    found = _to_image(source, inside)
    return None if found is None else (*found, Flattened())


def _to_image(source: Shape, index: Index) -> tuple[Move, ...] | None:
    used = index >= 0
    if not used.any():
        return None
    axes = []
    for axis, where in enumerate(np.unravel_index(np.maximum(index, 0), source)):
        others = tuple(a for a in range(3) if a != axis)
        axes.append(np.where(used, where, -1).max(axis=others))
    channels, lines, columns = np.ix_(*axes)
    known = (channels >= 0) & (lines >= 0) & (columns >= 0)
    flat = (channels * source[1] + lines) * source[2] + columns
    if not np.array_equal(np.where(known, flat, -1), index):
        return None
    lattices = [lattice(a) for a in axes[1:]]
    if lattices[0] is None or lattices[1] is None:
        return None
    return tuple(_image_moves(source, axes[0], (lattices[0], lattices[1])))


@dataclass(frozen=True)
class Lattice:
    """``before`` zeros, then ``count`` positions from ``first`` on, ``stride`` apart, each
    ``factor`` times, then ``after`` zeros."""

    first: int
    count: int
    stride: int
    factor: int
    before: int
    after: int

    def crop(self, size: int) -> tuple[int, int]:
        return -self.first, self.first + (self.count - 1) * self.stride + 1 - size


def lattice(positions: Index) -> Lattice | None:
    """How ``positions`` along one axis (-1: zero) arise; None if they are no lattice."""
    used = np.flatnonzero(positions >= 0)
    first, last = int(used[0]), int(used[-1])
    inner = positions[first : last + 1]
    values = inner[np.r_[True, inner[1:] != inner[:-1]]]
    factor = len(inner) // len(values)
    strides = {int(b - a) for a, b in pairwise(values)} or {1}
    if not np.array_equal(np.repeat(values, factor), inner) or len(strides) > 1:
        return None
    stride = strides.pop()
    if stride < 1 or (inner < 0).any():
        return None
    return Lattice(int(values[0]), len(values), stride, factor, first, len(positions) - 1 - last)


def _image_moves(
    source: Shape, channels: Index, lattices: tuple[Lattice, Lattice]
) -> Iterator[Move]:
    vertical, horizontal = lattices
    crops = [a.crop(n) for a, n in zip(lattices, source[1:], strict=True)]
    crop = (crops[0][0], crops[1][0], crops[0][1], crops[1][1])
    border = (vertical.before, horizontal.before, vertical.after, horizontal.after)
    stride, factor = (vertical.stride, horizontal.stride), (vertical.factor, horizontal.factor)
    if stride != (1, 1):
        yield Strided(stride, crop)
        crop = (0, 0, 0, 0)
    if (
        any(crop)
        and factor == (1, 1)
        and all(not c or not b for c, b in zip(crop, border, strict=True))
    ):
        top, left, bottom, right = (c + b for c, b in zip(crop, border, strict=True))
        crop, border = (top, left, bottom, right), (0, 0, 0, 0)
    if any(crop):
        yield Bordered(crop)
    if not np.array_equal(channels, np.arange(source[0])):
        yield Chosen(tuple(map(int, channels)))
    if factor != (1, 1):
        yield Repeated(factor)
    if any(border):
        yield Bordered(border)
