"""Convolutions of torch that crash or are wrong, by memory layout and instruction set."""

import dataclasses
import json
import platform
import re
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from sigbit.bench.convolutions.fence import environment
from sigbit.bench.convolutions.probe import Layout, Order, Trial
from sigbit.bench.convolutions.shapes import Limit, Shape

TOLERANCE = 1e-4
"""Relative error above which a float32 result is wrong; sums of these shapes stay below 1e-5."""
_USED = re.compile(r"^onednn_verbose,.*,cpu,isa:(.*)$", re.M)
_VERSION = re.compile(r"^onednn_verbose,.*,info,oneDNN (v[\d.]+)", re.M)

Tell = Callable[[str, int, int], None]
"""Called with the current activity, the number of shapes done and their total number."""


@dataclass(frozen=True)
class Machine:
    """Properties of oneDNN and the processor, as reported by oneDNN."""

    processor: str
    torch: str
    onednn: str
    instructions: str


@dataclass(frozen=True)
class Row:
    """All shapes in one layout and instruction set.

    Parameters
    ----------
    limit : Limit
        Instruction set that oneDNN was limited to.
    instructions : str
        Instruction set that oneDNN then uses, as it reports it.
    layout : Layout
        Layout of the input.
    threads : int
        CPU threads.
    shapes : int
        Shapes tested: forward pass and both gradients of each.
    largest_error : float
        Largest error of the shapes that neither crashed nor were wrong.
    faults : tuple of Trial
        The other shapes.
    """

    limit: Limit
    instructions: str
    layout: Layout
    threads: int
    shapes: int
    largest_error: float
    faults: tuple[Trial, ...]

    @property
    def crashes(self) -> int:
        """Shapes whose process was ended by a signal."""
        return sum(bool(fault.crash) for fault in self.faults)

    @property
    def is_ours(self) -> bool:
        """True if sigbit computes convolutions in this way."""
        return self.layout is not Layout.CHANNELS_LAST

    def to_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return {**dataclasses.asdict(self), "crashes": self.crashes}


def machine(limit: Limit = Limit.DEFAULT) -> Machine:
    """Query oneDNN in a separate process, because it reads the environment only once."""
    code = (
        "import torch; torch.conv2d(torch.ones(4, 8, 24, 24), torch.ones(8, 8, 3, 3))\n"
        "print(torch.backends.cpu.get_cpu_capability())"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(limit),
        capture_output=True,
        text=True,
        check=True,
    )
    used, version = _USED.search(done.stdout), _VERSION.search(done.stdout)
    return Machine(
        platform.machine() if platform.system() != "Linux" else _processor(),
        torch.__version__,
        version[1] if version else "none",
        used[1].strip() if used else f"torch's own {done.stdout.strip().splitlines()[-1]}",
    )


def _processor() -> str:
    with open("/proc/cpuinfo", encoding="utf-8") as file:
        names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    return names[0] if names else platform.machine()


def sweep(
    shapes: Sequence[Shape], limits: Sequence[Limit], threads: int, tell: Tell
) -> Iterator[Row]:
    """Yield a row for every limit and layout, as they finish; limits that lead to the same
    instruction set give one row."""
    seen: set[str] = set()
    for limit in limits:
        used = machine(limit).instructions
        if used in seen:
            continue
        seen.add(used)
        for layout in Layout:
            order = Order(layout, threads, tuple(shapes))

            def said(done: int, what: str = f"{used}, {layout}") -> None:
                tell(what, done, len(shapes))

            yield _row(limit, used, order, [*_trials(order, limit, said)])


def _row(limit: Limit, used: str, order: Order, trials: Sequence[Trial]) -> Row:
    right = [t.error for t in trials if t.error is not None and t.error <= TOLERANCE]
    faults = tuple(t for t in trials if t.error is None or not t.error <= TOLERANCE)
    return Row(
        limit, used, order.layout, order.threads, len(trials), max(right, default=0.0), faults
    )


def _trials(order: Order, limit: Limit, said: Callable[[int], None]) -> Iterator[Trial]:
    with subprocess.Popen(
        [sys.executable, "-m", "sigbit.bench.convolutions.probe"],
        env={**environment(limit), "OMP_NUM_THREADS": str(order.threads)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        json.dump(dataclasses.asdict(order), process.stdin)
        process.stdin.close()
        for count, line in enumerate(process.stdout, 1):
            said(count)
            found = json.loads(line)
            yield Trial(
                Shape(**found["shape"]), found["error"], found["crash"], tuple(found["kernels"])
            )
    if process.returncode:
        raise RuntimeError(f"the probe ended with status {process.returncode}")
