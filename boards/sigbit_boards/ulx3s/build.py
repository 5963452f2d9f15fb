"""The ULX3S with an LFE5U-85F; not yet tested on a board.

Pins are those of amaranth-boards; the pulls of the serial line those of emard/ulx3s,
``doc/constraints/ulx3s_v20.lpf`` (boards 2.x and 3.0.x).
"""

from amaranth_boards.ulx3s import ULX3S_85F_Platform

from sigbit_boards.ecp5.board import Ecp5Board
from sigbit_synthesis.pnr import LFE5U_85F

BOARD = Ecp5Board(
    "ulx3s",
    LFE5U_85F,
    ULX3S_85F_Platform,
    on_chip_bytes=64 << 10,
    loader="ulx3s",
    sdram=True,
    pulls=(("PULLMODE", "UP"),),
)
