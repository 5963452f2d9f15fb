"""Pure data movement: any chain of reshapes, transpositions, slices, borders and repetitions, as
the few moves of the float graph.

A movement is the array ``index`` that has the result's shape and holds, for every element, its flat
index in the source, or -1 for the constant 0. Only this array counts, not the original code: a
channel shuffle is recognized whether it is written as view, transpose, view or as a list of
channels.
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
    """Channels or features in the given order; -1 is a channel of zeros."""

    channels: tuple[int, ...]


@dataclass(frozen=True)
class Bordered:
    """(top, left, bottom, right) zeros added; negative values cut off lines and columns."""

    padding: tuple[int, int, int, int]


@dataclass(frozen=True)
class Strided:
    """Every ``stride``-th line and column of the part that ``padding`` (negative) keeps."""

    stride: tuple[int, int]
    padding: tuple[int, int, int, int]


@dataclass(frozen=True)
class Repeated:
    """Every line and column repeated this many times."""

    factor: tuple[int, int]


@dataclass(frozen=True)
class Pixel:
    """A vector as an image of one pixel."""


@dataclass(frozen=True)
class Shuffled:
    """Channels rearranged as blocks of ``factor`` pixels (``to_space``), or blocks as channels."""

    factor: tuple[int, int]
    to_space: bool


@dataclass(frozen=True)
class Assembled:
    """Lines or columns in ``pieces``, one after the other, each the result of its moves."""

    pieces: tuple[tuple["Move", ...], ...]
    axis: int


Move = Flattened | Chosen | Bordered | Strided | Repeated | Pixel | Shuffled | Assembled


PIECES_MAX = 64
"""Maximum number of pieces of an image; each piece is a layer of its own."""


def moves(source: Shape, index: Index) -> tuple[Move, ...] | None:
    """Return the moves that produce ``index`` from a tensor of shape ``source``; None if there are
    none."""
    if index.shape == source and _is_whole(index):
        return ()
    if index.ndim == 1:
        return _to_vector(source, index)
    if index.ndim == 3 and len(source) == 1:
        found = moves((*source, 1, 1), index)
        return None if found is None else (Pixel(), *found)
    if index.ndim == 3:
        return _to_image(source, index) or _shuffled(source, index)
    return None


def _is_whole(index: Index) -> bool:
    return bool((index.ravel() == np.arange(index.size)).all())


def _places(index: Index, shape: Shape) -> tuple[Index, ...]:
    """Return ``np.unravel_index(index, shape)``, which is wrong for more than 8,192 elements whose
    last axis has size 1 (https://github.com/numpy/numpy/issues/31980)."""
    return tuple(w.reshape(index.shape) for w in np.unravel_index(index.ravel(), shape))


def _to_vector(source: Shape, index: Index) -> tuple[Move, ...] | None:
    if len(source) == 1:
        return (Chosen(tuple(map(int, index))),)
    if index.size == math.prod(source) and _is_whole(index):
        return (Flattened(),)
    found = _of_pixel(source, index) or _to_part(source, index)
    if found is None and (found := _shuffled(source, index[:, None, None])) is not None:
        found = (*found, Flattened())
    return found


def _of_pixel(source: Shape, index: Index) -> tuple[Move, ...] | None:
    """Channels of one pixel."""
    channels, pixels = np.divmod(index, math.prod(source[1:]))
    used = index >= 0
    if not used.any() or len(set(pixels[used])) > 1:
        return None
    line, column = divmod(int(pixels[used][0]), source[2])
    chosen = np.where(used, channels, -1)
    moves: list[Move] = []
    if source[1:] != (1, 1):
        moves.append(Bordered((-line, -column, line + 1 - source[1], column + 1 - source[2])))
    moves.append(Flattened())
    if len(chosen) != source[0] or not _is_whole(chosen):
        moves.append(Chosen(tuple(map(int, chosen))))
    return tuple(moves)


def _to_part(source: Shape, index: Index) -> tuple[Move, ...] | None:
    """Return the moves for a block of an image, flattened; None if there are none."""
    if (index < 0).any():
        return None
    where = _places(index, source)
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
    for axis, where in enumerate(_places(np.maximum(index, 0), source)):
        others = tuple(a for a in range(3) if a != axis)
        axes.append(np.where(used, where, -1).max(axis=others))
    channels, lines, columns = np.ix_(*axes)
    known = (channels >= 0) & (lines >= 0) & (columns >= 0)
    flat = (channels * source[1] + lines) * source[2] + columns
    if not np.array_equal(np.where(known, flat, -1), index):
        return None
    lattices = [lattice(a) for a in axes[1:]]
    if lattices[0] is not None and lattices[1] is not None:
        return tuple(_image_moves(source, axes[0], (lattices[0], lattices[1])))
    return _in_pieces(source, axes)


def _in_pieces(source: Shape, axes: list[Index]) -> tuple[Move, ...] | None:
    """Return the moves for an image whose lines, or columns, are several lattices: first lines,
    then columns; None if there are none."""
    channels = np.arange(source[0])
    result: list[Move] = []
    for axis in (1, 2):
        parts = runs(axes[axis])
        if len(parts) > PIECES_MAX:
            return None
        own = [np.arange(n) for n in source[1:]]
        pieces = []
        for part in parts:
            own[axis - 1] = part
            pieces.append(_lattice_moves(source, channels, own))
        if len(pieces) > 1:
            result.append(Assembled(tuple(pieces), axis))
        else:
            result += pieces[0]
        size = len(axes[axis])
        source = (source[0], size, source[2]) if axis == 1 else (*source[:2], size)
    if not np.array_equal(axes[0], channels):
        result.append(Chosen(tuple(map(int, axes[0]))))
    return tuple(result)


def _lattice_moves(source: Shape, channels: Index, axes: list[Index]) -> tuple[Move, ...]:
    vertical, horizontal = lattice(axes[0]), lattice(axes[1])
    assert vertical is not None
    assert horizontal is not None
    return tuple(_image_moves(source, channels, (vertical, horizontal)))


def runs(positions: Index) -> list[Index]:
    """Split ``positions`` into lattices, each as long as possible."""
    parts, start = [], 0
    for end in range(1, len(positions) + 1):
        longer = positions[start : end + 1]
        if end == len(positions) or (longer.max() >= 0 and lattice(longer) is None):
            parts.append(positions[start:end])
            start = end
    return parts


def _shuffled(source: Shape, index: Index) -> tuple[Move, ...] | None:
    """Channels as blocks of pixels, or blocks as channels, of chosen channels."""
    if (index < 0).any():
        return None
    channels, lines, columns = _places(index, source)
    size = index.shape[1:]
    if all(m % n == 0 for m, n in zip(size, source[1:], strict=True)):
        h, w = size[0] // source[1], size[1] // source[2]
        block = channels[:, :h, :w]
        fits = (
            (lines == (np.arange(size[0]) // h)[:, None]).all()
            and (columns == np.arange(size[1]) // w).all()
            and (channels == np.tile(block, (1, *source[1:]))).all()
        )
        return (*_choice(block.ravel(), source[0]), Shuffled((h, w), True)) if fits else None
    if any(n % m for m, n in zip(size, source[1:], strict=True)):
        return None
    h, w = source[1] // size[0], source[2] // size[1]
    line, column = lines[:, :1, :1] % h, columns[:, :1, :1] % w
    fits = (
        (channels == channels[:, :1, :1]).all()
        and (lines == np.arange(size[0])[:, None] * h + line).all()
        and (columns == np.arange(size[1]) * w + column).all()
    )
    if not fits:
        return None
    chosen = ((channels[:, :1, :1] * h + line) * w + column).ravel()
    return (Shuffled((h, w), False), *_choice(chosen, source[0] * h * w))


def _choice(channels: Index, count: int) -> tuple[Move, ...]:
    if len(channels) == count and _is_whole(channels):
        return ()
    return (Chosen(tuple(map(int, channels))),)


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
    """Return the lattice of ``positions`` along one axis (-1: zero); None if they are no
    lattice."""
    used = np.flatnonzero(positions >= 0)
    if not len(used):
        return None
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
