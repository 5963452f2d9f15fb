"""``sigbit demo``: handwritten digits from training to the accelerator, every code compared."""

import shlex
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.console.files import target, write_json
from sigbit.cli.console.options import Arch, Json, Latency
from sigbit.cli.console.output import progress, say, show_grid, ticking
from sigbit.errors import CheckFailed, UserError
from sigbit.flows.devices import DeviceName, open_device, preparing
from sigbit.inputs.accelerators import load_arch
from sigbit_tools.files import write_text
from sigbit_tools.stopwatch import Stopwatch

if TYPE_CHECKING:
    from rich.console import Console

    from sigbit.demo.checking import DeviceCheck
    from sigbit.demo.outcome import Outcome
    from sigbit.runtime import Device
    from sigbit_hw.arch.config import ArchConfig


def demo(
    arch: Arch = "micro",
    images: Annotated[
        int | None,
        typer.Option(min=1, help="Test images to run; the whole test split if not given."),
    ] = None,
    seed: Annotated[
        int, typer.Option(min=0, max=(1 << 32) - 1, help="Of the weights and of the training.")
    ] = 0,
    device: Annotated[
        DeviceName, typer.Option(help="rtl: interpreter and RTL; interp: the interpreter alone.")
    ] = DeviceName.RTL,
    latency: Latency = 40,
    json: Json = None,
    report: Annotated[
        Path | None, typer.Option(metavar="FILE.html", callback=target, help="Write a report.")
    ] = None,
) -> None:
    """Train, quantize, compile and run handwritten digits; compare every code of every layer.

    Exits with 1 if any code or any prediction differs.
    """
    config = load_arch(arch)
    outcome = _run(config, images, seed, device, latency)
    found = outcome.to_json()
    _summary(found)
    write_json(json, found)
    if report is not None:
        from importlib.metadata import version

        from sigbit.demo.report import document

        words = ["sigbit", "demo", "--arch", arch, "--images", str(outcome.images)]
        words += ["--seed", str(seed), "--device", str(device), "--latency", str(latency)]
        words += ["--report", str(report)]
        write_text(report, document(outcome, shlex.join(words), version("sigbit")))
        say(f"wrote {report}")
    if not outcome.passed:
        raise CheckFailed(
            f"{outcome.mismatches:,} codes differ; predictions "
            f"{'are equal' if outcome.predictions_equal else 'differ'}"
        )


class _Clock:
    """Seconds by step; tells each step when it is over."""

    def __init__(self, tell: "Console") -> None:
        self._tell = tell
        self._seconds: dict[str, float] = {}

    @contextmanager
    def step(self, name: str) -> Iterator[None]:
        """Measure the block as step ``name``."""
        begin = time.perf_counter()
        yield
        self._seconds[name] = time.perf_counter() - begin
        self._tell.print(f"{name}: {self._seconds[name]:.1f} s", style="dim", highlight=False)

    @property
    def seconds(self) -> dict[str, float]:
        """Of all steps so far."""
        return dict(self._seconds)


def _run(
    config: "ArchConfig", images: int | None, seed: int, device: DeviceName, latency: int
) -> "Outcome":
    """The whole flow; the RTL is built while the network trains and runs beside the interpreter."""
    spent = Stopwatch()
    from sigbit.data import load_digits

    digits = load_digits()
    most = len(digits.test_y)
    count = most if images is None else images
    if count > most:
        raise UserError(f"--images must be in [1, {most}], the test split, not {images}")
    with ThreadPoolExecutor(1) as background, progress() as bar:
        clock = _Clock(bar.console)
        rtl: Future[Device] | None = None
        if device is DeviceName.RTL:
            rtl = background.submit(open_device, DeviceName.RTL, config, latency)
            building = bar.add_task(preparing(device), total=None)
            rtl.add_done_callback(lambda _: bar.remove_task(building))
        from sigbit.compiler import compile_graph
        from sigbit.demo.checking import check_device, golden_layers, predictions
        from sigbit.demo.outcome import Outcome
        from sigbit.demo.training import train_digits

        task = bar.add_task("training", total=None)

        def trained_to(text: str, done: int, total: int) -> None:
            bar.update(task, description=text, completed=done, total=total)
            if rtl is not None and rtl.done():
                rtl.result()  # raises at once what keeps the RTL from being built

        def check(what: "Device") -> "DeviceCheck":
            note = bar.add_task(f"{what.name}: running", total=count)
            return check_device(what, program, graph, golden, ticking(bar, note))

        with clock.step("training"):
            trained = train_digits(digits, config, seed, trained_to)
            graph = trained.graph
        with clock.step("compiling"):
            program = compile_graph(graph, config)
        with clock.step("integer model"):
            golden = golden_layers(graph, trained.stored[:count])
        with clock.step("devices"):
            job = None if rtl is None else background.submit(check, rtl.result())
            checks = {"interp": check(open_device(DeviceName.INTERP, config, latency))}
            if job is not None:
                checks["rtl"] = job.result()
        options = {"seed": seed, "images": count, "latency": latency}
        predicted = predictions(graph, golden)
        return Outcome(trained, program, checks, predicted, options, clock.seconds, spent.read())


def _summary(document: Mapping[str, Any]) -> None:
    from sigbit.demo.tables import layer_grid, result_grid

    show_grid(layer_grid(document))
    show_grid(result_grid(document))
    parts = ", ".join(f"{k} {v:.0f}" for k, v in document["seconds_by_step"].items())
    say(f"{document['seconds']:.0f} seconds ({parts})")
