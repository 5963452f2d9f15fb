"""The register map (AXI4-Lite, 32-bit registers) and the error causes: the tables from which the
gateware, the drivers and the documentation are generated."""

from dataclasses import dataclass
from enum import Enum, IntEnum, unique
from typing import NamedTuple

from sigbit_hw.arch import bus
from sigbit_hw.arch.isa import INDEX_BITS

MAGIC = 0x53494742
"""The value of ``MAGIC``: "SIGB"."""

PORTS_MAX = max(bus.PORT_COUNTS)
"""Maximum number of AXI4 master ports; the base registers of absent ports are ignored."""

VERSION = 3
"""Version of the register map and of the instruction set."""

WORD_BITS = 32
"""Width of a register."""

WORD_BYTES = WORD_BITS // 8
WORD_MAX = (1 << WORD_BITS) - 1

PROGRAM_ALIGN = 64
"""Alignment of the program's offset in bytes: the widest beat."""


class Access(Enum):
    """Software access to a register: read; read and write; read, and write only while the
    accelerator is idle; write a pulse; read, and write 1 to clear.

    The accelerator is idle when it is not busy and nothing is outstanding on the bus. A write at
    another time is refused: it changes nothing and sets ``IRQ_REFUSED``.
    """

    RO = "read-only"
    RW = "read-write"
    SETUP = "read-write, while idle"
    PULSE = "write 1 to act, reads 0"
    W1C = "read, write 1 to clear"


OWNED = (Access.RW, Access.SETUP)
"""Access types of registers that hold the value written by software."""


@dataclass(frozen=True)
class Register:
    """One 32-bit register at byte ``offset``; bits outside ``mask`` read 0, regardless of what is
    written."""

    name: str
    offset: int
    access: Access
    doc: str
    mask: int


class _Row(NamedTuple):
    """A register without its offset."""

    name: str
    access: Access
    doc: str
    mask: int = WORD_MAX


@unique
class Cause(IntEnum):
    """Cause of an error stop; the first one is kept until a soft reset."""

    NONE = 0
    ILLEGAL = 1
    WINDOW = 2
    READ_SLVERR = 3
    READ_DECERR = 4
    WRITE_SLVERR = 5
    WRITE_DECERR = 6
    TOKEN_UNDERFLOW = 7
    TOKEN_OVERFLOW = 8
    WATCHDOG = 9
    BASE = 10
    BUS_PROTOCOL = 11
    CYCLE_LIMIT = 12


CAUSE_DOC = {
    Cause.NONE: "no error",
    Cause.ILLEGAL: "illegal opcode or field",
    Cause.WINDOW: "a DMA access outside the window",
    Cause.READ_SLVERR: "SLVERR response to a read",
    Cause.READ_DECERR: "DECERR response to a read",
    Cause.WRITE_SLVERR: "SLVERR response to a write",
    Cause.WRITE_DECERR: "DECERR response to a write",
    Cause.TOKEN_UNDERFLOW: "an instruction waits for a token that no remaining one can give",
    Cause.TOKEN_OVERFLOW: "more tokens given than a counter holds",
    Cause.WATCHDOG: "no engine and no bus channel made progress for WATCHDOG cycles",
    Cause.BASE: (
        f"at start: the part of the DMA window of some port ends beyond bus address "
        f"2**{bus.ADDRESS_BITS}"
    ),
    Cause.BUS_PROTOCOL: (
        "a slave violated AXI: an unrequested read beat or response, RLAST early or late, an "
        "identifier that is not in use; also while nothing runs"
    ),
    Cause.CYCLE_LIMIT: "the run took CYCLE_LIMIT cycles",
}

CAUSE_BITS = max(Cause).bit_length()
CONTROL_START, CONTROL_SOFT_RESET = 1 << 0, 1 << 1
STATUS_BUSY, STATUS_DONE, STATUS_ERROR, STATUS_BUS_IDLE = 1 << 0, 1 << 1, 1 << 2, 1 << 3
IRQ_DONE, IRQ_ERROR, IRQ_REFUSED = 1 << 0, 1 << 1, 1 << 2
IRQ_BITS = IRQ_DONE | IRQ_ERROR | IRQ_REFUSED

COUNTERS = (
    ("CYCLES", "cycles from start to done or error"),
    ("LOAD_BUSY", "cycles the LOAD engine had an instruction and its tokens"),
    ("LOAD_WAIT", "cycles the LOAD engine had an instruction but not its tokens"),
    ("COMPUTE_BUSY", "cycles the array was fed operands"),
    ("COMPUTE_WAIT", "cycles the COMPUTE engine had an instruction but not its tokens"),
    (
        "COMPUTE_STALL",
        "cycles the COMPUTE engine had its tokens and fed nothing: drain, sync, set-up",
    ),
    ("STORE_BUSY", "cycles the STORE engine had an instruction and its tokens"),
    ("STORE_WAIT", "cycles the STORE engine had an instruction but not its tokens"),
    ("RETIRED", "instructions finished, all engines"),
)
"""Counters, cleared by start, stopped by done or error; ``CYCLES`` has 64 bits."""

CAPABILITIES = (
    "pixels",
    "oc_lanes",
    "ic_lanes",
    "post_lanes",
    "acc_bits",
    "term_radix_bits",
    "step_bits",
    "fraction_bits",
    "result_bits",
    "act_slots",
    "weight_words",
    "param_groups",
    "tables",
    "segments",
    "queue_depth",
    "bus_bits",
    "burst_beats",
    "outstanding_reads",
    "ports",
)
"""ArchConfig parameters that have a register each, of the same name."""

FORMAT_FIELDS = {
    "bits": slice(0, 8),
    "frac": slice(8, 16),
    "signed": slice(16, 17),
    "levels": slice(17, 18),
}
"""Bit fields of a register that describes a format: code width; for an ESB format, fraction bits;
signedness; for a table of levels a flag, since only the digest identifies the levels."""
FORMAT_MASK = (1 << 18) - 1
_FORMAT_DOC = (
    "`{}_format`: bits 7:0 bits of a code, 15:8 `frac` of an ESB format, 16 signed, 17 a table of "
    "levels (no ESB format), which only the digest identifies"
)


def base_names(port: int) -> tuple[str, str]:
    """Names of the registers of a port's base address: low and high word."""
    return f"MEM_BASE{port}_LO", f"MEM_BASE{port}_HI"


def _state_registers() -> list[_Row]:
    """Registers of identity, state and commands."""
    mask = {
        "CONTROL": CONTROL_START | CONTROL_SOFT_RESET,
        "STATUS": STATUS_BUSY | STATUS_DONE | STATUS_ERROR | STATUS_BUS_IDLE,
        "CAUSE": (1 << CAUSE_BITS) - 1,
        "CAUSE_INDEX": (1 << INDEX_BITS) - 1,
    }
    return [
        _Row("MAGIC", Access.RO, f"always 0x{MAGIC:08x}"),
        _Row("VERSION", Access.RO, "version of this map"),
        _Row("DIGEST_LO", Access.RO, "first 4 bytes of the ArchConfig digest (big-endian)"),
        _Row("DIGEST_HI", Access.RO, "next 4 bytes of the ArchConfig digest"),
        _Row(
            "CONTROL",
            Access.PULSE,
            "bit 0 start: clears done and error in `IRQ_STATUS` and begins a run; refused unless "
            "idle and without error. Bit 1 soft reset: ends a run, clears error, `IRQ_STATUS` and "
            "counters; a start in the same write is ignored",
            mask["CONTROL"],
        ),
        _Row(
            "STATUS",
            Access.RO,
            "bit 0 busy, 1 done, 2 error, 3 bus idle (no transfer outstanding)",
            mask["STATUS"],
        ),
        _Row("IRQ_ENABLE", Access.RW, "bit 0 done, 1 error, 2 refused", IRQ_BITS),
        _Row(
            "IRQ_STATUS",
            Access.W1C,
            "bit 0 done, 1 error, 2 refused: a start, or a write to a register that is writable "
            "only while idle. The interrupt line is the OR of enabled bits",
            IRQ_BITS,
        ),
        _Row("CAUSE", Access.RO, "Cause of the error", mask["CAUSE"]),
        _Row("CAUSE_INDEX", Access.RO, "index of the instruction that failed", mask["CAUSE_INDEX"]),
    ]


def _setup_registers() -> list[_Row]:
    """Registers that describe a run."""
    rows = []
    for port in range(PORTS_MAX):
        low, high = base_names(port)
        doc = (
            f"bus address of port {port}'s part of the DMA window, low word: a multiple of "
            f"{bus.PAGE_BYTES}"
        )
        rows += [
            _Row(low, Access.SETUP, doc, WORD_MAX - (bus.PAGE_BYTES - 1)),
            _Row(high, Access.SETUP, "high word", (1 << bus.ADDRESS_BITS - WORD_BITS) - 1),
        ]
    for name, doc in (
        (
            "MEM_SIZE",
            (
                "bytes of the DMA window, all ports together; instruction addresses are offsets "
                "into it"
            ),
        ),
        ("WRITE_LO", "first offset that STORE may write"),
        ("WRITE_HI", "offset after the last that STORE may write"),
        (
            "PROGRAM_OFFSET",
            (
                "offset of the first instruction; the run fails unless it is a multiple of "
                f"{PROGRAM_ALIGN}"
            ),
        ),
        ("PROGRAM_COUNT", "instructions in the program; the last one must be HALT"),
        (
            "WATCHDOG",
            (
                "cycles without progress until the error WATCHDOG; 0 disables. After "
                "BUS_PROTOCOL the bus is idle when nothing has moved for this number of cycles"
            ),
        ),
        (
            "CYCLE_LIMIT_LO",
            (
                "a run that takes this many cycles ends, some cycles later, with the error "
                "CYCLE_LIMIT; 0 disables; low word"
            ),
        ),
        ("CYCLE_LIMIT_HI", "high word"),
    ):
        rows.append(_Row(name, Access.SETUP, doc))
    attributes = sum(
        ((1 << part.stop - part.start) - 1) << part.start for part in bus.ATTRIBUTES.values()
    )
    rows.append(
        _Row(
            "BUS_ATTRIBUTES",
            Access.SETUP,
            "of every transfer on every port: "
            + ", ".join(
                f"bits {part.stop - 1}:{part.start} Ax{name.upper()}"
                for name, part in bus.ATTRIBUTES.items()
            ),
            attributes,
        )
    )
    return rows


def _counter_registers() -> list[_Row]:
    """Registers of the counters."""
    return [
        *(_Row(name, Access.RO, doc) for name, doc in COUNTERS),
        _Row("CYCLES_HI", Access.RO, "high word of `CYCLES`"),
        _Row(
            "OVERFLOW",
            Access.RO,
            "bit i: the i-th counter, counted from 0 for `CYCLES`, has exceeded its 32 bits and "
            "wrapped; never set for `CYCLES`",
            (1 << len(COUNTERS)) - 2,
        ),
    ]


def _capability_registers() -> list[_Row]:
    """Registers that describe the accelerator's parameters, for drivers without a table of
    digests."""
    return [
        *(
            _Row(f"{name.upper()}_FORMAT", Access.RO, _FORMAT_DOC.format(name), FORMAT_MASK)
            for name in ("weight", "act")
        ),
        *(_Row(name.upper(), Access.RO, f"`{name}` of the ArchConfig") for name in CAPABILITIES),
    ]


def _registers() -> tuple[Register, ...]:
    """The register map in order of offsets."""
    rows = [
        *_state_registers(),
        *_setup_registers(),
        *_counter_registers(),
        *_capability_registers(),
    ]
    return tuple(
        Register(row.name, WORD_BYTES * i, row.access, row.doc, row.mask)
        for i, row in enumerate(rows)
    )


REGISTERS = _registers()
OFFSET = {r.name: r.offset for r in REGISTERS}
"""Byte offset by register name."""

ADDRESS_BITS = 8
"""Width of the AXI4-Lite byte address."""

RW_RESET = {"WATCHDOG": 1 << 20, "BUS_ATTRIBUTES": bus.NOT_COHERENT.word}
"""Nonzero reset values of software-owned registers."""
