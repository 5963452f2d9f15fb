"""The Icepi Zero 1.3; not yet tested on a board."""

from amaranth_boards.icepi_zero import IcepiZero1_3Platform

from sigbit_boards.ecp5.board import Ecp5Board
from sigbit_synthesis.pnr import LFE5U_25F

BOARD = Ecp5Board(
    "icepi",
    LFE5U_25F,
    IcepiZero1_3Platform,
    on_chip_bytes=32 << 10,
    loader="icepi-zero",
)
