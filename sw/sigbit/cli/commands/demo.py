"""``sigbit demo``: handwritten digits from training to the accelerator, with every code
compared."""

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sigbit.cli.console.files import write_json, write_report
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import Arch, Json, Latency, Report
from sigbit.cli.console.output import say, show_grid
from sigbit.cli.console.telling import telling
from sigbit.errors import CheckFailed
from sigbit.flows.devices import DeviceName

if TYPE_CHECKING:
    from sigbit.flows.demo.outcome import Outcome


@dataclass(frozen=True)
class DemoOptions:
    """Options of the demonstration."""

    images: Annotated[
        int | None,
        typer.Option(min=1, help="Test images to run; the whole test split if not given."),
    ] = None
    seed: Annotated[
        int,
        typer.Option(min=0, max=(1 << 32) - 1, help="Random seed for initialization and training."),
    ] = 0
    device: Annotated[
        DeviceName, typer.Option(help="rtl: interpreter and RTL; interp: the interpreter alone.")
    ] = DeviceName.RTL
    latency: Latency = 40


@grouped
def demo(
    options: DemoOptions,
    arch: Arch = "micro",
    json: Json = None,
    report: Report = None,
) -> None:
    """Train, quantize, compile and run handwritten digits; compare every code of every layer.

    Exits with 1 if any code or any prediction differs.
    """
    from sigbit.flows.demo.page import page
    from sigbit.flows.demo.run import demo as flow

    with telling() as tell:
        outcome = flow(
            arch,
            images=options.images,
            seed=options.seed,
            device=options.device,
            latency=options.latency,
            tell=tell,
            over=lambda step, seconds: tell.note(f"{step}: {seconds:.1f} s"),
        )
    _show(outcome)
    write_json(json, outcome)
    write_report(report, partial(page, outcome))
    if not outcome.passed:
        raise CheckFailed(
            f"{outcome.mismatches:,} codes differ; predictions "
            f"{'are equal' if outcome.predictions_equal else 'differ'}"
        )


def _show(outcome: "Outcome") -> None:
    from sigbit.bench.demo_tables import layer_grid, result_grid

    document = outcome.to_json()
    show_grid(layer_grid(document))
    show_grid(result_grid(document))
    steps = ", ".join(f"{name} {seconds:.0f}" for name, seconds in outcome.steps.items())
    say(f"{outcome.seconds:.0f} seconds ({steps})")
