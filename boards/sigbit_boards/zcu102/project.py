"""The ZCU102 (XCZU9EG): a project for Vivado."""

from sigbit_boards.zynqmp.board import ZynqBoard

PROJECT = ZynqBoard(
    "zcu102", "ZCU102", "xczu9eg-ffvb1156-2-e", "*:zcu102:*", kria=False, preset="zcu102"
)
