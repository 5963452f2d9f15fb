"""Translation of pooling: windows of one size at one distance, or of several sizes in pieces."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from sigbit.frontend.aten.layers import MAX_STRIDE, Windows, check_window
from sigbit.frontend.moves import PIECES_MAX
from sigbit.frontend.translation import Translation
from sigbit.frontend.values import Computed, Refusal, Value
from sigbit.ir import floating
from sigbit.ir.floating import MAX_WINDOW, Padding

Pool = type[floating.AvgPool2d] | type[floating.MaxPool2d]


def max_pool(t: Translation) -> Value:
    """max_pool1d and max_pool2d; the forms with indices have two results."""
    windows = Windows(t, "self")
    if windows.pair(t.argument("dilation")) != (1, 1):
        raise Refusal(f"dilation {t.argument('dilation')} is not supported", "use dilation 1")
    kernel = windows.pair(t.argument("kernel_size"))
    given = t.argument("stride")
    stride = windows.pair(given) if given else kernel
    before = windows.pair(t.argument("padding"), 0)
    t.in_shape("ceil_mode")
    size = t.shape_of(windows.tensor)[1:]
    after = [
        max(p, (out - 1) * s + k - n - p)
        for p, out, s, k, n in zip(before, windows.shape[1:], stride, kernel, size, strict=True)
    ]
    padding = (*before, after[0], after[1])
    pool = fitted_max_pool(t, windows, kernel, stride, padding)
    return pool if _is_one(t) else (pool,)


def _is_one(t: Translation) -> bool:
    """Return whether an operation has one result."""
    return not isinstance(t.node.meta["val"], (list, tuple))


def fitted_max_pool(
    t: Translation,
    windows: Windows,
    kernel: tuple[int, int],
    stride: tuple[int, int],
    padding: Padding,
) -> Computed:
    """Return the maximum over the windows that fit the result's shape."""
    shape = windows.shape
    stride = check_window(kernel, stride, shape[1:])
    size = t.shape_of(windows.tensor)[1:]
    after = [
        k - n - start if out == 1 else end
        for end, out, k, n, start in zip(
            padding[2:], shape[1:], kernel, size, padding[:2], strict=True
        )
    ]
    return windows.result(
        floating.MaxPool2d(
            **t.base(windows.tensor, shape=shape),
            kernel=kernel,
            stride=stride,
            padding=(padding[0], padding[1], after[0], after[1]),
        )
    )


@dataclass(frozen=True)
class Run:
    """``count`` windows of ``size`` from ``start`` on, ``stride`` apart, each divided by
    ``divisor``."""

    start: int
    size: int
    stride: int
    count: int
    divisor: int


def runs(windows: Sequence[tuple[int, int, int]]) -> list[Run]:
    """Group windows (start, size, divisor) into few runs."""
    found: list[Run] = []
    for start, size, divisor in windows:
        last = found[-1] if found else None
        if last is not None and (last.size, last.divisor) == (size, divisor):
            step = start - (last.start + (last.count - 1) * last.stride)
            if step > 0 and (last.count == 1 or step == last.stride):
                found[-1] = Run(last.start, size, step, last.count + 1, divisor)
                continue
        found.append(Run(start, size, 1, 1, divisor))
    return found


def pieces(
    t: Translation, windows: Windows, kind: Pool, lines: list[Run], columns: list[Run]
) -> Computed:
    """Return a pooling whose windows are runs along lines and columns; several runs give a mosaic
    of pieces."""
    if len(lines) * len(columns) > PIECES_MAX:
        raise Refusal(
            f"pools windows of {len(lines)} x {len(columns)} kinds, at most {PIECES_MAX} work",
            "pool to a size that divides the image",
        )
    tensor, shape = windows.tensor, windows.shape
    size = t.shape_of(tensor)[1:]
    alone = len(lines) == len(columns) == 1
    names: list[str] = []
    places: list[tuple[int, int]] = []
    line = 0
    for vertical in lines:
        column = 0
        for horizontal in columns:
            part = "" if alone else f"piece{len(names)}"
            own = (shape[0], vertical.count, horizontal.count)
            kernel = (vertical.size, horizontal.size)
            stride = check_window(kernel, (vertical.stride, horizontal.stride), own[1:])
            ends = [r.start + (r.count - 1) * r.stride + r.size for r in (vertical, horizontal)]
            padding = (-vertical.start, -horizontal.start, ends[0] - size[0], ends[1] - size[1])
            fields: dict[str, Any] = t.base(tensor, shape=own, part=part)
            fields |= {"kernel": kernel, "stride": stride, "padding": padding}
            if kind is floating.AvgPool2d:
                fields["divisor"] = vertical.divisor * horizontal.divisor
            if alone:
                return windows.result(kind(**fields))
            names.append(t.build.add(kind(**fields)))
            places.append((line, column))
            column += horizontal.count
        line += vertical.count
    base = t.base(*names, shape=shape)
    return windows.result(floating.Mosaic(**base, places=tuple(places)))


def avg_pool(t: Translation) -> Value:
    """avg_pool1d and avg_pool2d; windows that count different numbers of pixels become pieces."""
    windows = Windows(t, "self")
    kernel = windows.pair(t.argument("kernel_size"))
    given = t.argument("stride")
    stride = windows.pair(given) if given else kernel
    padding = windows.pair(t.argument("padding"), 0)
    t.in_shape("ceil_mode")
    override, counted = t.argument("divisor_override"), bool(t.argument("count_include_pad"))
    axes = []
    for n, k, s, p, out in zip(
        t.shape_of(windows.tensor)[1:], kernel, stride, padding, windows.shape[1:], strict=True
    ):
        axes.append(_counted(n, k, s, p, p, out, counted, override is not None))
    return averaged(t, windows, axes, override)


def _counted(
    n: int, k: int, s: int, before: int, after: int, count: int, counted: bool, whole: bool
) -> list[tuple[int, int, int]]:
    """Return windows (start, size, divisor) along an axis of n pixels; windows that count their
    padding (``counted`` or ``whole``) extend into it."""
    found = []
    for i in range(count):
        start = i * s - before
        end = min(start + k, n + after)
        if (counted and end - start == k) or whole:
            found.append((start, k, k))
        else:
            inside = min(end, n) - max(start, 0)
            found.append((max(start, 0), inside, end - start if counted else inside))
    return found


def averaged(
    t: Translation,
    windows: Windows,
    axes: list[list[tuple[int, int, int]]],
    override: int | None = None,
) -> Computed:
    """Averages over windows (start, size, divisor) along lines and columns."""
    if override is not None:
        axes = [[(a, n, 1) for a, n, _ in axis] for axis in axes]
        axes[0] = [(a, n, int(override)) for a, n, _ in axes[0]]
    lines, columns = (runs(axis) for axis in axes)
    return pieces(t, windows, floating.AvgPool2d, lines, columns)


def adaptive_avg_pool(t: Translation) -> Value:
    """adaptive_avg_pool1d and adaptive_avg_pool2d."""
    return _adaptive(t, floating.AvgPool2d)


def adaptive_max_pool(t: Translation) -> Value:
    """adaptive_max_pool1d and adaptive_max_pool2d, whose second result is for gradients."""
    found = _adaptive(t, floating.MaxPool2d)
    return found if _is_one(t) else (found,)


def _adaptive(t: Translation, kind: Pool) -> Computed:
    windows = Windows(t, "self")
    t.in_shape("output_size")
    size, want = t.shape_of(windows.tensor)[1:], windows.shape[1:]
    if any(n % m and m % n for n, m in zip(size, want, strict=True)):
        axes = []
        for n, m in zip(size, want, strict=True):
            bounds = [(i * n // m, -(-(i + 1) * n // m)) for i in range(m)]
            axes.append(runs([(a, b - a, b - a) for a, b in bounds]))
        return pieces(t, windows, kind, axes[0], axes[1])
    kernel = (max(size[0] // want[0], 1), max(size[1] // want[1], 1))
    tensor = windows.tensor
    if kernel != (1, 1):
        tensor = blocks(t, tensor, kernel, kind)
    now = t.shape_of(tensor)[1:]
    if now == want:
        return windows.held(tensor)
    factor = (want[0] // now[0], want[1] // now[1])
    return windows.held(t.build.repeated(tensor, factor, t.location))


def blocks(
    t: Translation,
    tensor: str,
    kernel: tuple[int, int],
    kind: Pool,
    divisor: int | None = None,
) -> str:
    """Pool adjacent blocks; large ones in two stages, the first of which sums."""
    count = kernel[0] * kernel[1] if divisor is None else divisor
    if max(kernel) > MAX_WINDOW:
        parts = [-(-k // MAX_STRIDE) if k > MAX_WINDOW else k for k in kernel]
        first = (-(-kernel[0] // parts[0]), -(-kernel[1] // parts[1]))
        more = tuple(p * f - k for p, f, k in zip(parts, first, kernel, strict=True))
        size = t.shape_of(tensor)[1:]
        if any(m and n != k for m, n, k in zip(more, size, kernel, strict=True)):
            raise Refusal(
                f"blocks of {kernel} pixels, which no window of {MAX_WINDOW} divides",
                f"use kernels up to {MAX_WINDOW}x{MAX_WINDOW}",
            )
        tensor = _pooled(t, tensor, first, (0, 0, *more), kind, 1, "sums")
        kernel = (parts[0], parts[1])
        return blocks(t, tensor, kernel, kind, count)
    return _pooled(t, tensor, kernel, (0, 0, 0, 0), kind, count, "")


def _pooled(
    t: Translation,
    tensor: str,
    kernel: tuple[int, int],
    padding: tuple[int, ...],
    kind: Pool,
    divisor: int,
    part: str,
) -> str:
    channels, height, width = t.shape_of(tensor)
    shape = (channels, (height + padding[2]) // kernel[0], (width + padding[3]) // kernel[1])
    stride = check_window(kernel, kernel, shape[1:])
    fields: dict[str, Any] = t.base(tensor, shape=shape, part=part)
    fields |= {"kernel": kernel, "stride": stride, "padding": padding}
    if kind is floating.AvgPool2d:
        fields["divisor"] = divisor
    return t.build.add(kind(**fields))
