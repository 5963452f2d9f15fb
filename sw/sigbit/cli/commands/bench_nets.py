"""``sigbit bench nets``: whole networks at full size."""

from typing import Annotated

import typer

from sigbit.cli.console.campaigns import (
    Data,
    Markdown,
    PlaceOptions,
    conclude,
    show_grids,
    watching,
)
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import Latency


@grouped
def nets(
    place: PlaceOptions,
    only: Annotated[
        str | None, typer.Option(metavar="NET", help="Only networks whose names contain this.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only rows of this accelerator.")
    ] = None,
    data: Data = None,
    images: Annotated[
        int, typer.Option(min=1, help="Images for the accuracy of networks with trained weights.")
    ] = 200,
    markdown: Markdown = None,
    latency: Latency = 40,
    bandwidth: Annotated[
        str, typer.Option(metavar="RATIO", help="Beats a cycle each way of the memory, up to 1.")
    ] = "1",
    refresh: Annotated[
        str,
        typer.Option(
            metavar="CYCLES/PERIOD", help="Cycles without data of every so many; 0: no refresh."
        ),
    ] = "0",
    skew: Annotated[
        int,
        typer.Option(
            min=0, max=1000, help="Cycles by which every port answers later than the one before."
        ),
    ] = 0,
) -> None:
    """Run whole networks at full size through interpreter and RTL, every layer compared.

    Rows of the large accelerator are the cycle model's alone, and give the cycles with slower
    memories too. Rows are written as they finish; a
    FILE that exists keeps its other rows. Rows whose data or weights are missing are left out, and
    named at the end. A campaign that was cut off goes on where it stood.
    """
    from sigbit.bench.nets.tables import TABLES
    from sigbit.flows.campaigns.nets import bench_nets, memory_timing

    with watching("networks") as watcher:
        result = bench_nets(
            only=only,
            preset=preset,
            images=images,
            memory=memory_timing(latency, bandwidth, refresh),
            skew=skew,
            data=data,
            place=place.place(),
            watcher=watcher,
        )
    show_grids([table.grid(result.good) for table in TABLES], markdown)
    conclude(result)
