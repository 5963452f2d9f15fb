"""Convolutions with operands in one memory layout, NCHW, for any strides.

On a CPU, torch passes a convolution to oneDNN in the layout suggested by its operands' strides, and
some of oneDNN's kernels for channels-last operands write past their buffers
(``docs/troubleshooting.md``). Not only channels-last networks have channels-last operands: images
of one channel and kernels of 1x1 have dimensions of size 1, whose strides carry no information, and
torch may infer either layout from them.

This package's own layers call :func:`conv2d` and :func:`conv_transpose2d`. Code that runs a
third-party module does so inside :func:`row_major_convolutions`. The backward pass is safe too: it
reads the operands that the forward pass has kept, and the gradient of a gradient only uses forward
convolutions, which none of those kernels implements.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

_CONVOLUTIONS = frozenset(
    {
        *(f"conv{n}d" for n in (1, 2, 3)),
        *(f"conv_transpose{n}d" for n in (1, 2, 3)),
        *("convolution", "_convolution", "mkldnn_convolution"),
    }
)
"""Names of torch's convolution functions, without overloads."""
_ACTIVE: ContextVar[bool] = ContextVar("row_major_convolutions", default=False)


def row_major(tensor: Tensor) -> Tensor:
    """Return ``tensor`` with the strides of a row-major array, also in dimensions of size 1:
    itself, or a copy (``contiguous`` would not copy for such dimensions alone). Tensors on devices
    other than CPUs are returned unchanged."""
    if tensor.device.type != "cpu" or tensor.stride() == _strides(tensor.shape):
        return tensor
    return tensor.clone(memory_format=torch.contiguous_format)


def _strides(shape: Sequence[int]) -> tuple[int, ...]:
    strides, size = [], 1
    for extent in reversed(shape):
        strides.append(size)
        size *= extent
    return tuple(reversed(strides))


def conv2d(
    x: Tensor,
    weight: Tensor,
    bias: Tensor | None = None,
    stride: int | tuple[int, int] = 1,
    padding: int | tuple[int, int] = 0,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """``torch.nn.functional.conv2d`` with row-major operands."""
    return F.conv2d(row_major(x), row_major(weight), bias, stride, padding, dilation, groups)


def conv_transpose2d(
    x: Tensor,
    weight: Tensor,
    stride: int | tuple[int, int] = 1,
    dilation: int | tuple[int, int] = 1,
    groups: int = 1,
) -> Tensor:
    """``torch.nn.functional.conv_transpose2d`` with row-major operands, without bias and
    padding."""
    return F.conv_transpose2d(
        row_major(x), row_major(weight), stride=stride, groups=groups, dilation=dilation
    )


class _RowMajor(TorchFunctionMode):
    """Context that passes row-major operands to torch's convolutions."""

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        if getattr(func, "__name__", "").partition(".")[0] in _CONVOLUTIONS:
            args = tuple(map(_operand, args))
            kwargs = {name: _operand(value) for name, value in kwargs.items()}
        return func(*args, **kwargs)


def _operand(value: Any) -> Any:
    return row_major(value) if isinstance(value, Tensor) else value


@contextmanager
def row_major_convolutions() -> Iterator[None]:
    """A context, or decorator, in which every torch convolution called from Python has row-major
    operands, however a module's ``forward`` calls it. Nesting has no effect. Compiled modules call
    convolutions elsewhere: :func:`compiled_part` finds them."""
    if _ACTIVE.get():
        yield
        return
    token = _ACTIVE.set(True)
    try:
        with _RowMajor():
            yield
    finally:
        _ACTIVE.reset(token)


def compiled_part(model: nn.Module) -> str | None:
    """Return the name of a part of ``model`` that ``torch.jit`` or ``torch.compile`` has compiled,
    which chooses memory layouts by itself ("" for the model itself); None if there is none."""
    for name, module in model.named_modules():
        scripted = isinstance(module, torch.jit.ScriptModule)
        if scripted or module._compiled_call_impl is not None or hasattr(module, "_orig_mod"):
            return name
    return None
