"""``sigbit bench nets``: whole networks at full size."""

from dataclasses import dataclass
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
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import Latency

if TYPE_CHECKING:
    from sigbit.flows.campaigns.nets import Memories


@dataclass(frozen=True)
class MemoryOptions:
    """The simulated memory."""

    latency: Latency = 40
    bandwidth: Annotated[
        str, typer.Option(metavar="RATIO", help="Beats per cycle each way of the memory, up to 1.")
    ] = "1"
    refresh: Annotated[
        str,
        typer.Option(
            metavar="CYCLES/PERIOD", help="Cycles without data of every so many; 0: no refresh."
        ),
    ] = "0"
    skew: Annotated[
        int,
        typer.Option(
            min=0, max=1000, help="Cycles by which every port answers later than the one before."
        ),
    ] = 0

    def memories(self) -> "Memories":
        """Return the same memories for a flow."""
        from sigbit.flows.campaigns.nets import Memories, memory_timing

        return Memories(memory_timing(self.latency, self.bandwidth, self.refresh), self.skew)


@grouped
def nets(
    place: PlaceOptions,
    memory: MemoryOptions,
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
) -> None:
    """Run whole networks at full size through interpreter and RTL, every layer compared.

    Rows of the large accelerators are the cycle model's alone, and give the cycles with slower
    memories too. Rows are written as they finish; a FILE that exists keeps its other rows. Rows
    whose data or weights are missing are left out, and named at the end. A campaign that was cut
    off goes on where it stood.
    """
    from sigbit.bench.nets.tables import TABLES
    from sigbit.flows.campaigns.nets import bench_nets

    with watching("networks") as watcher:
        result = bench_nets(
            only=only,
            preset=preset,
            images=images,
            memories=memory.memories(),
            data=data,
            place=place.place(),
            watcher=watcher,
        )
    show_grids([table.grid(result.good) for table in TABLES], markdown)
    conclude(result)
