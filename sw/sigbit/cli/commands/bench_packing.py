"""``sigbit bench packing``: the host's work per frame."""

from typing import Annotated

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import show_grid
from sigbit.errors import CheckFailed

COMMAND = "sigbit bench packing --json results/packing.json"


def packing(
    preset: Annotated[
        list[str] | None,
        typer.Option(metavar="NAME", help="An accelerator; repeatable. [default: four]"),
    ] = None,
    json: Json = None,
) -> None:
    """Time how inputs are laid out for the accelerator, and outputs read, by the compiled functions
    and by their definition in NumPy, whose bytes must be the same."""
    from sigbit.bench.packing import PACKING, measure
    from sigbit.results.files import RowFile

    rows = [row for name in preset or ("mid", "mobile", "zcu102", "dense") for row in measure(name)]
    show_grid(PACKING.grid(rows))
    write_json(json, RowFile("packing", tuple(rows), {"command": COMMAND}).to_json())
    if wrong := [f"{r['preset']}, {r['port']}" for r in rows if r["differ"]]:
        raise CheckFailed(f"the compiled functions and the definition differ: {'; '.join(wrong)}")
