"""The Program container: one file with everything a device needs to run a network.

A safetensors file: arrays ``instructions`` (bytes), ``image`` (constant bytes of the DMA window)
and optional test vectors ``vector.*``; its metadata hold one JSON document under ``sigbit`` and a
SHA-256 over the content.
"""

import hashlib
import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sigbit_hw.arch import images, isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import check_finite, round_half_away
from sigbit_hw.arch.names import shown
from sigbit_hw.arch.program_check import check_program
from sigbit_hw.arch.program_schema import FORMAT_VERSION, ProgramDocument, program_document
from sigbit_hw.arch.strict_json import parse_json

METADATA = frozenset({"sigbit", "sha256"})
ARRAYS = frozenset({"instructions", "image"})
INTEGERS = frozenset({"U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})
"""What a Program file holds besides test vectors, and the types of its arrays."""

_VECTOR = "vector."


class ProgramError(Exception):
    """A Program file or its use is wrong; the message is for the user."""


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

    @property
    def packed_shape(self) -> tuple[int, int, int]:
        """Shape as it lies in memory."""
        return self.fold.shape(self.shape) if self.fold else self.shape

    def slots(self, config: ArchConfig) -> tuple[int, int, int, int, int]:
        """Extents ``(rows, planes, channel slots, phases, columns of a phase)``."""
        c, h, w = self.packed_shape
        return h, self.planes, -(-c // config.ic_lanes), self.phases, -(-w // self.phases)

    def bytes(self, config: ArchConfig) -> int:
        """Size in bytes, padded to whole beats."""
        return images.beats(prod(self.slots(config)) * config.slot_bytes, config) * config.bus_bytes

    def quantize(self, x: ArrayLike) -> NDArray[np.int64]:
        """Stored integers of real inputs ``[..., C, H, W]``: nearest, ties away from zero, clipped
        to [low, high]."""
        x = np.asarray(x, np.float64)
        if x.shape[-3:] != tuple(self.shape):
            raise ProgramError(
                f"{self.name} must have shape [..., {', '.join(map(str, self.shape))}], "
                f"not {list(x.shape)}"
            )
        try:
            check_finite(x, self.name)
        except ValueError as error:
            raise ProgramError(str(error)) from None
        scaled = x / self.scale - self.zero
        return round_half_away(scaled).clip(self.low, self.high).astype(np.int64)

    def dequantize(self, stored: ArrayLike) -> NDArray[np.float64]:
        """Real values of stored integers."""
        return self.scale * (np.asarray(stored, np.float64) + self.zero)

    def pack(self, stored: ArrayLike, config: ArchConfig) -> NDArray[np.uint8]:
        """Bytes of stored integers ``[C, H, W]``, padded with zero values to whole slots, phases
        and beats."""
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
    """What a layer computes and where it came from; ``macs`` counts multiply-accumulates times term
    pairs."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    planes: int
    scale: float
    zero: int
    macs: int
    source: str = ""


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
class HostStep:
    """What the host does with output ``output`` after a run: ``function`` ("argmax", "softmax",
    "log_softmax") over its channels; ``source`` is where the user wrote it."""

    output: str
    function: str
    source: str = ""


@dataclass(frozen=True)
class Program:
    """A compiled network.

    A run takes ``images`` images: image i of a port lies i times the port's size after its offset.
    ``host`` is what remains to be done with the outputs, in this order.
    Immutable; :meth:`save` and :meth:`load` are exact inverses.
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
    host: tuple[HostStep, ...] = ()
    vectors: Mapping[str, NDArray[Any]] = field(default_factory=dict)

    @cached_property
    def listing(self) -> list[isa.Instr]:
        """The decoded instructions."""
        return isa.unpack(self.instructions)

    def memory(self) -> NDArray[np.uint8]:
        """A fresh DMA window of ``memory_bytes`` with instructions and constants in place, the rest
        0."""
        memory = np.zeros(self.memory_bytes, np.uint8)
        for offset, data in (
            (self.program_offset, self.instructions),
            (self.image_offset, self.image),
        ):
            memory[offset : offset + data.size] = data
        return memory

    def require(self, config: ArchConfig) -> None:
        """Raise :class:`ProgramError` unless this Program was compiled for ``config``."""
        if self.config.digest != config.digest:
            raise ProgramError(
                f"program {self.name!r} was compiled for {self.config.name} "
                f"({self.config.digest[:16]}), "
                f"the device is {config.name} ({config.digest[:16]}): compile it for {config.name}"
            )

    def _document(self) -> dict[str, Any]:
        skip = {"config", "instructions", "image", "vectors"}
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in skip}
        for name in ("inputs", "outputs", "layers", "execs", "host"):
            plain[name] = [asdict(item) for item in plain[name]]
        return plain | {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_json(),
            "config_digest": self.config.digest,
        }

    def save(self, path: str | Path) -> None:
        """Write the file atomically: a temporary file in the same folder is renamed over
        ``path``. Equal Programs give equal bytes. :class:`ProgramError` if it cannot be written, or
        could not be loaded."""
        path = Path(path)
        try:
            check_program(self)
        except ValueError as error:
            raise ProgramError(f"{self.name} is no legal Program: {error}") from None
        arrays = {
            "instructions": self.instructions,
            "image": self.image,
            **{f"{_VECTOR}{k}": np.ascontiguousarray(v) for k, v in sorted(self.vectors.items())},
        }
        document = json.dumps(self._document(), sort_keys=True)
        data = save(arrays, {"sigbit": document, "sha256": _digest(document, arrays)})
        temporary = None
        try:
            with tempfile.NamedTemporaryFile(
                dir=path.parent, prefix=path.name, suffix=".tmp", delete=False
            ) as file:
                temporary = Path(file.name)
                file.write(_sorted_header(data))
            temporary.chmod(0o644)
            os.replace(temporary, path)
        except OSError as error:
            raise ProgramError(f"cannot write {path}: {error.strerror}") from None
        finally:
            if temporary:
                temporary.unlink(missing_ok=True)

    @classmethod
    def load(cls, path: str | Path) -> "Program":
        """Read and check a file, which anybody may have written: :class:`ProgramError` says what is
        wrong with it. Whether the instructions may run is not looked at:
        :func:`sigbit.runtime.verified` does that."""
        metadata, arrays = _read(Path(path))
        try:
            document = program_document(parse_json(metadata["sigbit"]))
            config = ArchConfig.from_json(document.config)
            if config.digest != document.config_digest:
                raise ValueError(
                    "ArchConfig does not match its digest: compile it again with this sigbit"
                )
            program = _program(document, config, arrays)
            check_program(program)
        except ValueError as error:
            raise ProgramError(f"{path}: {error}") from None
        return program

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the content, as stored in the file."""
        arrays = {
            "instructions": self.instructions,
            "image": self.image,
            **{f"{_VECTOR}{k}": v for k, v in self.vectors.items()},
        }
        return _digest(json.dumps(self._document(), sort_keys=True), arrays)


def _read(path: Path) -> tuple[dict[str, str], dict[str, NDArray[Any]]]:
    """Metadata and arrays of a Program file, whose sizes, types and checksum are right."""
    try:
        with safe_open(str(path), framework="numpy") as file:
            metadata: dict[str, str] = file.metadata() or {}
            names = sorted(file.keys())
            if METADATA - set(metadata) or ARRAYS - set(names):
                raise ProgramError(f"{path}: a safetensors file, but not a sigbit Program")
            for name in names:
                kind, shape = file.get_slice(name).get_dtype(), file.get_slice(name).get_shape()
                known = name in ARRAYS or name.startswith(_VECTOR)
                if not known or kind not in INTEGERS or len(shape) > 4:
                    raise ProgramError(
                        f"{path}: a Program holds {', '.join(sorted(ARRAYS))} and test vectors "
                        f"{_VECTOR}*, of whole numbers, not {shown(name)} of {kind} {shown(shape)}"
                    )
            arrays = {name: file.get_tensor(name) for name in names}
    except FileNotFoundError:
        raise ProgramError(f"{path}: no such file") from None
    except (OSError, SafetensorError, ValueError) as error:
        raise ProgramError(f"{path}: not a Program file, or truncated ({error})") from None
    if _digest(metadata["sigbit"], arrays) != metadata["sha256"]:
        raise ProgramError(
            f"{path}: content does not match its SHA-256: the file is damaged; compile it again"
        )
    return metadata, arrays


def _program(
    document: ProgramDocument, config: ArchConfig, arrays: Mapping[str, NDArray[Any]]
) -> Program:
    """The Program of a file's parts."""
    inputs, outputs = (
        tuple(
            Port(**dict(port) | {"fold": None if port.fold is None else Fold(**dict(port.fold))})
            for port in ports
        )
        for ports in (document.inputs, document.outputs)
    )
    skip = {"format_version", "config_digest"}
    return Program(
        **{key: value for key, value in dict(document).items() if key not in skip}
        | {
            "config": config,
            "instructions": arrays["instructions"],
            "image": arrays["image"],
            "inputs": inputs,
            "outputs": outputs,
            "layers": tuple(LayerInfo(**dict(layer)) for layer in document.layers),
            "execs": tuple(ExecInfo(**dict(info)) for info in document.execs),
            "host": tuple(HostStep(**dict(step)) for step in document.host),
            "vectors": {
                name.removeprefix(_VECTOR): array
                for name, array in arrays.items()
                if name.startswith(_VECTOR)
            },
        }
    )


def _sorted_header(data: bytes) -> bytes:
    """A safetensors file with the keys of its header sorted, which the library leaves in a random
    order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return len(header).to_bytes(8, "little") + header + data[end:]


def _digest(document: str, arrays: Mapping[str, NDArray[Any]]) -> str:
    hasher = hashlib.sha256(document.encode())
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        hasher.update(f"{name} {array.dtype.str} {array.shape}\n".encode())
        hasher.update(array.tobytes())
    return hasher.hexdigest()
