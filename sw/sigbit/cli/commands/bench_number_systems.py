"""``sigbit bench number-systems``: number systems on equal footing, in LUTs and in precision."""

from enum import StrEnum
from pathlib import Path
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
from sigbit.cli.console.files import target as writable
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import Fabric
from sigbit_tools.files import replacing


class ErrorDistribution(StrEnum):
    """Distribution of the numbers whose errors are plotted."""

    GAUSSIAN = "gaussian"
    LAPLACIAN = "laplacian"


@grouped
def number_systems(
    place: PlaceOptions,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="SUBSTRING",
            help="Only rows whose accelerator, number system, bits or fabric contain this.",
        ),
    ] = None,
    target: Annotated[
        list[Fabric] | None,
        typer.Option(help="A fabric; repeatable. Without it: xcup and ecp5."),
    ] = None,
    data: Data = None,
    routed: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="JSON of `sigbit build`: its clock stands in the row of the same netlist.",
        ),
    ] = None,
    markdown: Markdown = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg", help="Also draw LUTs against error, as SVG.", callback=writable
        ),
    ] = None,
    plot_source: Annotated[
        ErrorDistribution, typer.Option(help="Whose errors to draw.")
    ] = ErrorDistribution.GAUSSIAN,
) -> None:
    """Compare integers, powers of two, ESB and APoT at equal widths, by one generator and flow.

    Every accelerator also runs random programs in RTL, which must give the interpreter's codes; the
    build of one takes minutes the first time. Without --data the layers of the zoo, on which
    formats are compared, are random. Rows are written as they finish, in the benchmark's order; a
    FILE that exists keeps its other rows. A campaign that was cut off goes on where it stood.
    """
    from sigbit.bench.number_systems.plot import pareto
    from sigbit.bench.number_systems.tables import grids
    from sigbit.flows.campaigns.number_systems import FABRICS, bench_number_systems

    with watching("number systems") as watcher:
        result = bench_number_systems(
            only=only,
            targets=[fabric.value for fabric in target] if target else FABRICS,
            routed=routed or (),
            data=data,
            place=place.place(),
            watcher=watcher,
        )
    if result.good:
        show_grids(grids(result.good), markdown)
    if plot is not None:
        with replacing(plot) as file:
            file.write(pareto(result.good, plot_source))
    conclude(result)
