"""Programs as flat files for the C driver.

A Program file is JSON in a safetensors file, with formats described by their parameters: reading it
takes a JSON parser and a second definition of every number format. A flat file holds what these
imply for one accelerator: registers and their values, bytes of the DMA window, and for each port
its layout with the tables of :mod:`sigbit_hw.driver.layout`. Everything is little-endian, and
records are C structs. The first digest covers the rest of the file and guards against damage only;
a person who can write the file controls what is read and written in the Program's part of memory,
as with any executable.
"""

import hashlib

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch import launch, regs
from sigbit_hw.arch.axes import Axes
from sigbit_hw.arch.names import NAME_MAX
from sigbit_hw.arch.program import Port, Program, ProgramError
from sigbit_hw.driver.layout import codes, layout_of, values
from sigbit_hw.driver.library import FIELDS, Element

FILE_MAGIC = 0x54464253
"""The first four bytes: "SBFT"."""
VERSION = 3
_NAME_BYTES = -(-(NAME_MAX + 1) // 8) * 8
_DIGEST_BYTES = 32
_AXES = 3
_ALIGN = 8

FILE = {
    "magic": ("u4", ""),
    "version": ("u4", "of this format"),
    "bytes": ("u4", "of the file"),
    "digest": (f"({_DIGEST_BYTES},)u1", "SHA-256 of all that follows"),
    "program": (
        f"({_DIGEST_BYTES},)u1",
        "digest of the Program, by which `sigbit inspect` knows it",
    ),
    "name": (f"({_NAME_BYTES},)u1", "ends in 0"),
    "map_version": ("u4", "of the register map"),
    "arch_lo": ("u4", "digest of the ArchConfig, as registers have it"),
    "arch_hi": ("u4", ""),
    "ports": ("u4", "AXI ports, each with its part of every beat"),
    "port_bytes": ("u4", "of a beat, on one port"),
    "memory_bytes": ("u4", "of the DMA window, all ports together"),
    "images": ("u4", "of a run"),
    "registers": ("u4", "sigbit_setting records behind this one"),
    "segments": ("u4", "sigbit_segment records behind those"),
    "states": ("u4", "of these segments, the last ones: initial states, which runs overwrite"),
    "inputs": ("u4", "sigbit_port records behind those"),
    "outputs": ("u4", "and behind those, one for each result of the network"),
    "unused": ("u4", "so that records behind it begin at multiples of 8 bytes"),
}
SETTING = {"offset": ("u4", "of a register"), "value": ("u4", "")}
SEGMENT = {
    "offset": ("u4", "in the DMA window"),
    "bytes": ("u4", ""),
    "at": ("u4", "in the file"),
    "unused": ("u4", ""),
}
PORT = {
    "scale": ("f8", "real value = scale * (stored + zero)"),
    "name": (f"({_NAME_BYTES},)u1", "ends in 0"),
    "offset": ("u4", "of the first image in the DMA window"),
    "zero": ("i4", ""),
    "low": ("i4", "least stored integer"),
    "high": ("i4", "greatest"),
    "table": ("u4", "codes of an input, values of an output: where in the file"),
    "entries": ("u4", "of the table"),
    "dimensions": ("u4", "of a sample as the network's user has it"),
    "shape": (f"({_AXES},)u4", "of a sample as the network's user has it"),
    "transposed": (
        "u4",
        "1: [steps][features], in the layout [features][steps]",
    ),
    "layout": (f"({len(FIELDS)},)i4", ""),
}
"""Records of the file: the NumPy type and meaning of every field."""

RECORDS = {"file": FILE, "setting": SETTING, "segment": SEGMENT, "port": PORT}


def record(name: str) -> np.dtype[np.void]:
    """NumPy type of a record with the layout of a C struct."""
    return np.dtype([(field, f"{form}") for field, (form, _) in RECORDS[name].items()], align=True)


def flat_program(program: Program) -> bytes:
    """Return the flat file of a Program; raises :class:`ProgramError` if the Program does not fit
    the format."""
    try:
        return _Writer(program).file()
    except OverflowError as error:
        raise ProgramError(f"{program.name} is too large for the C driver: {error}") from None


class _Writer:
    """Writer of a flat file: records first, then tables and data."""

    def __init__(self, program: Program) -> None:
        self._program = program
        self._data: list[bytes] = []
        self._settings = [
            (regs.OFFSET[name], value)
            for name, value in launch.set_up_program(program, [0] * program.config.ports).items()
            if name not in _BASES
        ]
        self._parts = [
            (offset, data)
            for offset, data in (
                (program.program_offset, program.instructions),
                (program.image_offset, program.image),
            )
            if data.size
        ]
        self._parts += [(part.start, data) for _, part, data in program.initial_states()]
        counts = {
            "file": 1,
            "setting": len(self._settings),
            "segment": len(self._parts),
            "port": len(program.inputs) + len(program.results),
        }
        self._end = sum(count * record(name).itemsize for name, count in counts.items())

    def file(self) -> bytes:
        settings = np.array(self._settings, record("setting"))
        segments = np.zeros(len(self._parts), record("segment"))
        for row, (offset, data) in zip(segments, self._parts, strict=True):
            row["offset"], row["bytes"], row["at"] = offset, data.size, self._append(data)
        ports = [self._port(port, port.name, port.axes, True) for port in self._program.inputs]
        outputs = {port.name: port for port in self._program.outputs}
        ports += [self._port(outputs[r.port], r.name, r.axes, False) for r in self._program.results]
        header = self._header()
        records = [settings.tobytes(), segments.tobytes(), *(port.tobytes() for port in ports)]
        rest = b"".join(records) + b"".join(self._data)
        covered = record("file").fields["program"][1]  # type: ignore[index]
        text = header.tobytes()[covered:] + rest
        header["digest"] = np.frombuffer(hashlib.sha256(text).digest(), np.uint8)
        return header.tobytes() + rest

    def _append(self, data: NDArray[np.generic]) -> int:
        """Append data and return its offset in the file."""
        at, text = self._end, data.tobytes()
        self._data.append(text + bytes(-len(text) % _ALIGN))
        self._end += len(self._data[-1])
        return at

    def _header(self) -> NDArray[np.void]:
        program, config = self._program, self._program.config
        identity = launch.identity(config)
        header = np.zeros((), record("file"))
        for name, value in {
            "magic": FILE_MAGIC,
            "version": VERSION,
            "bytes": self._end,
            "map_version": identity["VERSION"],
            "arch_lo": identity["DIGEST_LO"],
            "arch_hi": identity["DIGEST_HI"],
            "ports": config.ports,
            "port_bytes": config.port_bytes,
            "memory_bytes": program.memory_bytes,
            "images": program.images,
            "registers": len(self._settings),
            "segments": len(self._parts),
            "states": len(program.states),
            "inputs": len(program.inputs),
            "outputs": len(program.results),
            "program": np.frombuffer(bytes.fromhex(program.digest), np.uint8),
            "name": _text(program.name),
        }.items():
            header[name] = value
        return header

    def _port(self, port: Port, name: str, axes: Axes, is_input: bool) -> NDArray[np.void]:
        config = self._program.config
        table, low, high = codes(port, config) if is_input else (None, 0, 0)
        found = values(port.planes, config) if table is None else table
        layout = layout_of(port, config, Element.INT64, low, high)
        row, shape = np.zeros((), record("port")), axes.shape(port.shape)
        for field, value in {
            "scale": port.scale,
            "name": _text(name),
            "offset": port.offset,
            "zero": port.zero,
            "low": port.low,
            "high": port.high,
            "table": self._append(found),
            "entries": found.size,
            "dimensions": len(shape),
            "shape": [*shape, *[1] * (_AXES - len(shape))],
            "transposed": axes.channels_last,
            "layout": [getattr(layout, part) for part in FIELDS],
        }.items():
            row[field] = value
        if port.bytes(config) > np.iinfo(np.int32).max:
            raise OverflowError(f"{port.name} has {port.bytes(config):,} bytes")
        return row


_BASES = {name for port in range(regs.PORTS_MAX) for name in regs.base_names(port)}
"""Registers whose values are known only once memory is allocated; they are not in the file."""


def _text(name: str) -> NDArray[np.uint8]:
    return np.frombuffer(name.encode().ljust(_NAME_BYTES, b"\0"), np.uint8)
