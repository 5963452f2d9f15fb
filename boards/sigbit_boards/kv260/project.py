"""The KV260 starter kit (K26): a project for Vivado."""

from sigbit_boards.zynqmp.board import ZynqBoard

PROJECT = ZynqBoard(
    "kv260", "KV260", "xck26-sfvc784-2LV-c", "*:kv260_som:*", kria=True, preset="kv260"
)
