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
