"""The KR260 starter kit (K26): a project for Vivado."""

from sigbit_boards.zynqmp.board import ZynqBoard

PROJECT = ZynqBoard(
    "kr260", "KR260", "xck26-sfvc784-2LV-c", "*:kr260_som:*", kria=True, preset="kv260"
)
