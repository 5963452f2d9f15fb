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
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program_check import check_program
from sigbit_hw.arch.program_parts import (
    ExecInfo,
    Fold,
    HostStep,
    LayerInfo,
    Port,
    ProgramError,
    ProgramParts,
)
from sigbit_hw.arch.program_schema import FORMAT_VERSION, ProgramDocument, program_document
from sigbit_tools.shown import shown
from sigbit_tools.strict_json import parse_json

__all__ = ["ExecInfo", "Fold", "HostStep", "LayerInfo", "Port", "Program", "ProgramError"]

METADATA = frozenset({"sigbit", "sha256"})
ARRAYS = frozenset({"instructions", "image"})
INTEGERS = frozenset({"U8", "I8", "U16", "I16", "U32", "I32", "U64", "I64"})
"""What a Program file holds besides test vectors, and the types of its arrays."""

_VECTOR = "vector."


@dataclass(frozen=True)
class Program(ProgramParts):
    """A compiled network, immutable; :meth:`save` and :meth:`load` are exact inverses."""

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
