"""Points of coverage that runs do not reach, by class, with the reason. All but triggers count as
missing all the same."""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Waiver:
    """Points of ``kind`` in modules and with names that match, on a line of Verilog that does."""

    kind: str
    module: str
    name: str
    reason: str
    text: str = ""

    def takes(self, kind: str, module: str, name: str, text: str) -> bool:
        """Whether a point is of this class."""
        return (
            kind == self.kind
            and re.search(self.module, module) is not None
            and re.search(self.name, name) is not None
            and re.search(self.text, text) is not None
        )


_SHORT = "counters of more cycles than simulations take; tests/hw set them near their end"
TRIGGER = "starts a process that Yosys writes, once, at time zero; it is no logic"
_SPARE = "bits of a register that the contract leaves out, and that read as zero"
_PLACE = "the simulations place windows at a few addresses; tests/hw and proofs take any"
_SIZE = "extents of windows and transfers of gigabytes, which no simulation moves; proofs take any"
_FIELD = "instructions, and memories of them, for more segments and memory than these runs use"
_CAUSE = "a cause's bits that none of the unit's errors have"
_SELF = "an engine gives itself no token, and takes none from itself"
_BURST = "more beats than a burst, a chunk or the buffer that they go to may have"
_REPLY = "the register bus answers every access with OKAY"
_PART = "a weight word of several beats, which this accelerator does not have"
_LOW = "bits of a remainder below the base's last one, which are zero"
_OVER = "an overflow of a stage that is as wide as its sum"
_EMPTY = "a number of no bits on this accelerator"
_LAST_BANK = "a transfer begins in the last bank or before it, never behind it"
_ALONE = "STORE alone writes, one instruction at a time: it never waits for its own request"
_MANY = "more at a time than the engine, its queue or the memory of these runs takes"
_ROOM = "a stage that always has room for what was asked for"
_SIGNALS = "every instruction of LOAD and STORE may signal"
_WAITING = "content that had to wait in none of these runs; proofs of streams take any"
_WHOLE = "the fetch asks for whole steps of 64 bytes"
_UNITS = "a beat has one unit, or four if they are slots"
CONSTANT = "a condition that is constant on this accelerator"
_NET = "a value within an expression, whose operands and result have names and count"

WAIVERS = (
    Waiver("branch", "", "^if$", TRIGGER, r"auto\$verilog_backend"),
    Waiver("toggle", "", r"\$auto\$verilog_backend", TRIGGER),
    Waiver("branch", "^storage", "^else$", "a memory that is read in every cycle", "read_0_en"),
    Waiver("toggle", "^storage", r"(read_0_en|reader__en)", "a memory that is read in every cycle"),
    Waiver(
        "toggle",
        "",
        r"^(count_)?(cycles|cycles_hi|cycles_lo|retired|overflow|compute_stall|store_busy|"
        r"load_busy|compute_busy|read_beats|write_beats|\w+_stall|\w+_wait)(\$\d+)?\[",
        _SHORT,
    ),
    Waiver("toggle", "_(counters|limit)", r"^port_\d+\[|^\$\d+\[", _SHORT),
    Waiver("toggle", "_counters", r"^(\$signal|tops)\[", _SHORT),
    Waiver("toggle", "_(control|limit)", r"^(idle|limit|add_\w+|\$signal\$\d+)(\[|:)", _SHORT),
    Waiver("branch", "_compute_acts", "^cond_then$", _LAST_BANK, r"next_word\[\d+\] \?"),
    Waiver("branch", "_store$", "^else$", _ALONE, "request__ready"),
    Waiver("toggle", "", r"(error|noted)\w*__cause(\$\d+)?\[", _CAUSE),
    Waiver("toggle", "", r"^(retire\w*__signal|take\w*|tokens\w*|overflows_\w+)(\$\d+)?\[", _SELF),
    Waiver("toggle", "", r"(arlen|awlen|length|chunk|to_boundary)(\$\d+)?\[", _BURST),
    Waiver("toggle", "^sigbit_accelerator$", r"^(s_axil_)?[br]resp\[", _REPLY),
    Waiver("toggle", "", r"^attributes\[|^group_\d+_d1\[", _SPARE),
    Waiver("toggle", "", r"^\$like\[|^(in_flight|level|pending|waiting)\[", _MANY),
    Waiver("toggle", "", r"^(m_axi_)?bready(\$\d+)?:|^room:|^i__ready:|^\$signal\$\d+:", _ROOM),
    Waiver("toggle", "_queue_(load|store)", r"payload\.tracked:", _SIGNALS),
    Waiver("toggle", "_skid$|_reader_out$", r"^spare[.\[]", _WAITING),
    Waiver("toggle", "_reader_fetch$", r"^(beat|count)\[", _WHOLE),
    Waiver("toggle", "_store_packer$", r"^have\[0\]", "the first slot of a beat is always there"),
    Waiver("toggle", "load_back", r"^unit_limit\[1\]", _UNITS),
    Waiver(
        "toggle", "load_back|store_reader|store_check", r"^(slot|following|plane|run|end)\[", _FIELD
    ),
    Waiver("toggle", "", r"write__part(\$\d+)?\[", _PART),
    Waiver("toggle", "^requantizer", r"^low_\d+_d1(\[|:)", _LOW),
    Waiver("toggle", "^requantizer", r"^over_\d+_d1:", _OVER),
    Waiver("toggle", "", r"^(group_\d+_d\d|source_\d+|\S+\.(column|first_end|period))\[", _EMPTY),
    Waiver(
        "toggle",
        "_compute_(walker|fetch|drain)",
        r"^(nest|offered|job|step_last|bank_end_|end_|next_|\$signal)",
        _FIELD,
    ),
    Waiver(
        "toggle", "_drain", r"^(group|move|d_slot_d1|held|phase|place_|channel|job\.|first)", _FIELD
    ),
    Waiver(
        "toggle",
        "",
        r"^(control|irq_\w+|clear|cause|cause_index|status|group_\d+|bus_attributes|capab\w+)"
        r"(\$\d+)?\[",
        _SPARE,
    ),
    Waiver(
        "toggle", "", r"^(m_axi_|s_axil_)?(araddr|awaddr|mem_base\d_\w\w|base)(\$\d+)?\[", _PLACE
    ),
    Waiver("toggle", "", r"^(m_axi_\w+|s_axil_)?\w*(id|burst|size|prot|cache|qos)(\[|:)", _SPARE),
    Waiver(
        "toggle",
        "",
        r"(window|mem_size|write_lo|write_hi|program_offset|program_count|offset|request__payload|"
        r"watchdog|cycle_limit)\S*\[",
        _SIZE,
    ),
    Waiver(
        "toggle",
        "^storage|queue|sequencer|decode|fetch|load|store|walker|drain|compute|^sigbit_accel",
        r"(words|payload|word|current|block|segment|out|exec|command|write_\d_data|read_\d_data|"
        r"reader__data|writer__data|signature__data|entry|index|oldest|port_\d+|beats|left|"
        r"beats_left|rest)\S*\[",
        _FIELD,
    ),
    Waiver("toggle", "", r"^\$\d+(\[|:)", _NET),
)


def reason(kind: str, module: str, name: str, text: str) -> str:
    """Why a point is not reached; empty if no class has it."""
    for waiver in WAIVERS:
        if waiver.takes(kind, module, name, text):
            return waiver.reason
    return ""
