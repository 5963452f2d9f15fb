"""The Program container: one file with everything a device needs to run a network.

A :mod:`~sigbit_hw.arch.container` of arrays ``instructions`` (bytes), ``image`` (constant bytes of
the DMA window), optional test vectors ``vector.*``, initial states ``state.*`` and constants of the
host ``host.*``, and one JSON document with everything else (:mod:`~sigbit_hw.arch.program_schema`).
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch import container
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.host_schema import PREFIX, host_document
from sigbit_hw.arch.preprocessing import ImagePreprocessing
from sigbit_hw.arch.program_check import check_program
from sigbit_hw.arch.program_parts import (
    ExecInfo,
    Fold,
    LayerInfo,
    ModelOutput,
    Port,
    ProgramError,
    ProgramParts,
)
from sigbit_hw.arch.program_schema import FORMAT_VERSION, ProgramDocument, program_document
from sigbit_tools.files import FileError, replacing
from sigbit_tools.shown import shown
from sigbit_tools.strict_json import parse_json

__all__ = [
    "ExecInfo",
    "Fold",
    "LayerInfo",
    "ModelOutput",
    "Port",
    "Program",
    "ProgramError",
]

ARRAYS = frozenset({"instructions", "image"})
"""Arrays of a Program file besides test vectors, initial states and constants of the host."""

_VECTOR, _STATE = "vector.", "state."


@dataclass(frozen=True, repr=False)
class Program(ProgramParts):
    """A compiled network, immutable; :meth:`save` and :meth:`load` are exact inverses."""

    def __repr__(self) -> str:
        return (
            f"<Program {self.name} for {self.config.name}: {len(self.layers)} layers, "
            f"{len(self.instructions):,} instructions, {self.images} images per run>"
        )

    def memory(self) -> NDArray[np.uint8]:
        """Return a fresh DMA window of ``memory_bytes`` with instructions, constants and initial
        states in place, zeros elsewhere."""
        memory = np.zeros(self.memory_bytes, np.uint8)
        for offset, data in (
            (self.program_offset, self.instructions),
            (self.image_offset, self.image),
        ):
            memory[offset : offset + data.size] = data
        for _, part, data in self.initial_states():
            memory[part] = data
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
        skip = {"config", "host", "instructions", "image", "vectors", "initial"}
        plain = {f.name: getattr(self, f.name) for f in fields(self) if f.name not in skip}
        for name in ("inputs", "outputs", "states", "layers", "execs", "results"):
            plain[name] = [asdict(item) for item in plain[name]]
        if self.preprocessing is not None:
            plain["preprocessing"] = asdict(self.preprocessing)
        return plain | {
            "host": host_document(self.host)[0],
            "format_version": FORMAT_VERSION,
            "config": self.config.to_json(),
            "config_digest": self.config.digest,
        }

    @property
    def _text(self) -> str:
        return container.to_json(self._document())

    @property
    def _arrays(self) -> dict[str, NDArray[Any]]:
        vectors = {f"{_VECTOR}{name}": array for name, array in self.vectors.items()}
        states = {f"{_STATE}{name}": array for name, array in self.initial.items()}
        constants = host_document(self.host)[1]
        arrays = {"instructions": self.instructions, "image": self.image}
        return {**arrays, **vectors, **states, **constants}

    def save(self, path: str | Path) -> None:
        """Write the file completely or not at all; equal Programs give equal bytes. Raises
        :class:`ProgramError` if the file cannot be written, or could not be loaded again."""
        try:
            check_program(self)
        except ValueError as error:
            raise ProgramError(f"{self.name} is no legal Program: {error}") from None
        data = container.encode("program", self._text, self._arrays)
        try:
            with replacing(Path(path)) as file:
                file.write(data)
        except FileError as error:
            raise ProgramError(str(error)) from None

    @classmethod
    def load(cls, path: str | Path) -> "Program":
        """Load and check a file from an untrusted source; :class:`ProgramError` describes the
        error. The legality of the instructions is not checked; :func:`sigbit.runtime.verified` does
        that."""
        try:
            text, arrays = container.decode(Path(path), "program")
        except FileError as error:
            raise ProgramError(str(error)) from None
        try:
            _check_arrays(arrays)
            document = program_document(parse_json(text))
            program = _program(document, _config(document), arrays)
            check_program(program)
        except ValueError as error:
            raise ProgramError(f"{path}: {error}") from None
        return program

    @cached_property
    def digest(self) -> str:
        """SHA-256 (hex) over the content, as stored in the file."""
        return container.digest(self._text, self._arrays)


def _config(document: ProgramDocument) -> ArchConfig:
    try:
        config = ArchConfig.from_json(document.config)
    except ValueError as error:
        raise ValueError(f"config: {error}") from None
    if config.digest != document.config_digest:
        raise ValueError("ArchConfig does not match its digest: compile it again with this sigbit")
    return config


def _check_arrays(arrays: Mapping[str, NDArray[Any]]) -> None:
    if absent := ARRAYS - set(arrays):
        raise ValueError(f"a Program without {' and '.join(sorted(absent))}: compile it again")
    for name in arrays:
        if name not in ARRAYS and not name.startswith((_VECTOR, _STATE, PREFIX)):
            raise ValueError(
                f"a Program holds {', '.join(sorted(ARRAYS))}, test vectors {_VECTOR}*, initial "
                f"states {_STATE}* and constants {PREFIX}*, not {shown(name)}"
            )


def _named(arrays: Mapping[str, NDArray[Any]], prefix: str) -> dict[str, NDArray[Any]]:
    """Return the arrays whose names begin with ``prefix``, without it."""
    return {n.removeprefix(prefix): a for n, a in arrays.items() if n.startswith(prefix)}


def _program(
    document: ProgramDocument, config: ArchConfig, arrays: Mapping[str, NDArray[Any]]
) -> Program:
    """Assemble the Program from the parts of a file."""
    inputs, outputs, states = (
        tuple(
            Port(**dict(port) | {"fold": None if port.fold is None else Fold(**dict(port.fold))})
            for port in ports
        )
        for ports in (document.inputs, document.outputs, document.states)
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
            "states": states,
            "initial": _named(arrays, _STATE),
            "layers": tuple(LayerInfo(**dict(layer)) for layer in document.layers),
            "execs": tuple(ExecInfo(**dict(info)) for info in document.execs),
            "host": document.host.part(arrays),
            "results": tuple(ModelOutput(**dict(result)) for result in document.results),
            "preprocessing": document.preprocessing
            and ImagePreprocessing(**dict(document.preprocessing)),
            "vectors": _named(arrays, _VECTOR),
        }
    )
