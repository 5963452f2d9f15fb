"""Translation of ONNX operators that only move elements."""

import operator
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx

from sigbit.frontend.onnx.trace import Call, Constant, OnnxValue, Quantized, View, aten
from sigbit.frontend.values import Refusal

Result = OnnxValue | tuple[OnnxValue, ...]


def _kept(c: Call, change: Callable[[View], View]) -> Result:
    """Apply a change of the view alone; integers on their way to DequantizeLinear may be moved,
    too."""
    value = c.value(0)
    if isinstance(value, Quantized):
        if value.quantizer.scale.numel() > 1:
            raise Refusal("moves values that are quantized by channel", "use one scale")
        return Quantized(change(value.tensor), value.quantizer, value.low, value.high)
    return change(c.view())


def transpose(c: Call) -> Result:
    """Transpose."""

    def change(view: View) -> View:
        order = c.get("perm") or reversed(range(len(view.axes)))
        return View(view.node, tuple(view.axes[a] for a in order))

    return _kept(c, change)


def unsqueeze(c: Call) -> Result:
    """Unsqueeze; axes are an attribute or the second operand."""
    axes = c.ints(1) if c.has(1) else tuple(c.get("axes"))

    def change(view: View) -> View:
        result = list(view.axes)
        rank = len(result) + len(axes)
        for axis in sorted(c.axis(a, rank) for a in axes):
            result.insert(axis, None)
        return View(view.node, tuple(result))

    return _kept(c, change)


def squeeze(c: Call) -> Result:
    """Squeeze; axes are an attribute, the second operand, or all but the first of size 1."""
    given = c.ints(1) if c.has(1) else tuple(c.get("axes", ()))

    def change(view: View) -> View:
        shape = view.shape
        axes = {c.axis(a, len(shape)) for a in given} or {
            a for a, n in enumerate(shape) if n == 1 and a
        }
        c.need(all(shape[a] == 1 for a in axes), f"axes {sorted(axes)} of {shape}", "mend the axes")
        return View(view.node, tuple(x for a, x in enumerate(view.axes) if a not in axes))

    return _kept(c, change)


def gather(c: Call) -> Result:
    """Gather with constant indices."""
    view, index = c.view(), np.asarray(c.array(1)).astype(np.int64)
    axis = c.axis(int(c.get("axis", 0)))
    size = view.shape[axis]
    index = np.where(index < 0, index + size, index)
    c.need(
        index.ndim <= 1 and bool(((index >= 0) & (index < size)).all()),
        f"indices of shape {index.shape} into {size} elements",
        "use one index, or a vector of indices that exist",
    )
    own = view.axes[axis]
    if index.ndim == 0:
        rest = (*view.axes[:axis], *view.axes[axis + 1 :])
        if own is None:
            return View(view.node, rest)
        node = c.emit(aten.select.int, view.node, own, int(index))
        return View(node, tuple(a if a is None else a - (a > own) for a in rest))
    if own is None:
        view, own = View.of(c.computed()), axis
    return View(
        c.emit(aten.index_select.default, view.node, own, index_constant(c, index)), view.axes
    )


def index_constant(c: Call, index: np.ndarray[Any, np.dtype[np.int64]]) -> Any:
    return c.trace.constant(Constant(f"{c.origin.name}.index", index))


def slices(c: Call) -> Result:
    """Slice; bounds are operands, or attributes."""
    if c.has(1):
        starts, ends = c.ints(1), c.ints(2)
        axes = c.ints(3) if c.has(3) else tuple(range(len(starts)))
        steps = c.ints(4) if c.has(4) else (1,) * len(starts)
    else:
        starts, ends = tuple(c.get("starts")), tuple(c.get("ends"))
        axes, steps = tuple(c.get("axes", range(len(starts)))), (1,) * len(starts)
    view = c.view()
    for axis, start, end, step in zip(axes, starts, ends, steps, strict=True):
        axis = c.axis(axis)
        count, own = view.shape[axis], view.axes[axis]
        chosen = range(
            *slice(start, end if step > 0 or end >= -count else None, step).indices(count)
        )
        if chosen == range(count):
            continue
        if own is None:
            raise Refusal(f"elements {start} to {end} of one", "mend the bounds")
        if step > 0:
            node = c.emit(aten.slice.Tensor, view.node, own, chosen.start, chosen.stop, step)
        else:
            index = index_constant(c, np.array(chosen, dtype=np.int64))
            node = c.emit(aten.index_select.default, view.node, own, index)
        view = View(node, view.axes)
    return view


def split(c: Call) -> Result:
    """Split; sizes are an attribute, the second operand, or equal."""
    axis = c.axis(int(c.get("axis", 0)))
    size, count = c.shape()[axis], len(c.node.output)
    each = -(-size // count)
    sizes = c.ints(1) if c.has(1) else tuple(c.get("split", ()))
    c.same("num_outputs", count)
    sizes = sizes or (*[each] * (count - 1), size - each * (count - 1))
    node = c.emit(aten.split_with_sizes.default, c.computed(), list(sizes), axis)
    return tuple(View.of(c.emit(operator.getitem, node, i)) for i in range(count))


def reshape(c: Call) -> Result:
    """Reshape to a constant shape."""
    shape, given = list(c.ints(1)), c.shape()
    if not c.get("allowzero", 0):
        shape = [given[i] if n == 0 else n for i, n in enumerate(shape)]
    return _viewed(c, shape)


def flatten(c: Call) -> Result:
    """Flatten."""
    rank, axis = len(c.shape()), int(c.get("axis", 1))
    axis = axis + rank if axis < 0 else axis
    shape = c.shape()
    first = int(np.prod(shape[:axis]))
    return _viewed(c, [first, int(np.prod(shape)) // first])


def _viewed(c: Call, shape: list[int]) -> Result:
    value = c.value(0)
    if isinstance(value, Quantized):
        c.need(
            value.quantizer.scale.numel() == 1, "moves values quantized by channel", "use one scale"
        )
        moved = c.emit(aten.reshape.default, c.applied(value.tensor), shape)
        return Quantized(View.of(moved), value.quantizer, value.low, value.high)
    return View.of(c.emit(aten.reshape.default, c.computed(), shape))


def expand(c: Call) -> Result:
    """Expand to a constant shape."""
    shape, given = c.ints(1), c.shape()
    rank = max(len(shape), len(given))
    both = [(1,) * (rank - len(s)) + tuple(s) for s in (shape, given)]
    return View.of(
        c.emit(aten.expand.default, c.computed(), [max(p) for p in zip(*both, strict=True)])
    )


def tile(c: Call) -> Result:
    """Tile with constant repeats."""
    return View.of(c.emit(aten.repeat.default, c.computed(), list(c.ints(1))))


def identity(c: Call) -> Result:
    """Identity, and Dropout, which has no effect."""
    if c.node.op_type == "Dropout":
        c.need(
            not (c.in_training() or (c.has(2) and c.number(2, 0))),
            "dropout that stays active in evaluation mode",
            "export in evaluation mode",
        )
    return c.value(0)


def cast(c: Call) -> Result:
    """Cast between float types; to 16 bits in models with 16-bit storage, which are read in 32."""
    _check_cast(c, int(c.get("to")))
    return c.value(0)


_FLOATS = (onnx.TensorProto.FLOAT, onnx.TensorProto.DOUBLE)


def _check_cast(c: Call, kind: int) -> None:
    name = onnx.TensorProto.DataType.Name(kind)
    c.need(
        kind in _FLOATS or kind in c.trace.narrow,
        f"a cast of a computed tensor to {name}",
        "cast to FLOAT, or store the whole model in 16 bits",
    )


def cast_like(c: Call) -> Result:
    """CastLike of a float tensor to a float type."""
    value = c.value(1)
    if isinstance(value, Constant):
        _check_cast(c, int(onnx.helper.np_dtype_to_tensor_dtype(value.array.dtype)))
    return c.value(0)


def depth_to_space(c: Call) -> Result:
    """DepthToSpace, in torch's channel order (CRD) or the other one (DCR)."""
    size, mode = int(c.get("blocksize")), c.get("mode", "DCR")
    batch, channels, height, width = c.shape()
    if mode == "CRD":
        return View.of(c.emit(aten.pixel_shuffle.default, c.computed(), size))
    c.need(mode == "DCR", f"mode {mode!r}", "use DCR or CRD")
    inner = [batch, size, size, channels // size**2, height, width]
    split = c.emit(aten.reshape.default, c.computed(), inner)
    turned = c.emit(aten.permute.default, split, [0, 3, 4, 1, 5, 2])
    whole = [batch, channels // size**2, height * size, width * size]
    return View.of(c.emit(aten.reshape.default, turned, whole))


def space_to_depth(c: Call) -> Result:
    """SpaceToDepth."""
    size = int(c.get("blocksize"))
    batch, channels, height, width = c.shape()
    inner = [batch, channels, height // size, size, width // size, size]
    split = c.emit(aten.reshape.default, c.computed(), inner)
    turned = c.emit(aten.permute.default, split, [0, 3, 5, 1, 2, 4])
    whole = [batch, channels * size**2, height // size, width // size]
    return View.of(c.emit(aten.reshape.default, turned, whole))


def concat(c: Call) -> Result:
    """Concat."""
    nodes = [c.operand(i) for i in range(len(c.node.input))]
    if len(nodes) == 1:
        return c.value(0)
    return View.of(c.emit(aten.cat.default, nodes, c.axis(int(c.get("axis", 1)))))


def shape_of(c: Call) -> Result:
    """Shape, which is known; the batch is the placeholder size."""
    shape = c.shape()[c.get("start") : c.get("end")]
    return Constant(f"{c.origin.name}.shape", np.array(shape, np.int64))
