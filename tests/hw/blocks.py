"""What tests of single blocks share."""

from collections.abc import Awaitable, Callable
from typing import Any

from amaranth.sim import Simulator

Event = tuple[int, ...]
"""A cycle and what happened in it."""

EXOKAY = 1
"""A response that answers nothing that was asked, and is no error."""


def simulate(dut: Any, *benches: Callable[[Any], Awaitable[None]]) -> None:
    """Run until the last of ``benches`` ends, the others beside it."""
    simulator = Simulator(dut)
    simulator.add_clock(1e-8)
    *background, last = benches
    for bench in background:
        simulator.add_testbench(bench, background=True)
    simulator.add_testbench(last)
    simulator.run()


def always(cycle: int) -> bool:
    """In every cycle."""
    return True


def never(cycle: int) -> bool:
    """In no cycle."""
    return False
