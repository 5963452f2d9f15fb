"""``sigbit bench quant``: quantizers and strategies at equal budget, rate-distortion curves,
post-training quantization, and the cost of a training step."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigbit.cli.console.campaigns import (
    Data,
    Markdown,
    PlaceOptions,
    conclude,
    show_grids,
    watching,
)
from sigbit.cli.console.files import target
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.output import say, show_table
from sigbit_tools.files import replacing

if TYPE_CHECKING:
    from sigbit.flows.campaigns.quantization_plan import QuantizationPlan


@dataclass(frozen=True)
class ChoiceOptions:
    """Selection of rows."""

    only: Annotated[
        str | None,
        typer.Option(
            metavar="SUBSTRING",
            help='Only runs whose names contain this, such as "lsq on fashion" or "sinareq".',
        ),
    ] = None
    group: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            help="quantizers, strategies, tasks, rates, post-training, speed, or cifar10, which "
            "runs only if it is asked for.",
        ),
    ] = None
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Try the runs on N training and N test samples, one epoch each.",
        ),
    ] = None
    images: Annotated[
        int | None,
        typer.Option(min=1, metavar="N", help="Test at most N samples of a post-training row."),
    ] = None


@grouped
def quant(
    place: PlaceOptions,
    chosen: ChoiceOptions,
    data: Data = None,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would run and how long it takes; run nothing.")
    ] = False,
    markdown: Markdown = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw accuracy over bits, as SVG.", callback=target),
    ] = None,
) -> None:
    """Train the committed configurations and measure the integer models.

    Rows are written as they finish. What is in FILE or in the folder of runs already is not done
    again, and a run that was interrupted goes on where it stood.
    """
    from sigbit.bench.quantization.claims import claim_grid, findings, goal_grid
    from sigbit.bench.quantization.plot import accuracies
    from sigbit.bench.quantization.tables import OTHERS, method_grid
    from sigbit.flows.campaigns.quantization import Choice, bench_quantization
    from sigbit.flows.campaigns.quantization_plan import plan_quantization

    choice = Choice(chosen.only, chosen.group, chosen.samples, chosen.images)
    if plan:
        _show_plan(plan_quantization(choice, data=data, place=place.place()))
        return
    with watching("runs") as watcher:
        result = bench_quantization(choice, data=data, place=place.place(), watcher=watcher)
    rows = result.good
    others = [table.grid(rows) for table in OTHERS]
    show_grids([method_grid(rows), claim_grid(findings(rows)), goal_grid(rows), *others], markdown)
    if plot is not None:
        with replacing(plot) as file:
            file.write(accuracies(rows))
    conclude(result)


def _show_plan(found: "QuantizationPlan") -> None:
    show_table(
        f"{len(found.runs)} runs to do, {found.done} done",
        ["run", "minutes"],
        [[name, f"{seconds / 60:.1f}"] for name, seconds in found.runs],
        " >",
    )
    say(f"about {found.hours:.1f} h, {found.slots} at a time on as many idle cores")
    if found.others:
        say(f"rows of {', '.join(found.others)} come on top: minutes each")
