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
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sigbit_hw.arch import images, isa
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.formats import check_finite, round_half_away

FORMAT_VERSION = 1


class ProgramError(Exception):
    """A Program file or its use is wrong; the message is for the user."""


@dataclass(frozen=True)
class Port:
    """A tensor in the DMA window: the network's input or an output.

    ``real value = scale * (stored + zero)``. The bytes at ``offset`` are slots in the order
    ``[plane][channel slot][column phase][row][column // phases]``, dense; a slot holds ``ic_lanes``
    channels of one pixel, digit ``plane`` of the stored integer in the native activation format.
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

    def slots(self, config: ArchConfig) -> tuple[int, int, int, int, int]:
        """Extents ``(planes, channel slots, phases, rows, columns of a phase)``."""
        c, h, w = self.shape
        return self.planes, -(-c // config.ic_lanes), self.phases, h, -(-w // self.phases)

    def bytes(self, config: ArchConfig) -> int:
        """Size in bytes, padded to whole beats."""
        return (
            images.beats(int(np.prod(self.slots(config))) * config.slot_bytes, config)
            * config.bus_bytes
        )

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
        planes, blocks, phases, h, columns = self.slots(config)
        c, _, w = self.shape
        full = np.zeros((blocks * config.ic_lanes, h, phases * columns), np.int64)
        full[:c, :, :w] = np.asarray(stored, np.int64)
        codes = config.act_grid(planes).encode(full)
        codes = codes.reshape(planes, blocks, config.ic_lanes, h, columns, phases)
        data = images.pack_slots(
            codes.transpose(0, 1, 5, 3, 4, 2).reshape(-1, config.ic_lanes), config
        )
        return np.pad(data, (0, self.bytes(config) - data.size))

    def unpack(self, data: NDArray[np.uint8], config: ArchConfig) -> NDArray[np.int64]:
        """Stored integers ``[C, H, W]`` of :meth:`pack`'s bytes."""
        planes, blocks, phases, h, columns = self.slots(config)
        c, _, w = self.shape
        used = planes * blocks * phases * h * columns * config.slot_bytes
        codes = images.unpack_slots(data[:used], config)
        codes = codes.reshape(planes, blocks, phases, h, columns, config.ic_lanes).transpose(
            0, 1, 5, 3, 4, 2
        )
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
    """The part of a layer's output that the ``EXEC`` at ``index`` writes: pixels from ``pixel`` on
    (row-major), channels from ``channel`` on."""

    index: int
    layer: str
    pixel: int
    channel: int


@dataclass(frozen=True)
class Program:
    """A compiled network.

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
        for name in ("inputs", "outputs", "layers", "execs"):
            plain[name] = [asdict(item) for item in plain[name]]
        return plain | {
            "format_version": FORMAT_VERSION,
            "config": self.config.to_json(),
            "config_digest": self.config.digest,
        }

    def save(self, path: str | Path) -> None:
        """Write the file atomically: a temporary file in the same folder is renamed over
        ``path``. Equal Programs give equal bytes."""
        path = Path(path)
        arrays = {
            "instructions": self.instructions,
            "image": self.image,
            **{f"vector.{k}": np.ascontiguousarray(v) for k, v in sorted(self.vectors.items())},
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
        """Read and check a file; :class:`ProgramError` says what is wrong with it."""
        try:
            with safe_open(str(path), framework="numpy") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in sorted(file.keys())}
        except FileNotFoundError:
            raise ProgramError(f"{path}: no such file") from None
        except (OSError, SafetensorError) as error:
            raise ProgramError(f"{path}: not a Program file, or truncated ({error})") from None
        if (
            "sigbit" not in metadata
            or "sha256" not in metadata
            or not {"instructions", "image"} <= set(arrays)
        ):
            raise ProgramError(f"{path}: a safetensors file, but not a sigbit Program")
        if _digest(metadata["sigbit"], arrays) != metadata["sha256"]:
            raise ProgramError(
                f"{path}: content does not match its SHA-256: the file is damaged; compile it again"
            )
        document = json.loads(metadata["sigbit"])
        version = document.pop("format_version", None)
        if version != FORMAT_VERSION:
            raise ProgramError(
                f"{path}: format version {version}, this sigbit reads {FORMAT_VERSION}; "
                "compile it again"
            )
        config = ArchConfig.from_json(document.pop("config"))
        if config.digest != document.pop("config_digest"):
            raise ProgramError(
                f"{path}: ArchConfig does not match its digest: compile it again with this sigbit"
            )
        kinds: dict[str, type] = {
            "inputs": Port,
            "outputs": Port,
            "layers": LayerInfo,
            "execs": ExecInfo,
        }
        for name, kind in kinds.items():
            document[name] = tuple(
                kind(**{k: tuple(v) if isinstance(v, list) else v for k, v in item.items()})
                for item in document[name]
            )
        document["write_window"] = tuple(document["write_window"])
        vectors = {
            k.removeprefix("vector."): v for k, v in arrays.items() if k.startswith("vector.")
        }
        return cls(
            config=config,
            instructions=arrays["instructions"],
            image=arrays["image"],
            vectors=vectors,
            **document,
        )

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the content, as stored in the file."""
        arrays = {
            "instructions": self.instructions,
            "image": self.image,
            **{f"vector.{k}": v for k, v in self.vectors.items()},
        }
        return _digest(json.dumps(self._document(), sort_keys=True), arrays)


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
