"""The process that computes convolutions: each shape in a fork of it, which may crash.

Run as ``python -m sigbit.bench.convolutions.probe``: a JSON object with the fields of
:class:`Order` on standard input, one of :class:`Trial` per line on standard output.
"""

import dataclasses
import json
import os
import re
import resource
import signal
import sys
import tempfile
import traceback
from dataclasses import dataclass
from enum import StrEnum

import torch
import torch.nn.functional as F
from torch import Tensor

from sigbit.bench.convolutions.shapes import IMAGES, SIDE, Shape
from sigbit.ir.convolution import conv2d, row_major

BUSY, IDLE = 10, 120
"""Seconds of processor time, and of wall time, after which a convolution that takes milliseconds is
considered to hang: threads that overwrite each other's memory wait for each other, in a loop or
asleep."""
REPEATS = 3
_MADE = re.compile(r"^onednn_verbose,.*,create:\w+,cpu,convolution,([^,]+),([^,]+),", re.M)


class Layout(StrEnum):
    """The memory layout of the input, and the library that computes the convolution."""

    NCHW = "NCHW"
    CHANNELS_LAST = "channels-last"
    GUARDED = "channels-last, through sigbit.ir.convolution"


@dataclass(frozen=True)
class Order:
    """Shapes to try, and their conditions."""

    layout: Layout
    threads: int
    shapes: tuple[Shape, ...]


@dataclass(frozen=True)
class Trial:
    """Result of a shape.

    Parameters
    ----------
    shape : Shape
        The convolution.
    error : float or None
        Largest difference from float64 of output, input gradient and weight gradient, each
        relative to its largest magnitude; None if it crashed.
    crash : str
        The signal that ended the process, or "".
    kernels : tuple of str
        oneDNN's implementation and pass of each convolution, in the order in which they begin.
    """

    shape: Shape
    error: float | None
    crash: str
    kernels: tuple[str, ...]


def trial(layout: Layout, threads: int, shape: Shape) -> Trial:
    """Compute a convolution in a fork of this process, which must not have computed any itself."""
    with tempfile.TemporaryFile() as said:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                os.dup2(said.fileno(), 1)
                os.dup2(said.fileno(), 2)
                resource.setrlimit(resource.RLIMIT_CPU, (BUSY, BUSY + 1))
                signal.alarm(IDLE)
                torch.set_num_threads(threads)
                os.write(writer, repr(_error(layout, shape)).encode())
            except BaseException:
                traceback.print_exc()
            finally:
                os._exit(1)  # without this process's exit handlers
        os.close(writer)
        with os.fdopen(reader) as answers:
            answer = answers.read()
        _, status = os.waitpid(child, 0)
        said.seek(0)
        log = said.read().decode(errors="replace")
    crash = signal.Signals(os.WTERMSIG(status)).name if os.WIFSIGNALED(status) else ""
    if not crash and not answer:
        raise RuntimeError(f"{shape}: {log}")
    kernels = dict.fromkeys(f"{kernel} {which}" for kernel, which in _MADE.findall(log))
    return Trial(shape, None if crash else float(answer), crash, tuple(kernels))


def _error(layout: Layout, shape: Shape) -> float:
    random = torch.Generator().manual_seed(0)
    kernel = (shape.outputs, shape.inputs // shape.groups, shape.kernel, shape.kernel)
    x = torch.randn(IMAGES, shape.inputs, SIDE, SIDE, generator=random)
    weight = torch.randn(kernel, generator=random)
    exact = _passes(Layout.NCHW, shape, x.double(), weight.double())
    x = row_major(x) if layout is Layout.NCHW else _channels_last(x)
    found = [_passes(layout, shape, x, weight) for _ in range(REPEATS)]
    return max(
        float((a.double() - b).abs().max() / b.abs().max())
        for one in found
        for a, b in zip(one, exact, strict=True)
    )


def _channels_last(x: Tensor) -> Tensor:
    """``x`` in the order [N, H, W, C], with the strides of that order even if C is 1."""
    return x.permute(0, 2, 3, 1).clone(memory_format=torch.contiguous_format).permute(0, 3, 1, 2)


def _passes(
    layout: Layout, shape: Shape, x: Tensor, weight: Tensor
) -> tuple[Tensor, Tensor, Tensor]:
    """Output, input gradient and weight gradient."""
    function = conv2d if layout is Layout.GUARDED else F.conv2d
    x, weight = x.detach().requires_grad_(), weight.detach().requires_grad_()
    y = function(x, weight, None, shape.stride, shape.padding, 1, shape.groups)
    random = torch.Generator().manual_seed(1)
    gradient = torch.randn(y.shape, generator=random).to(y.dtype)
    y.backward(gradient)
    assert x.grad is not None
    assert weight.grad is not None
    return y.detach(), x.grad, weight.grad


def main() -> None:
    """Execute the order on standard input."""
    document = json.load(sys.stdin)
    made = tuple(Shape(**shape) for shape in document["shapes"])
    order = Order(Layout(document["layout"]), document["threads"], made)
    torch.set_num_threads(1)  # no other thread may exist before a fork
    one = torch.ones(1, requires_grad=True)
    one.backward(torch.ones(1))  # imports the dependencies of backward, once for all forks
    for shape in order.shapes:
        print(json.dumps(dataclasses.asdict(trial(order.layout, order.threads, shape))), flush=True)


if __name__ == "__main__":
    main()
