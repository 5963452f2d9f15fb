"""The native harness in Python: one accelerator in reset state, its memories and its trace.

Calls return to Python only at the end of a slice of cycles; the memories, one per port, are NumPy
arrays shared by both sides.
"""

import ctypes
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import IntEnum, IntFlag
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sigbit_hw.arch.bus import Response
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Engine
from sigbit_sim.memory import Memory, MemoryTiming, of_ports

_NONE = 0xFFFFFFFF
_STALL_UNIT = 1 << 16


class Stop(IntEnum):
    """Reason for the end of a slice."""

    BUDGET = 0
    IRQ = 1
    IDLE = 2
    ASSERTION = 3


class Hang(IntFlag):
    """Channels on which the memory stops: it accepts no addresses or data, or gives no answers."""

    NONE = 0
    AR = 1 << 0
    R = 1 << 1
    AW = 1 << 2
    W = 1 << 3
    B = 1 << 4


class Misbehaviour(IntEnum):
    """Protocol violations of a slave. In a read burst: one beat too few, or too many, with RLAST on
    the last one; no RLAST; an additional RLAST on the last beat but one; one extra beat with RLAST.
    In a write burst: a response before the data and one after, or none after. At any time when
    nothing is outstanding: a response, a read beat."""

    NONE = 0
    SHORT = 1
    LONG = 2
    NEVER_LAST = 3
    EARLY_LAST = 4
    REPEATED = 5
    EARLY_RESPONSE = 6
    MISPLACED_RESPONSE = 7
    STRAY_RESPONSE = 8
    STRAY_BEAT = 9


class ModelError(Exception):
    """The gateware broke a protocol, failed an assertion or does not answer on its register bus."""


class _Timing(ctypes.Structure):
    _fields_ = [
        ("memory", ctypes.c_uint32 * len(MemoryTiming().numbers)),
        ("stall", ctypes.c_uint32),
        ("seed", ctypes.c_uint64),
    ]


class _State(ctypes.Structure):
    _fields_ = [
        ("cycle", ctypes.c_uint64),
        ("idle", ctypes.c_uint64),
        ("reads", ctypes.c_uint64),
        ("writes", ctypes.c_uint64),
        ("finished", ctypes.c_uint64),
        ("fed", ctypes.c_uint64),
        ("started", ctypes.c_uint32 * len(Engine)),
        ("retired", ctypes.c_uint32 * len(Engine)),
    ]


class _Watch(ctypes.Structure):
    _fields_ = [
        ("count", ctypes.c_uint32),
        ("execs", ctypes.c_void_p),
        ("offsets", ctypes.c_void_p),
        ("slots", ctypes.c_void_p),
        ("data", ctypes.c_void_p),
        ("taken", ctypes.c_void_p),
    ]


_EVENT = np.dtype([("cycle", "u8"), ("index", "u4"), ("engine", "u2"), ("retired", "u2")])
_FEED = np.dtype([("first", "u8"), ("last", "u8"), ("count", "u8")])


@dataclass(frozen=True)
class State:
    """Present state of the accelerator: by engine, the last instruction started and retired.

    ``finished`` counts the instructions retired in this run (all except ``SEG`` and ``OUT``),
    ``fed`` the cycles in which the array was fed.
    """

    cycle: int
    idle: int
    reads: int
    writes: int
    finished: int
    fed: int
    started: dict[Engine, int | None]
    retired: dict[Engine, int | None]


def _load(path: Path) -> ctypes.CDLL:
    lib = ctypes.CDLL(str(path))
    handle, u32, u64, i32 = ctypes.c_void_p, ctypes.c_uint32, ctypes.c_uint64, ctypes.c_int
    pointer = ctypes.POINTER(ctypes.c_void_p)
    signatures = {
        "sb_new": (handle, i32),
        "sb_free": (None, handle),
        "sb_memory": (None, handle, i32, ctypes.c_void_p, u64, u64),
        "sb_timing": (None, handle, i32, ctypes.POINTER(_Timing)),
        "sb_hang": (None, handle, i32, u32),
        "sb_misbehave": (None, handle, i32, i32, u64),
        "sb_misbehaved": (i32, handle, i32),
        "sb_fault": (None, handle, i32, i32, u64, u64, i32),
        "sb_clear_faults": (None, handle, i32),
        "sb_violations": (u64, handle, i32),
        "sb_violation": (ctypes.c_char_p, handle, i32, u64),
        "sb_coverage": (i32, handle, ctypes.c_char_p),
        "sb_save": (i32, handle, ctypes.c_char_p),
        "sb_restore": (i32, handle, ctypes.c_char_p),
        "sb_write": (i32, handle, u32, u32, u32),
        "sb_read": (i32, handle, u32, ctypes.POINTER(u32)),
        "sb_run": (i32, handle, u64, u64),
        "sb_state": (None, handle, ctypes.POINTER(_State)),
        "sb_watch": (None, handle, ctypes.POINTER(_Watch)),
        "sb_begin": (None, handle, i32),
        "sb_events": (u64, handle, pointer),
        "sb_feeds": (u64, handle, pointer),
        "sb_shadow": (u64, handle, pointer),
    }
    for name, (result, *arguments) in signatures.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    return lib


class Model:
    """One accelerator out of reset; ``connect`` must give it memories before it uses its bus.

    Parameters
    ----------
    path : Path
        The harness's library, built for `config`.
    config : ArchConfig
    seed : int
        Of the values that registers and memories without initial ones begin with; 0 for zeros.
    """

    def __init__(self, path: Path, config: ArchConfig, seed: int = 0) -> None:
        self.config = config
        self._lib = _load(path)
        self._handle = self._lib.sb_new(seed)
        self._keep: tuple[object, ...] = ()
        self._memories: tuple[NDArray[np.uint8], ...] = ()

    def close(self) -> None:
        """Free the model; no other method may be called afterwards."""
        if self._handle:
            self._lib.sb_free(self._handle)
            self._handle = None

    def __del__(self) -> None:
        if getattr(self, "_handle", None):
            self.close()

    def connect(self, memories: Sequence[NDArray[np.uint8]], bases: Sequence[int]) -> None:
        """Connect ``memories[i]`` to port i from address ``bases[i]`` on; they are shared, not
        copied."""
        for port, (memory, base) in enumerate(zip(memories, bases, strict=True)):
            if not memory.flags.c_contiguous or memory.dtype != np.uint8:
                raise ValueError("a memory must be a contiguous array of bytes")
            self._lib.sb_memory(
                self._handle, self._port(port), memory.ctypes.data, base, memory.size
            )
        self._memories = tuple(memories)

    def _port(self, port: int) -> int:
        if not 0 <= port < self.config.ports:
            raise ValueError(
                f"{self.config.name} has {self.config.ports} ports, there is no port {port}"
            )
        return port

    def timing(
        self,
        memory: Memory,
        stall: float = 0.0,
        seed: int = 0,
        *,
        port: int | None = None,
    ) -> None:
        """Set the speed of a port's memory, or of all of them; `stall` is the probability that a
        channel pauses in a cycle, drawn independently for every port."""
        if not 0 <= stall < 1:
            raise ValueError(f"stall must be a probability in [0, 1), not {stall}")
        memories = of_ports(memory, self.config.ports)
        for k in range(self.config.ports) if port is None else (self._port(port),):
            timing = _Timing(memories[k].numbers, round(stall * _STALL_UNIT), seed + (k << 32))
            self._lib.sb_timing(self._handle, k, ctypes.byref(timing))

    def fault(
        self, first: int, last: int, response: Response, *, write: bool, port: int = 0
    ) -> None:
        """Answer a port's reads (or writes) of bus addresses `first` to `last` with `response`."""
        self._lib.sb_fault(self._handle, self._port(port), write, first, last, response)

    def clear_faults(self) -> None:
        """Remove all faults."""
        for port in range(self.config.ports):
            self._lib.sb_clear_faults(self._handle, port)

    def hang(self, channels: Hang, *, port: int = 0) -> None:
        """Stop these channels of a port's memory; the others continue."""
        self._lib.sb_hang(self._handle, self._port(port), channels)

    def misbehave(self, kind: Misbehaviour, after: int, *, port: int = 0) -> None:
        """Let a port's memory misbehave once, at the first opportunity after `after` bursts of that
        direction or, for unrequested answers, `after` cycles from now."""
        self._lib.sb_misbehave(self._handle, self._port(port), kind, after)

    def misbehaved(self, port: int = 0) -> bool:
        """True if the misbehaviour has begun."""
        return bool(self._lib.sb_misbehaved(self._handle, self._port(port)))

    @property
    def violations(self) -> list[str]:
        """Violations of the AXI protocol by the accelerator so far, port by port."""
        lib, handle = self._lib, self._handle
        return [
            lib.sb_violation(handle, port, i).decode()
            for port in range(self.config.ports)
            for i in range(lib.sb_violations(handle, port))
        ]

    def coverage(self, path: Path) -> None:
        """Write what has been executed so far, in Verilator's format; the model must be built for
        :attr:`~sigbit_sim.rtl.native.build.Purpose.COVERAGE`."""
        if not self._lib.sb_coverage(self._handle, str(path).encode()):
            raise ModelError("this model does not count what it executes")

    def save(self, path: Path) -> None:
        """Write the complete simulation to a file: accelerator, memories, trace, and the copies of
        the watch."""
        if not self._lib.sb_save(self._handle, str(path).encode()):
            raise OSError(f"cannot write {path}")

    def restore(self, path: Path) -> None:
        """Resume from :meth:`save`'s file, in a model of the same library with memories of the same
        sizes connected and the same watch set."""
        if not self._lib.sb_restore(self._handle, str(path).encode()):
            raise OSError(f"cannot read {path}")

    def write(self, offset: int, value: int, strobe: int = 15) -> None:
        """Write a register."""
        self._answered("write", offset, self._lib.sb_write(self._handle, offset, value, strobe))

    def read(self, offset: int) -> int:
        """Read a register."""
        value = ctypes.c_uint32()
        self._answered("read", offset, self._lib.sb_read(self._handle, offset, ctypes.byref(value)))
        return value.value

    @staticmethod
    def _answered(what: str, offset: int, response: int) -> None:
        if response < 0:
            raise ModelError(f"{what} of the register at 0x{offset:02x}: no answer in 1000 cycles")
        if response:
            raise ModelError(f"{what} of the register at 0x{offset:02x}: response {response}")

    def run(self, cycles: int, idle_limit: int) -> Stop:
        """Clock until the interrupt, for `cycles`, or until nothing has moved for `idle_limit`
        cycles."""
        return Stop(self._lib.sb_run(self._handle, cycles, idle_limit))

    def state(self) -> State:
        """The present state of the accelerator."""
        raw = _State()
        self._lib.sb_state(self._handle, ctypes.byref(raw))
        started, retired = (
            {e: None if row[e] == _NONE else int(row[e]) for e in Engine}
            for row in (raw.started, raw.retired)
        )
        return State(
            raw.cycle, raw.idle, raw.reads, raw.writes, raw.finished, raw.fed, started, retired
        )

    def watch(self, slots: Mapping[int, NDArray[np.int64]]) -> "Watch":
        """Copy ``slots[index]`` when instruction ``index`` retires; replaces the previous watch."""
        watch = Watch(slots, self.config)
        execs, offsets, flat = watch.arrays
        raw = _Watch(
            len(execs),
            execs.ctypes.data,
            offsets.ctypes.data,
            flat.ctypes.data,
            watch.data.ctypes.data,
            watch.taken.ctypes.data,
        )
        self._lib.sb_watch(self._handle, ctypes.byref(raw))
        self._keep = (watch,)
        return watch

    def begin(self, *, log: bool) -> None:
        """Start a new run of the trace: cycles count from here; `log` keeps the events."""
        self._lib.sb_begin(self._handle, log)

    def events(self) -> NDArray[Any]:
        """Starts and retirements of the run, with the fields cycle, index, engine, retired."""
        return self._records("sb_events", _EVENT)

    def feeds(self) -> NDArray[Any]:
        """First and last cycle in which the array was fed, and their number, by instruction
        index."""
        return self._records("sb_feeds", _FEED)

    def slots(self) -> NDArray[np.uint8]:
        """The activation memory as seen by the trace: bytes ``[slots, slot_bytes]``."""
        return self._records("sb_shadow", np.dtype("u1")).reshape(-1, self.config.slot_bytes)

    def _records(self, name: str, dtype: np.dtype[Any]) -> NDArray[Any]:
        pointer = ctypes.c_void_p()
        count = getattr(self._lib, name)(self._handle, ctypes.byref(pointer))
        data = ctypes.string_at(pointer, count * dtype.itemsize) if count else b""
        return np.frombuffer(data, dtype)


class Watch:
    """Copies of slots at the retirement of instructions; filled by the harness."""

    def __init__(self, slots: Mapping[int, NDArray[np.int64]], config: ArchConfig) -> None:
        self._shapes = {index: s.shape for index, s in slots.items()}
        self._number = {index: k for k, index in enumerate(slots)}
        sizes = [s.size for s in slots.values()]
        flat = np.concatenate([np.zeros(0, np.int64), *(s.ravel() for s in slots.values())])
        if flat.size and not 0 <= flat.min() <= flat.max() < config.act_slots:
            raise ValueError(
                f"slots must be in [0, {config.act_slots}), not [{flat.min()}, {flat.max()}]"
            )
        self.arrays = (
            np.array(list(slots), np.uint32),
            np.cumsum([0, *sizes]).astype(np.uint64),
            flat.astype(np.uint32),
        )
        self.data = np.zeros((flat.size, config.slot_bytes), np.uint8)
        self.taken = np.zeros(len(sizes), np.uint8)

    def bytes_of(self, index: int) -> NDArray[np.uint8] | None:
        """Bytes ``[*shape of the slots, slot_bytes]`` at the retirement of `index`; None if it has
        not retired."""
        k = self._number[index]
        if not self.taken[k]:
            return None
        first, last = (int(self.arrays[1][k + i]) for i in (0, 1))
        return self.data[first:last].reshape(*self._shapes[index], -1)
