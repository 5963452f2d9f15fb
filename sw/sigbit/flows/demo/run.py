"""The demonstration from start to end."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from itertools import count

from sigbit.compiler import compile_graph
from sigbit.data import load_digits
from sigbit.errors import UserError
from sigbit.flows.demo import training
from sigbit.flows.demo.checking import DeviceCheck, check_device, golden_layers, predictions
from sigbit.flows.demo.outcome import Outcome
from sigbit.flows.devices import DeviceName, open_device
from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Stopwatch
from sigbit.inputs.accelerators import load_arch
from sigbit.runtime import Device
from sigbit_hw.arch.config import ArchConfig
from sigbit_sim.memory import MemoryTiming

Over = Callable[[str, float], None]
"""Called with the name of a finished step and its seconds."""


def demo(
    arch: str | ArchConfig = "micro",
    *,
    images: int | None = None,
    seed: int = 0,
    device: DeviceName = DeviceName.RTL,
    latency: int = 40,
    tell: Tell = silent,
    over: Over = lambda name, seconds: None,
) -> Outcome:
    """Train, quantize, compile and run handwritten digits, and compare every code of every layer.

    The RTL is built while the network trains, and runs beside the interpreter.

    Parameters
    ----------
    images : int, optional
        Images to run, from the first one of the test split on; all of them if not given.
    seed : int
        Random seed for initialization and training.
    device : DeviceName
        ``rtl`` for interpreter and RTL, ``interp`` for the interpreter alone.
    latency : int
        Cycles of memory latency of the RTL.
    """
    watch = Stopwatch()
    config, digits = load_arch(arch), load_digits()
    if device not in (DeviceName.INTERP, DeviceName.RTL):
        raise UserError(f"the demonstration runs on interp or rtl, not on {device}")
    most = len(digits.test_y)
    images = most if images is None else images
    if not 1 <= images <= most:
        raise UserError(f"--images must be in [1, {most}], the test split, not {images}")
    memory = MemoryTiming(latency)
    step = _Steps(over)
    with ThreadPoolExecutor(1) as background:
        rtl: Future[Device] | None = None
        if device is DeviceName.RTL:
            on_line = partial(tell, line="rtl")
            rtl = background.submit(open_device, device, config, memory, tell=on_line)
            rtl.add_done_callback(lambda _: on_line("rtl", 1, 1))

        def trained_to(what: str, done: int, total: int) -> None:
            tell(what, done, total)
            if rtl is not None and rtl.done():
                rtl.result()  # raises at once what keeps the RTL from being built

        def check(device: Device) -> DeviceCheck:
            done, what = count(1), f"{device.name}: running"
            tell(what, 0, images, line=device.name)
            return check_device(
                device,
                program,
                trained.graph,
                golden,
                lambda _: tell(what, next(done), images, line=device.name),
            )

        with step("training"):
            trained = training.train_digits(digits, config, seed, trained_to)
        with step("compiling"):
            program = compile_graph(trained.graph, config)
        with step("integer model"):
            golden = golden_layers(trained.graph, trained.stored[:images])
        with step("devices"):
            job = None if rtl is None else background.submit(check, rtl.result())
            checks = {"interp": check(open_device(DeviceName.INTERP, config, memory))}
            if job is not None:
                checks["rtl"] = job.result()
        return Outcome(
            trained=trained,
            program=program,
            checks=checks,
            integer_predictions=predictions(trained.graph, golden),
            options={"seed": seed, "images": images, "latency": latency},
            steps=step.seconds,
            **watch.read(),
        )


class _Steps:
    """Seconds by step."""

    def __init__(self, over: Over) -> None:
        self._over = over
        self.seconds: dict[str, float] = {}

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        """Measure the block as step ``name``."""
        begin = time.perf_counter()
        yield
        self.seconds[name] = time.perf_counter() - begin
        self._over(name, self.seconds[name])
