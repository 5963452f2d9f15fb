"""The convolutions that are tested, and the instruction sets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

KERNELS = (1, 2, 3, 4, 5)
STRIDES = (1, 2, 3)
MOST_CHANNELS = 16
IMAGES, SIDE = 4, 24
"""Images per batch, and their height and width: multiples of every stride, which oneDNN requires
for copying a strided input, and large enough that it does so block by block."""


class Limit(StrEnum):
    """The largest instruction set that oneDNN may use, as in ``DNNL_MAX_CPU_ISA``; ``DEFAULT`` is
    everything that the processor has."""

    SSE41 = "SSE41"
    AVX = "AVX"
    AVX2 = "AVX2"
    AVX512_CORE = "AVX512_CORE"
    DEFAULT = "DEFAULT"


@dataclass(frozen=True)
class Shape:
    """A convolution of ``inputs`` to ``outputs`` channels in ``groups``, with square ``kernel`` and
    ``stride``; odd kernels keep the size at stride 1, even ones have no padding."""

    inputs: int
    outputs: int
    kernel: int
    stride: int
    groups: int

    @property
    def padding(self) -> int:
        """Zeros on every side."""
        return self.kernel // 2 if self.kernel % 2 else 0

    def __str__(self) -> str:
        groups = f" in {self.groups} groups" if self.groups > 1 else ""
        return f"{self.inputs} to {self.outputs}{groups}, {self.kernel}x{self.kernel}/{self.stride}"


def shapes(channels: Sequence[int] = range(1, MOST_CHANNELS + 1)) -> Iterator[Shape]:
    """Every kernel and stride for these numbers of input channels: dense (8 and 16 outputs, one
    block of channels of AVX2 and of AVX-512), in two groups, and depthwise."""
    for inputs in channels:
        outputs = [(8, 1), (16, 1)]
        if inputs % 2 == 0:
            outputs.append((16, 2))
        if inputs > 2:
            outputs.append((inputs, inputs))
        for kernel in KERNELS:
            for stride in STRIDES:
                yield from (Shape(inputs, o, kernel, stride, g) for o, g in outputs)
