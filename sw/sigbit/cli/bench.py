"""``sigbit bench``: the figures of the documentation, row by row."""

import hashlib
import json as json_module
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.bench_quant import quant
from sigbit.cli.console.files import read_rows, target, write_rows
from sigbit.cli.console.options import Json, Latency
from sigbit.cli.console.output import progress, say, show_grid
from sigbit.cli.silicon import silicon
from sigbit.errors import CheckFailed, UserError
from sigbit_tools.files import write_text

if TYPE_CHECKING:
    from rich.progress import Progress

    from sigbit.bench.nets.row import Prediction
    from sigbit.runtime import Device
    from sigbit_hw.arch.config import ArchConfig
    from sigbit_hw.arch.program import Program

app = typer.Typer(
    help="Measure networks and accelerators; the figures of the documentation.",
    no_args_is_help=True,
)

Row = dict[str, Any]


@app.callback()
def bench() -> None:
    """Measure networks and accelerators."""


app.command("silicon")(silicon)
app.command("quant")(quant)


@app.command("nets")
def nets(
    json: Json = None,
    only: Annotated[
        str | None, typer.Option(metavar="NET", help="Only networks whose names contain this.")
    ] = None,
    preset: Annotated[
        str | None, typer.Option(metavar="NAME", help="Only rows of this accelerator.")
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Folder of data sets and checkpoints."
        ),
    ] = None,
    images: Annotated[
        int, typer.Option(min=1, help="Images for the accuracy of networks with trained weights.")
    ] = 200,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the table as Markdown.", callback=target),
    ] = None,
    latency: Latency = 40,
) -> None:
    """Run whole networks at full size through interpreter and RTL, every layer compared.

    Rows of the large accelerator are the cycle model's alone. Rows are written as they finish; a
    FILE that exists keeps its other rows. Rows whose data or weights are missing are left out, and
    named at the end.
    """
    from sigbit.bench.nets.cases import CASES, MODELLED
    from sigbit.bench.nets.row import model_case, run_case
    from sigbit.bench.nets.tables import TABLES
    from sigbit.data import DataError
    from sigbit.report.tables import document
    from sigbit.zoo import ZooError
    from sigbit_hw.arch.config import PRESETS

    simulators = _Simulators(latency)
    chosen = [
        case
        for case in (*CASES, *MODELLED)
        if (only is None or only in case.net) and preset in (None, case.preset)
    ]
    if not chosen:
        known = ", ".join(f"{c.net} on {c.preset}" for c in (*CASES, *MODELLED))
        raise UserError(f"no row has such a network and accelerator; there are {known}")
    rows = read_rows(json, {"net", "bits"})
    absent: list[str] = []
    for case in chosen:
        config = PRESETS[case.preset]
        try:
            with progress() as bar:
                tell = _telling(bar, case.net)
                if case in MODELLED:
                    fresh = model_case(case, config, data, simulators, tell)
                else:
                    fresh = [run_case(case, config, data, images, simulators, tell)]
        except (DataError, ZooError) as error:
            absent.append(f"{case.net} on {case.preset}")
            say(f"{absent[-1]}: not run: {error}")
            continue
        rows = _merged(rows, fresh)
        write_rows(json, "sigbit bench nets", rows)
        for row in fresh:
            say(
                f"{row['net']} on {row['preset']}: {row['cycles'] or row['model_cycles']:,} cycles,"
                f" array busy {row['utilization']:.1%}, {row['mismatches'] or 0} codes differ"
            )
    grids = [table.grid(rows) for table in TABLES]
    for grid in grids:
        show_grid(grid)
    if markdown is not None:
        write_text(markdown, document(grids))
    if wrong := [row["net"] for row in rows if row["mismatches"]]:
        raise CheckFailed(f"codes differ in {', '.join(wrong)}")
    if absent:
        raise UserError(
            f"{', '.join(absent)}: not run, for the reasons above; --data DIR names the folder of "
            "data sets and checkpoints"
        )


def _telling(bar: "Progress", net: str) -> Callable[[str, int, int], None]:
    """A callback that shows what is being done, the steps done and their number."""
    task = bar.add_task(net, total=None)

    def tell(what: str, done: int, total: int) -> None:
        bar.update(task, description=f"{net}: {what}", completed=done, total=total)

    return tell


class _Simulators:
    """The simulators as the benchmark wants them; devices are kept for the next row."""

    def __init__(self, latency: int) -> None:
        self._latency = latency
        self._devices: dict[str, list[Device]] = {}

    def devices(self, config: "ArchConfig") -> "list[Device]":
        """Interpreter and RTL."""
        from sigbit.flows.devices import DeviceName, open_device

        if config.digest not in self._devices:
            self._devices[config.digest] = [
                open_device(name, config, self._latency)
                for name in (DeviceName.INTERP, DeviceName.RTL)
            ]
        return self._devices[config.digest]

    def predict(self, program: "Program") -> "Prediction":
        """What the cycle model says."""
        from sigbit_sim.cycles import predict

        return predict(program, latency=self._latency)

    def netlist(self, config: "ArchConfig") -> str:
        """SHA-256 of the Verilog."""
        from sigbit_synthesis.emitted import cached_verilog

        return hashlib.sha256(cached_verilog(config).encode()).hexdigest()


def _merged(rows: list[Row], fresh: list[Row]) -> list[Row]:
    """``rows`` with ``fresh`` ones in the place of those of the same configuration."""
    merged = {_key(row): row for row in rows} | {_key(row): row for row in fresh}
    return list(merged.values())


def _key(row: Row) -> str:
    names = ("net", "bits", "preset", "images", "first_layer_terms")
    return json_module.dumps([row.get(name) for name in names])
