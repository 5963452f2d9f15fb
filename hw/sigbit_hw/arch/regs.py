"""The register map (AXI4-Lite, 32-bit registers) and the error causes: the gateware, the drivers
and the documentation are generated from these tables."""

from dataclasses import dataclass
from enum import Enum, IntEnum, unique

from sigbit_hw.arch import bus

MAGIC = 0x53494742
"""The value of ``MAGIC``: "SIGB"."""

PORTS_MAX = max(bus.PORT_COUNTS)
"""Most AXI4 master ports; the bases of absent ones are ignored."""

VERSION = 2
"""Version of the register map and of the instruction set."""

WORD_BITS = 32
"""Width of a register."""

WORD_BYTES = WORD_BITS // 8
WORD_MAX = (1 << WORD_BITS) - 1

PROGRAM_ALIGN = 64
"""Bytes that the program's offset must be a multiple of: the widest beat."""


class Access(Enum):
    """What software can do with a register: read; read and write; write a pulse; read, and write 1
    to clear."""

    RO = "read-only"
    RW = "read-write"
    PULSE = "write 1 to act, reads 0"
    W1C = "read, write 1 to clear"


@dataclass(frozen=True)
class Register:
    """One 32-bit register at byte ``offset``."""

    name: str
    offset: int
    access: Access
    doc: str


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
}

CONTROL_START, CONTROL_SOFT_RESET = 1 << 0, 1 << 1
STATUS_BUSY, STATUS_DONE, STATUS_ERROR, STATUS_BUS_IDLE = 1 << 0, 1 << 1, 1 << 2, 1 << 3
IRQ_DONE, IRQ_ERROR = 1 << 0, 1 << 1

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
    rows: list[tuple[str, Access, str]] = [
        ("MAGIC", Access.RO, f"always 0x{MAGIC:08x}"),
        ("VERSION", Access.RO, "version of this map"),
        ("DIGEST_LO", Access.RO, "first 4 bytes of the ArchConfig digest (big-endian, as printed)"),
        ("DIGEST_HI", Access.RO, "next 4 bytes of the ArchConfig digest"),
        (
            "CONTROL",
            Access.PULSE,
            "bit 0 start (ignored unless idle and without error), bit 1 soft reset",
        ),
        ("STATUS", Access.RO, "bit 0 busy, 1 done, 2 error, 3 bus idle (no transfer outstanding)"),
        ("IRQ_ENABLE", Access.RW, "bit 0 done, 1 error"),
        (
            "IRQ_STATUS",
            Access.W1C,
            "bit 0 done, 1 error; the interrupt line is the OR of enabled bits",
        ),
        ("CAUSE", Access.RO, "Cause of the error"),
        ("CAUSE_INDEX", Access.RO, "index of the instruction that failed"),
        *(
            row
            for port in range(PORTS_MAX)
            for row in (
                (
                    base_names(port)[0],
                    Access.RW,
                    (
                        f"bus address of port {port}'s part of the DMA window, a multiple of "
                        f"{bus.PAGE_BYTES}, low word"
                    ),
                ),
                (base_names(port)[1], Access.RW, "high word"),
            )
        ),
        (
            "MEM_SIZE",
            Access.RW,
            (
                "bytes of the DMA window, all ports together; instruction addresses are offsets "
                "into it"
            ),
        ),
        ("WRITE_LO", Access.RW, "first offset that STORE may write"),
        ("WRITE_HI", Access.RW, "offset after the last that STORE may write"),
        (
            "PROGRAM_OFFSET",
            Access.RW,
            f"offset of the first instruction, a multiple of {PROGRAM_ALIGN}",
        ),
        ("PROGRAM_COUNT", Access.RW, "instructions in the program; the last one must be HALT"),
        ("WATCHDOG", Access.RW, "cycles without progress until the error WATCHDOG; 0 disables"),
    ]
    rows += [(name, Access.RO, doc) for name, doc in COUNTERS]
    return tuple(
        Register(name, WORD_BYTES * i, access, doc) for i, (name, access, doc) in enumerate(rows)
    )


REGISTERS = _registers()
OFFSET = {r.name: r.offset for r in REGISTERS}
"""Byte offset by register name."""

ADDRESS_BITS = 8
"""Width of the AXI4-Lite byte address."""

RW_RESET = {"WATCHDOG": 1 << 20}
"""Reset values of read-write registers that are not 0."""
