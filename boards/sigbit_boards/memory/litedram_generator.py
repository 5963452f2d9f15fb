"""Writes the Verilog of a LiteDRAM controller: ``litedram_generator.py HERTZ FOLDER``.

Run in a process of its own: LiteDRAM's generator is a program, with packages and warnings of its
own.
"""

import json
import sys
from pathlib import Path

from litedram import gen, modules

NAME = "litedram_core"
"""Name of the module and its file."""
DEVICE = "LFE5U-25F-6BG256C"
"""Any ECP5: the cells at its pins are the same."""


class SlowestPart(modules.MT48LC16M16):
    """A part of 4 banks, 8,192 rows and 512 columns of 16 bits that is as slow as the slowest one
    mounted on boards: the longest times in nanoseconds of MT48LC16M16A2, IS42S16160G, W9825G6KH
    and AS4C16M16SA-7, by LiteDRAM's own tables and the data sheet of the last one.

    Refreshes are due every 7,812.5 ns; LiteDRAM rounds the time between two of them up, and adds
    cycles, so that it would fall behind.
    """

    technology_timings = modules._TechnologyTimings(
        tREFI=7700, tWTR=(2, None), tCCD=(1, None), tRRD=(None, 15)
    )
    speedgrade_timings = {
        "default": modules._SpeedgradeTimings(
            tRP=21, tRCD=21, tWR=20, tRFC=(None, 70), tFAW=None, tRAS=44
        )
    }


def main(hertz: str, folder: str) -> None:
    """Write ``gateware/litedram_core.v`` into ``folder``."""
    modules.SlowestPart = SlowestPart
    settings = {
        "device": DEVICE,
        "cpu": "None",
        "memtype": "SDR",
        "sdram_module": SlowestPart.__name__,
        "sdram_module_nb": 2,
        "sdram_phy": "GENSDRPHY",
        "sys_clk_freq": float(hertz),
        "cmd_buffer_depth": 16,
        # It would precharge after a read before the row has been open for tRAS; SDR parts do not
        # wait for that themselves.
        "with_auto_precharge": False,
        "user_ports": {"native_0": {"type": "native"}},
    }
    file = Path(folder) / "settings.json"  # which is YAML, too
    file.write_text(json.dumps(settings))
    sys.argv[1:] = [str(file), "--no-compile", "--output-dir", folder, "--name", NAME]
    gen.main()


if __name__ == "__main__":
    main(*sys.argv[1:])
