"""Faults planted in the C driver, each of which its tests see."""

from pathlib import Path

import pytest

from boards.conformance import NANO, PROGRAMS
from boards.fake_registers import InterpAccelerator
from driver.c_board import SocketBoard, Tools, build
from driver.test_c_driver import all_turns, check_turns, memory, several_ports
from sigbit_hw.driver.sources import driver_sources

FAULTS = {
    "the first port's part for all": ("memory.c", "at = port * s.part", "at = 0 * s.part"),
    "beats of one port": ("memory.c", "+ port * s.port_bytes, s.port_bytes", "+ 0, s.port_bytes"),
    "no synchronisation for the accelerator": (
        "memory.c",
        "s.beats ? board->to_device(board->context, at, s.beats * s.port_bytes) : 0",
        "0",
    ),
    "half of it is synchronised": ("memory.c", "at, s.beats * s.port_bytes);", "at, 8);"),
    "addresses of 32 bits": ("device.c", "(uint32_t)(base >> 32)", "0"),
    "the base of the first Program for all": ("device.c", "+ r->base;", ";"),
    "registers of the Program before": (
        "device.c",
        "if (device->ready != resident)",
        "if (!device->ready)",
    ),
    "the error before stays": ("device.c", "if (reset(device)) return SIGBIT_BOARD;", ""),
    "errors are not looked at": ("device.c", "if (!(pending & SIGBIT_IRQ_ERROR))", "if (1)"),
    "no wait": ("device.c", "while (!(pending =", "if (!(pending ="),
    "every Program is taken for the first": ("memory.c", "!memcmp(r->digest", "memcmp(r->digest"),
}


def planted(name: str) -> dict[str, str]:
    """The sources with a fault."""
    file, right, wrong = FAULTS[name]
    sources = driver_sources()
    assert right in sources[file], f"{name}: {file} has no {right!r}"
    return sources | {file: sources[file].replace(right, wrong)}


def use(tools: Tools, folder: Path) -> None:
    """What the driver's tests do with it."""
    accelerator = InterpAccelerator(NANO, PROGRAMS, memory())
    with SocketBoard(folder / "one", accelerator).listening() as board:
        check_turns(all_turns(folder).right(tools, board, timeout=2000))
    several_ports(tools, folder, timeout=2000)


@pytest.mark.sim
@pytest.mark.parametrize("name", FAULTS)
def test_is_seen(name: str, tmp_path: Path) -> None:
    tools = build(tmp_path, "cc", ("-O0", "-Wno-error"), sources=planted(name))
    with pytest.raises((AssertionError, ValueError)):
        use(tools, tmp_path)
