"""Operands of convolutions are row-major, whoever asks and however."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from signal import SIGABRT, SIGSEGV

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from sigbit.bench.convolutions.fence import environment
from sigbit.bench.convolutions.shapes import Limit
from sigbit.ir.convolution import (
    compiled_part,
    conv2d,
    conv_transpose2d,
    row_major,
    row_major_convolutions,
)

pytestmark = pytest.mark.slow

LAST = torch.channels_last


def strides(shape: tuple[int, ...]) -> tuple[int, ...]:
    return torch.empty(shape).stride()


@st.composite
def strided(draw: st.DrawFn) -> Tensor:
    """A tensor of 3 or 4 dimensions, some of them 1, in any order of its elements, with holes, or
    with meaningless strides where there is one element."""
    shape = draw(st.lists(st.integers(1, 3), min_size=3, max_size=4))
    order = draw(st.permutations(range(len(shape))))
    step = draw(st.integers(1, 2))
    sizes = [shape[i] for i in order]
    base = torch.arange(step * torch.Size(sizes).numel()).float()[::step].view(sizes)
    x = base.permute([order.index(i) for i in range(len(shape))])
    odd = draw(st.integers(0, 7))
    return x.as_strided(
        shape, [odd if n == 1 else s for n, s in zip(shape, x.stride(), strict=True)]
    )


@given(strided())
def test_row_major(x: Tensor) -> None:
    y = row_major(x)
    assert torch.equal(x, y)
    assert y.stride() == strides(tuple(x.shape))
    assert (y is x) == (x.stride() == y.stride())


def test_one_channel_is_ambiguous() -> None:
    """Why ``contiguous`` does not do: torch says that such a tensor is, and convolves it
    channels-last, as the result's strides show."""
    x = torch.randn(4, 8, 8, 1).permute(0, 3, 1, 2)
    weight = torch.randn(8, 1, 3, 3)
    assert x.contiguous().stride() == (64, 1, 8, 1)
    assert F.conv2d(x.contiguous(), weight).stride() == (288, 1, 48, 8)
    assert conv2d(x, weight).stride() == (288, 36, 6, 1)


@pytest.mark.parametrize("last", ["x", "weight", "both"])
def test_functions(last: str) -> None:
    """Values and gradients are those of row-major operands, bit for bit."""
    x, weight = torch.randn(2, 4, 6, 6), torch.randn(8, 4, 3, 3)
    for function in (conv2d, lambda x, w: conv_transpose2d(x, w.transpose(0, 1))):
        found = []
        for formats in (
            (None, None),
            (LAST if last != "weight" else None, LAST if last != "x" else None),
        ):
            a, b = (
                t.clone(memory_format=f or torch.contiguous_format).requires_grad_()
                for t, f in zip((x, weight), formats, strict=True)
            )
            y = function(a, b)
            y.square().sum().backward()
            assert a.grad is not None
            assert b.grad is not None
            found.append((y, a.grad, b.grad))
        assert all(torch.equal(p, q) for p, q in zip(*found, strict=True))
        assert all(y.is_contiguous() for y, _, _ in found)


class Free(nn.Module):
    """A convolution in the user's own words."""

    def __init__(self, function: Callable[[Tensor, Tensor], Tensor]) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(4, 4, 3, 3))
        self.function = function

    def forward(self, x: Tensor) -> Tensor:
        return self.function(x, self.weight)


def aten(x: Tensor, weight: Tensor) -> Tensor:
    y: Tensor = torch.ops.aten.convolution.default(
        x, weight, None, [1, 1], [0, 0], [1, 1], False, [0, 0], 1
    )
    return y


WAYS: dict[str, Callable[[], nn.Module]] = {
    "module": lambda: nn.Conv2d(4, 4, 3),
    "same padding": lambda: nn.Conv2d(4, 4, 3, padding="same", padding_mode="reflect"),
    "transposed": lambda: nn.ConvTranspose2d(4, 4, 3),
    "functional": lambda: Free(F.conv2d),
    "keywords": lambda: Free(lambda x, w: torch.conv2d(weight=w, input=x)),
    "aten": lambda: Free(aten),
    "packet": lambda: Free(torch.ops.aten.conv2d),
    "traced": lambda: torch.fx.symbolic_trace(nn.Sequential(nn.Conv2d(4, 4, 3))),
    "exported": lambda: torch.export.export(
        nn.Sequential(nn.Conv2d(4, 4, 3)), (torch.randn(2, 4, 6, 6),)
    ).module(),
}


@pytest.mark.parametrize("way", WAYS)
def test_every_way_to_ask(way: str) -> None:
    model = WAYS[way]().to(memory_format=LAST)
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=LAST)
    assert model(x).is_contiguous(memory_format=LAST)  # control: as torch has it
    with row_major_convolutions():
        with row_major_convolutions():
            assert model(x).is_contiguous()
        assert model(x).is_contiguous()
    assert model(x).is_contiguous(memory_format=LAST)


def test_sequences() -> None:
    layer, x = nn.Conv1d(1, 4, 3), torch.randn(2, 9, 1).transpose(1, 2)
    seen: list[Tensor] = []
    layer.register_forward_hook(lambda module, given, y: seen.append(y))
    with row_major_convolutions():
        layer(x)
    assert torch.allclose(seen[0], layer(x.clone()), atol=1e-6)


def test_a_thread_has_its_own() -> None:
    x = torch.randn(2, 4, 6, 6).contiguous(memory_format=LAST)
    layer, found = nn.Conv2d(4, 4, 3), []
    with row_major_convolutions():
        other = threading.Thread(target=lambda: found.append(layer(x).is_contiguous()))
        other.start()
        other.join()
    assert found == [False]


def test_compiled_parts() -> None:
    plain = nn.Sequential(nn.Conv2d(1, 1, 1))
    assert compiled_part(plain) is None
    assert compiled_part(nn.Sequential(torch.jit.script(plain))) == "0"
    assert compiled_part(torch.compile(plain)) == ""
    plain[0].compile()
    assert compiled_part(plain) == "0"


PRODUCT = """
import torch
import torch.nn.functional as F
from sigbit.ir.convolution import conv2d
torch.set_num_threads(1)
for inputs in range(1, 8):
    for outputs in (8, 16):
        x = torch.randn(32, 8, 8, inputs).permute(0, 3, 1, 2).requires_grad_()
        weight = torch.randn(outputs, inputs, 1, 1, requires_grad=True)
        for _ in range(20):
            conv2d(x, weight, stride=2).sum().backward()
"""


def checked(code: str) -> subprocess.CompletedProcess[str]:
    """Python where a write past a buffer ends the process, AVX2 at most."""
    return subprocess.run(
        [sys.executable, "-c", code],
        env={**environment(Limit.AVX2), "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=False,
    )


def test_nothing_is_written_past_a_buffer() -> None:
    """1 to 7 channels, 1x1, stride 2, channels-last: what crashes in torch alone."""
    done = checked(PRODUCT)
    assert done.returncode == 0, done.stderr
    executed = [line for line in done.stdout.splitlines() if "backward_weights" in line]
    assert executed
    assert not [line for line in executed if "src:f32::blocked:acdb" in line]


def test_control_torch_alone_takes_the_kernel() -> None:
    done = checked(PRODUCT.replace("conv2d(x", "F.conv2d(x", 1))
    made = [line for line in done.stdout.splitlines() if "backward_weights" in line]
    assert made
    assert all("src:f32::blocked:acdb" in line for line in made)


BYTES = """
import ctypes
libc, block = ctypes.CDLL(None), ctypes.c_void_p()
assert libc.posix_memalign(ctypes.byref(block), 64, {size}) == 0
ctypes.memset(block.value + {offset}, 0, 1)
libc.free(block)
"""


@pytest.mark.parametrize(
    ("size", "offset", "signal"),
    [
        (100, 99, 0),
        (100, 100, SIGABRT),
        (100, 128, SIGSEGV),
        (8192, 8192, SIGSEGV),
        (1, -1, SIGABRT),
    ],
)
def test_control_a_byte_past_a_block_is_noticed(size: int, offset: int, signal: int) -> None:
    """At once, or by ``free``: what lies before it, and behind it where its alignment ends."""
    assert checked(BYTES.format(size=size, offset=offset)).returncode == -signal
