"""Translation of linear interpolation: fixed integer weights over neighbouring pixels.

Along an axis the result is a matrix times the pixels; torch provides the matrix. Where it is a
window that slides over pixels with zeros between them, it is a layer of fixed integers; a small
image is multiplied by the matrix directly.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.frontend import views
from sigbit.frontend.aten.layers import Windows
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating
from sigbit.ir.floating import MAX_WINDOW

_NEAR = 1e-5


@dataclass(frozen=True)
class Sliding:
    """Integers ``taps`` over an axis with ``factor - 1`` zeros between its pixels and (``before``,
    ``after``) more around, every ``stride``-th sum divided by ``divisor``; ``edge``: the first and
    the last pixel are repeated once before."""

    taps: tuple[int, ...] = (1,)
    factor: int = 1
    stride: int = 1
    before: int = 0
    after: int = 0
    divisor: int = 1
    edge: bool = False

    def matrix(self, size: int) -> Tensor:
        """Return the equivalent matrix for ``size`` pixels."""
        x = torch.eye(size, dtype=torch.float64)
        x = torch.cat([x[:1], x, x[-1:]]) if self.edge else x
        spread = x.new_zeros((len(x) - 1) * self.factor + 1, size)
        spread[:: self.factor] = x
        padded = F.pad(spread, (0, 0, self.before, self.after))
        windows = padded.unfold(0, len(self.taps), self.stride)
        return windows @ torch.tensor(self.taps, dtype=torch.float64) / self.divisor


def _upwards(size: int, factor: int) -> Sliding:
    """Interpolation between pixel centers, each of which becomes ``factor``."""
    half = range(1, 2 * factor, 2) if factor % 2 == 0 else range(1, factor + 1)
    mirrored = list(half)[::-1]
    taps = (*half, *(mirrored if factor % 2 == 0 else mirrored[1:]))
    before = factor // 2 - 1 if factor % 2 == 0 else (factor - 3) // 2
    spread = (size + 1) * factor + 1
    after = size * factor - spread - before + len(taps) - 1
    divisor = 2 * factor if factor % 2 == 0 else factor
    return Sliding(taps, factor, 1, before, after, divisor, True)


def _downwards(matrix: Tensor, stride: int) -> Sliding | None:
    """Return the window with the same weights for every ``stride`` pixels; None if they differ."""
    used = torch.nonzero(matrix[0].abs() > _NEAR).ravel()
    first, last = int(used[0]), int(used[-1])
    weights = matrix[0, first : last + 1]
    for divisor in range(1, 65):
        scaled = weights * divisor
        if bool(((scaled - scaled.round()).abs() < _NEAR * divisor).all()):
            taps = tuple(int(v) for v in scaled.round())
            end = (len(matrix) - 1) * stride + last + 1
            return Sliding(taps, 1, stride, -first, end - matrix.shape[1], divisor)
    return None


def sliding(matrix: Tensor) -> Sliding | None:
    """Return the window equivalent to ``matrix`` ``[result, pixels]``; None if there is none."""
    count, size = matrix.shape
    found: Sliding | None = None
    if count == size:
        found = Sliding()
    elif count % size == 0:
        found = _upwards(size, count // size)
    elif size % count == 0:
        found = _downwards(matrix, size // count)
    if found is None or len(found.taps) > MAX_WINDOW:
        return None
    return found if torch.allclose(found.matrix(size), matrix, rtol=0, atol=_NEAR) else None


def linear(t: Translation) -> Value:
    """upsample_linear1d and upsample_bilinear2d."""
    windows = Windows(t, "self" if t.argument("input") is None else "input")
    t.in_shape("output_size")
    corners = bool(t.argument("align_corners"))
    axes = ["scales"] if len(t.shape) == 2 else ["scales_h", "scales_w"]
    given = t.argument("scale_factors") or [t.argument(name) for name in axes]
    scales = [None if v is None else _factor(v) for v in [*given, None][:2]]
    matrices = [
        torch.ops.aten.upsample_linear1d.default(
            torch.eye(n, dtype=torch.float64)[None], [m], corners, s
        )[0].mT
        for n, m, s in zip(t.shape_of(windows.tensor)[1:], windows.shape[1:], scales, strict=True)
    ]
    return interpolated(t, windows, matrices)


def _factor(value: Any) -> float:
    """Return a factor, which must be a number."""
    if not isinstance(value, (int, float)):
        raise Refusal("a factor that is computed", "give sizes or factors as numbers")
    return float(value)


def interpolated(t: Translation, windows: Windows, matrices: list[Tensor]) -> Computed:
    """Return the image of ``windows`` with its lines and columns multiplied by matrices."""
    tensor = windows.tensor
    found = [sliding(m) for m in matrices]
    for axis, matrix in enumerate(matrices, start=1):
        if matrix.shape[1] == 1 and bool((matrix == 1).all()):
            shape = list(t.shape_of(tensor))
            shape[axis] = len(matrix)
            repeated = t.broadcast(Computed(tensor), tuple(shape))
            tensor = t.build.tensor(repeated, t.location, t.dtype)
            found[axis - 1] = Sliding()
        elif found[axis - 1] is None:
            tensor = _multiplied(t, tensor, matrix, axis)
            found[axis - 1] = Sliding()
    lines, columns = (f or Sliding() for f in found)
    if (lines, columns) == (Sliding(), Sliding()):
        return windows.held(tensor)
    if lines.edge or columns.edge:
        sides = ((0, 0), *((int(s.edge),) * 2 for s in (lines, columns)))
        places = np.pad(views.whole(t.shape_of(tensor)), sides, mode="edge")
        tensor = t.build.tensor(t.chosen(Computed(tensor), places), t.location, t.dtype)
    return windows.result(
        floating.Interpolate(
            **t.base(tensor, shape=windows.shape),
            lines=lines.taps,
            columns=columns.taps,
            factor=(lines.factor, columns.factor),
            stride=(lines.stride, columns.stride),
            padding=(lines.before, columns.before, lines.after, columns.after),
            divisor=lines.divisor * columns.divisor,
        )
    )


def _multiplied(t: Translation, tensor: str, matrix: Tensor, axis: int) -> str:
    """Multiply the pixels along an axis by a matrix: one channel per row, which then become
    pixels."""
    count, size = matrix.shape
    if max(count, size) > MAX_WINDOW:
        raise Refusal(
            f"interpolation from {size} to {count} pixels, whose weights differ at every pixel",
            "use align_corners=False and a whole factor, or nearest-neighbour upsampling",
        )
    channels, *sides = t.shape_of(tensor)
    kernel = (size, 1) if axis == 1 else (1, size)
    rows = matrix.to(t.dtype).reshape(count, 1, *kernel).repeat(channels, 1, 1, 1)
    sides[axis - 1] = 1
    one: dict[str, Any] = {"stride": (1, 1), "padding": (0, 0, 0, 0), "bias": None}
    base = t.base(tensor, shape=(channels * count, *sides), part=f"axis{axis}")
    weight = t.derived(f"axis{axis}", rows)
    deep = t.build.add(floating.Conv2d(**base, weight=weight, groups=channels, **one))
    sides[axis - 1] = count
    factor = (count, 1) if axis == 1 else (1, count)
    base = t.base(deep, shape=(channels, *sides), part=f"pixels{axis}")
    return t.build.add(floating.DepthToSpace(**base, factor=factor))
