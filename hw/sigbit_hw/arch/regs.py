"""The register map (AXI4-Lite, 32-bit registers) and the error causes: the gateware, the drivers
and the documentation are generated from these tables."""

from dataclasses import dataclass
from enum import Enum, IntEnum, unique

from sigbit_hw.arch import bus
from sigbit_hw.arch.isa import INDEX_BITS

MAGIC = 0x53494742
"""The value of ``MAGIC``: "SIGB"."""

PORTS_MAX = max(bus.PORT_COUNTS)
"""Most AXI4 master ports; the bases of absent ones are ignored."""

VERSION = 3
"""Version of the register map and of the instruction set."""

WORD_BITS = 32
"""Width of a register."""

WORD_BYTES = WORD_BITS // 8
WORD_MAX = (1 << WORD_BITS) - 1

PROGRAM_ALIGN = 64
"""Bytes that the program's offset must be a multiple of: the widest beat."""


class Access(Enum):
    """What software can do with a register: read; read and write; the same, but write it only while
    the accelerator is idle; write a pulse; read, and write 1 to clear.

    Idle: not busy, and nothing outstanding on the bus. A write at another time is refused: it
    changes nothing and sets ``IRQ_REFUSED``.
    """

    RO = "read-only"
    RW = "read-write"
    SETUP = "read-write, while idle"
    PULSE = "write 1 to act, reads 0"
    W1C = "read, write 1 to clear"


OWNED = (Access.RW, Access.SETUP)
"""Registers that hold what software writes."""


@dataclass(frozen=True)
class Register:
    """One 32-bit register at byte ``offset``; bits outside ``mask`` read 0, whatever is written."""

    name: str
    offset: int
    access: Access
    doc: str
    mask: int = WORD_MAX


@unique
class Cause(IntEnum):
    """Why the accelerator stopped with an error; the first one sticks until a soft reset."""

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


CAUSE_DOC = {
    Cause.NONE: "no error",
    Cause.ILLEGAL: "illegal opcode or field",
    Cause.WINDOW: "a DMA access outside the window",
    Cause.READ_SLVERR: "SLVERR response to a read",
    Cause.READ_DECERR: "DECERR response to a read",
    Cause.WRITE_SLVERR: "SLVERR response to a write",
    Cause.WRITE_DECERR: "DECERR response to a write",
    Cause.TOKEN_UNDERFLOW: "an instruction waits for a token that no instruction left can give",
    Cause.TOKEN_OVERFLOW: "more tokens given than a counter holds",
    Cause.WATCHDOG: "no engine and no bus channel made progress for WATCHDOG cycles",
    Cause.BASE: (
        f"at start: the part of the DMA window of some port ends beyond bus address "
        f"2**{bus.ADDRESS_BITS}"
    ),
    Cause.BUS_PROTOCOL: (
        "a slave broke AXI: a read beat or a response that nothing asked for, RLAST early or late, "
        "an identifier that is not in use; also when nothing runs"
    ),
}

CAUSE_BITS = max(Cause).bit_length()
CONTROL_START, CONTROL_SOFT_RESET = 1 << 0, 1 << 1
STATUS_BUSY, STATUS_DONE, STATUS_ERROR, STATUS_BUS_IDLE = 1 << 0, 1 << 1, 1 << 2, 1 << 3
STATUS_BITS = STATUS_BUSY | STATUS_DONE | STATUS_ERROR | STATUS_BUS_IDLE
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
"""Counters, cleared by start, stopped by done or error."""


def base_names(port: int) -> tuple[str, str]:
    """The registers of a port's base: low and high word."""
    return f"MEM_BASE{port}_LO", f"MEM_BASE{port}_HI"


def _registers() -> tuple[Register, ...]:
    """The map, in order of offsets."""
    rows: list[tuple[str, Access, int, str]] = [
        ("MAGIC", Access.RO, WORD_MAX, f"always 0x{MAGIC:08x}"),
        ("VERSION", Access.RO, WORD_MAX, "version of this map"),
        (
            "DIGEST_LO",
            Access.RO,
            WORD_MAX,
            "first 4 bytes of the ArchConfig digest (big-endian, as printed)",
        ),
        ("DIGEST_HI", Access.RO, WORD_MAX, "next 4 bytes of the ArchConfig digest"),
        (
            "CONTROL",
            Access.PULSE,
            CONTROL_START | CONTROL_SOFT_RESET,
            (
                "bit 0 start: clears `IRQ_STATUS` and begins a run; refused unless idle and without "
                "error; bit 1 soft reset: ends a run, clears error, `IRQ_STATUS` and counters; in one "
                "write with start it is as if start were not written"
            ),
        ),
        (
            "STATUS",
            Access.RO,
            STATUS_BITS,
            "bit 0 busy, 1 done, 2 error, 3 bus idle (no transfer outstanding)",
        ),
        ("IRQ_ENABLE", Access.RW, IRQ_BITS, "bit 0 done, 1 error, 2 refused"),
        (
            "IRQ_STATUS",
            Access.W1C,
            IRQ_BITS,
            (
                "bit 0 done, 1 error, 2 refused (a start, or a write to a register that can be written "
                "while idle only); the interrupt line is the OR of enabled bits, and has its new level "
                "when the write that changes it is answered"
            ),
        ),
        ("CAUSE", Access.RO, (1 << CAUSE_BITS) - 1, "Cause of the error"),
        (
            "CAUSE_INDEX",
            Access.RO,
            (1 << INDEX_BITS) - 1,
            "index of the instruction that failed",
        ),
    ]
    for port in range(PORTS_MAX):
        low, high = base_names(port)
        rows += [
            (
                low,
                Access.SETUP,
                WORD_MAX - (bus.PAGE_BYTES - 1),
                (
                    f"bus address of port {port}'s part of the DMA window, low word: a multiple of "
                    f"{bus.PAGE_BYTES}"
                ),
            ),
            (high, Access.SETUP, (1 << bus.ADDRESS_BITS - WORD_BITS) - 1, "high word"),
        ]
    rows += [
        (name, Access.SETUP, WORD_MAX, doc)
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
                    f"offset of the first instruction; a start fails unless it is a multiple of "
                    f"{PROGRAM_ALIGN}"
                ),
            ),
            ("PROGRAM_COUNT", "instructions in the program; the last one must be HALT"),
            ("WATCHDOG", "cycles without progress until the error WATCHDOG; 0 disables"),
        )
    ]
    rows += [(name, Access.RO, WORD_MAX, doc) for name, doc in COUNTERS]
    return tuple(
        Register(name, WORD_BYTES * i, access, doc, mask)
        for i, (name, access, mask, doc) in enumerate(rows)
    )


REGISTERS = _registers()
OFFSET = {r.name: r.offset for r in REGISTERS}
"""Byte offset by register name."""

ADDRESS_BITS = 8
"""Width of the AXI4-Lite byte address."""

RW_RESET = {"WATCHDOG": 1 << 20}
"""Reset values of read-write registers that are not 0."""
