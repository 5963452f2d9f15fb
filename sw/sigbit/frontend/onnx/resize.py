"""Translation of Resize and Upsample: the nearest pixel, or linear interpolation."""

from collections.abc import Callable
from typing import Any

import numpy as np
from torch import Tensor
from torch.fx import Node as FxNode

from sigbit.frontend.moves import lattice
from sigbit.frontend.onnx.moves import Result, index_constant
from sigbit.frontend.onnx.trace import Call, View, aten

SIDE_MAX = 1 << 20
"""Maximum number of elements of a dimension."""

_POSITIONS: dict[str, Callable[[Any, int, int, float], Any]] = {
    "asymmetric": lambda x, n, m, scale: x / scale,
    "half_pixel": lambda x, n, m, scale: (x + 0.5) / scale - 0.5,
    "half_pixel_symmetric": lambda x, n, m, scale: (
        n / 2 * (1 - m / (scale * n)) + (x + 0.5) / scale - 0.5
    ),
    "pytorch_half_pixel": lambda x, n, m, scale: (
        x * 0.0 if scale * n == 1 else (x + 0.5) / scale - 0.5
    ),
    "align_corners": lambda x, n, m, scale: (
        x * 0.0 if scale * n == 1 else x * (n - 1) / (scale * n - 1)
    ),
}
"""Position of pixel x of m among n, by ONNX's names; ``scale`` is the one given, not m / n."""
_NEAREST: dict[str, Callable[[Any], Any]] = {
    "round_prefer_floor": lambda x: np.ceil(x - 0.5),
    "round_prefer_ceil": lambda x: np.floor(x + 0.5),
    "floor": np.floor,
    "ceil": np.ceil,
}


def resize(c: Call) -> Result:
    """Resize and Upsample to the nearest pixel, or linearly between two."""
    mode = c.get("mode", "nearest")
    c.need(
        mode in ("nearest", "linear"),
        f"interpolation by mode {mode!r}",
        "use linear or nearest-neighbour upsampling",
    )
    old = c.node.op_type == "Upsample" or c.trace.opset < 11
    transform = "asymmetric" if old else c.get("coordinate_transformation_mode", "half_pixel")
    nearest = "floor" if old else c.get("nearest_mode", "round_prefer_floor")
    c.need(transform in _POSITIONS, f"coordinates by {transform!r}", "use 'asymmetric'")
    c.need(nearest in _NEAREST, f"nearest_mode {nearest!r}", f"use {', '.join(_NEAREST)}")
    if mode == "linear":
        return View.of(_linear(c, _POSITIONS[transform], _sizes(c, old)))
    node = c.computed()
    for axis, (before, (after, scale)) in enumerate(zip(c.shape(), _sizes(c, old), strict=True)):
        if before == after and scale == 1:
            continue
        c.need(0 < after <= SIDE_MAX, f"a resize to {after}", f"stay within {SIDE_MAX}")
        x = _POSITIONS[transform](np.arange(after), before, after, scale)
        index = np.clip(_NEAREST[nearest](x), 0, before - 1).astype(np.int64)
        c.need(
            lattice(index) is not None,
            f"a resize from {before} to {after} that repeats pixels unequally",
            "use integer factors",
        )
        node = c.emit(aten.index_select.default, node, axis, index_constant(c, index))
    return View.of(node)


def _linear(
    c: Call, position: Callable[[Any, int, int, float], Any], sizes: list[tuple[int, float]]
) -> FxNode:
    """Linear interpolation along the axes behind the channels."""
    shape = c.shape()
    same = all(n == m for n, (m, _) in zip(shape[:2], sizes[:2], strict=True))
    c.need(same and len(shape) in (3, 4), "interpolates between channels", "resize images")
    matrices = []
    for n, (m, scale) in zip(shape[2:], sizes[2:], strict=True):
        c.need(0 < m <= SIDE_MAX, f"a resize to {m}", f"stay within {SIDE_MAX}")
        x = np.clip(position(np.arange(m), n, m, scale), 0, n - 1)
        first = np.floor(x).astype(np.int64)
        matrix = np.zeros((m, n))
        np.add.at(matrix, (np.arange(m), first), 1 - (x - first))
        np.add.at(matrix, (np.arange(m), np.minimum(first + 1, n - 1)), x - first)
        matrices.append(matrix.tolist())
    return c.emit(interpolate, c.computed(), matrices)


def interpolate(x: Tensor, matrices: list[list[list[float]]]) -> Tensor:
    """Lines and columns, or steps, times matrices ``[result, pixels]``."""
    return x.new_empty((*x.shape[:2], *map(len, matrices)))


def _sizes(c: Call, old: bool) -> list[tuple[int, float]]:
    """Size and scale of the result along every axis."""
    shape, scales_at = c.shape(), 1 if old else 2
    axes = [c.axis(a) for a in c.get("axes", range(len(shape)))]
    if c.has(scales_at) and (scales := np.asarray(c.array(scales_at))).size:
        given = scales.astype(float).tolist()
    elif c.get("scales") is not None:
        given = [float(s) for s in c.get("scales")]
    else:
        policy = c.get("keep_aspect_ratio_policy", "stretch")
        c.need(policy == "stretch", "a size by aspect ratio", "give sizes or scales")
        target = dict(zip(axes, c.ints(3), strict=True))
        return [(m := target.get(a, n), m / n) for a, n in enumerate(shape)]
    if c.has(3):
        c.need(not np.asarray(c.array(3)).size, "both scales and sizes", "give one of them")
    factor = dict(zip(axes, given, strict=True))
    c.need(min(given, default=1) > 0, f"scales {given}", "use scales above 0")
    return [(int(np.floor(n * factor.get(a, 1))), factor.get(a, 1.0)) for a, n in enumerate(shape)]
