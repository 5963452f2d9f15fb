"""Parts of a Program: ports, layers, and the metadata that the host needs."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sigbit_hw.arch import images, isa
from sigbit_hw.arch.axes import Axes
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import check_finite, round_half_away
from sigbit_hw.arch.host import HostPart
from sigbit_hw.arch.preprocessing import ImagePreprocessing
from sigbit_tools.errors import SigbitError


class ProgramError(SigbitError):
    """Error in a Program file or its use; the message is for the user."""


@dataclass(frozen=True)
class Fold:
    """Sliding windows laid out as channels, so that a layer of few channels fills the lanes.

    Pixel (y, x) of the folded tensor holds, as channel ``(ky * kernel[1] + kx) * C + c``, channel c
    of pixel ``(y * stride[0] + ky * dilation[0] - top, x * stride[1] + kx * dilation[1] - left)``,
    or the real value 0 outside the image. ``padding`` is (top, left, bottom, right).
    """

    kernel: tuple[int, int]
    stride: tuple[int, int]
    padding: tuple[int, int, int, int]
    dilation: tuple[int, int] = (1, 1)

    def shape(self, shape: tuple[int, int, int]) -> tuple[int, int, int]:
        """The folded shape of ``(C, H, W)``."""
        c, *size = shape
        height, width = (
            (n + p + q - (k - 1) * d - 1) // s + 1
            for n, p, q, k, s, d in zip(
                size,
                self.padding[:2],
                self.padding[2:],
                self.kernel,
                self.stride,
                self.dilation,
                strict=True,
            )
        )
        return c * self.kernel[0] * self.kernel[1], height, width

    def apply(self, x: NDArray[Any], padding_value: int) -> NDArray[Any]:
        """``x`` ``[C, H, W]`` folded."""
        _, height, width = self.shape((x.shape[0], x.shape[1], x.shape[2]))
        top, left, bottom, right = self.padding
        x = np.pad(x, ((0, 0), (top, bottom), (left, right)), constant_values=padding_value)
        taps = [
            x[
                :,
                ky * self.dilation[0] :: self.stride[0],
                kx * self.dilation[1] :: self.stride[1],
            ][:, :height, :width]
            for ky in range(self.kernel[0])
            for kx in range(self.kernel[1])
        ]
        return np.concatenate(taps)


@dataclass(frozen=True)
class Port:
    """A tensor in the DMA window: the network's input or an output.

    ``real value = scale * (stored + zero)``. The bytes at ``offset`` are slots in the order
    ``[row][plane][channel slot][column phase][column // phases]``, dense; a slot holds ``ic_lanes``
    channels of one pixel, digit ``plane`` of the stored integer in the native activation format.
    With ``fold`` they hold the folded tensor (inputs only). A Program of several images has them
    one behind the other.

    ``axes`` are those of the array that the network's user gives for an input; what the user gets
    of an output is a :class:`ModelOutput`.
    """

    name: str
    shape: tuple[int, int, int]
    offset: int
    planes: int
    phases: int
    scale: float
    zero: int
    low: int
    high: int
    fold: Fold | None = None
    axes: Axes = Axes.IMAGE

    @property
    def own_shape(self) -> tuple[int, ...]:
        """Shape of one sample as the network's user gives it."""
        return self.axes.shape(self.shape)

    @property
    def packed_shape(self) -> tuple[int, int, int]:
        """Shape as stored in memory, folded if the port has a fold."""
        return self.fold.shape(self.shape) if self.fold else self.shape

    def slots(self, config: ArchConfig) -> tuple[int, int, int, int, int]:
        """Extents ``(rows, planes, channel slots, phases, columns of a phase)``."""
        c, h, w = self.packed_shape
        return h, self.planes, -(-c // config.ic_lanes), self.phases, -(-w // self.phases)

    def bytes(self, config: ArchConfig) -> int:
        """Size in bytes, padded to whole beats."""
        return images.beats(prod(self.slots(config)) * config.slot_bytes, config) * config.bus_bytes

    def quantize(self, x: ArrayLike) -> NDArray[np.int64]:
        """Quantize real inputs ``[N, *own_shape]`` to stored integers ``[N, C, H, W]``: nearest,
        ties away from zero, clipped to [low, high]."""
        x = np.asarray(x, np.float64)
        self._check_shape(x)
        try:
            check_finite(x, self.name)
        except ValueError as error:
            raise ProgramError(str(error)) from None
        scaled = x / self.scale - self.zero
        stored = round_half_away(scaled).clip(self.low, self.high).astype(np.int64)
        return self.axes.to_stored(stored, self.shape)

    def arranged(self, stored: NDArray[np.int64]) -> NDArray[np.int64]:
        """Stored integers ``[N, C, H, W]`` of stored integers ``[N, *own_shape]``."""
        self._check_shape(stored)
        return self.axes.to_stored(stored, self.shape)

    def clipped(self, x: ArrayLike) -> float:
        """The share of the real inputs ``x`` that :meth:`quantize` clips, among those that are not
        0, as borders and backgrounds are."""
        x = np.asarray(x, np.float64)
        scaled = x / self.scale - self.zero
        outside = (scaled < self.low - 0.5) | (scaled > self.high + 0.5)
        return float(outside.sum() / max(1, np.count_nonzero(x)))

    def _check_shape(self, x: NDArray[Any]) -> None:
        if x.ndim == 0 or x.shape[1:] != self.own_shape or not len(x):
            raise ProgramError(
                f"{self.name} must have shape [N, {', '.join(map(str, self.own_shape))}] (N "
                f"samples of {self.axes.replace(' ', ', ')}) with N >= 1, not {list(x.shape)}"
            )

    def dequantize(self, stored: ArrayLike) -> NDArray[np.float64]:
        """Return the real values of stored integers."""
        return self.scale * (np.asarray(stored, np.float64) + self.zero)

    def pack(self, stored: ArrayLike, config: ArchConfig) -> NDArray[np.uint8]:
        """Return the bytes of stored integers ``[C, H, W]``, padded with zero values to whole
        slots, phases and beats."""
        h, planes, blocks, phases, columns = self.slots(config)
        c, _, w = self.packed_shape
        full = np.zeros((blocks * config.ic_lanes, h, phases * columns), np.int64)
        stored = np.asarray(stored, np.int64)
        full[:c, :, :w] = self.fold.apply(stored, -self.zero) if self.fold else stored
        codes = config.act_grid(planes).encode(full)
        codes = codes.reshape(planes, blocks, config.ic_lanes, h, columns, phases)
        data = images.pack_slots(
            codes.transpose(3, 0, 1, 5, 4, 2).reshape(-1, config.ic_lanes), config
        )
        return np.pad(data, (0, self.bytes(config) - data.size))

    def unpack(self, data: NDArray[np.uint8], config: ArchConfig) -> NDArray[np.int64]:
        """Stored integers ``[C, H, W]`` (folded: :attr:`packed_shape`) of :meth:`pack`'s bytes."""
        h, planes, blocks, phases, columns = self.slots(config)
        c, _, w = self.packed_shape
        used = planes * blocks * phases * h * columns * config.slot_bytes
        codes = images.unpack_slots(data[:used], config)
        codes = codes.reshape(h, planes, blocks, phases, columns, config.ic_lanes)
        codes = codes.transpose(1, 2, 5, 0, 4, 3)
        codes = codes.reshape(planes, blocks * config.ic_lanes, h, columns * phases)[:, :c, :, :w]
        return config.act_grid(planes).decode(codes)


@dataclass(frozen=True)
class LayerInfo:
    """Type and origin of a layer; ``macs`` is the number of multiply-accumulates times term pairs.
    ``weights``: its digits are those of weights, by which a later layer multiplies."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    planes: int
    scale: float
    zero: int
    macs: int
    source: str = ""
    weights: bool = False


@dataclass(frozen=True)
class ExecInfo:
    """The part of a layer's output that the ``EXEC`` at ``index`` writes: ``channels`` channels
    from ``channel`` on (None: as many as it writes, up to the layer's last); of the pixels, in this
    order, ``rows`` lines of ``columns``, from (``y``, ``x``) on, ``step`` = (dy, dx) apart. In
    every line the columns of ``images`` images, from ``image`` on, follow each other."""

    index: int
    layer: str
    channel: int
    y: int
    x: int
    rows: int
    columns: int
    step: tuple[int, int] = (1, 1)
    image: int = 0
    channels: int | None = None
    images: int = 1


@dataclass(frozen=True)
class ModelOutput:
    """Result of the network, or input of its host part: the output port ``port`` as an array
    of these axes, under a name of its own. Several may come of one port."""

    name: str
    port: str
    axes: Axes = Axes.IMAGE


@dataclass(frozen=True)
class ProgramParts:
    """A compiled network in its memory layout.

    A run takes ``images`` images: image i of a port lies i times the port's size after its offset.
    ``results`` are the accelerator's outputs as the network has them, in its order; if absent, each
    output port under its own name. The network returns them, or, where ``host`` has steps, what
    those make of them. ``preprocessing`` describes how images become the input, and ``classes``
    names the channels of the outputs that have as many, where known.

    ``states`` are tensors that a run reads and overwrites with those of the next run, image by
    image, as far as a Program of several images has as many independent ones; ``initial`` are their
    stored integers ``[C, H, W]`` before the first run, by name.
    """

    name: str
    config: ArchConfig
    instructions: NDArray[np.uint8]
    image: NDArray[np.uint8]
    image_offset: int
    program_offset: int
    memory_bytes: int
    write_window: tuple[int, int]
    inputs: tuple[Port, ...]
    outputs: tuple[Port, ...]
    layers: tuple[LayerInfo, ...]
    execs: tuple[ExecInfo, ...]
    images: int = 1
    host: HostPart = field(default_factory=HostPart)
    vectors: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    results: tuple[ModelOutput, ...] = ()
    preprocessing: ImagePreprocessing | None = None
    classes: tuple[str, ...] = ()
    states: tuple[Port, ...] = ()
    initial: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not self.results:
            results = tuple(ModelOutput(port.name, port.name) for port in self.outputs)
            object.__setattr__(self, "results", results)

    def initial_states(self) -> Iterator[tuple[str, slice, NDArray[np.uint8]]]:
        """Yield name, place in the DMA window and initial bytes of every state, those of all images
        together."""
        for port in self.states:
            data = np.tile(port.pack(self.initial[port.name], self.config), self.images)
            yield port.name, slice(port.offset, port.offset + data.size), data

    @property
    def returned(self) -> tuple[str, ...]:
        """Names of what the network returns."""
        return self.host.results if self.host else tuple(r.name for r in self.results)

    @cached_property
    def listing(self) -> list[isa.Instr]:
        """The decoded instructions."""
        return isa.unpack(self.instructions)
