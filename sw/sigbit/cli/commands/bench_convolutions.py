"""``sigbit bench convolutions``: torch convolutions that crash or give wrong results on this
machine."""

import dataclasses
import sys
from pathlib import Path
from typing import Annotated

import typer

from sigbit.bench.convolutions.shapes import Limit, shapes
from sigbit.cli.console.files import target, write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import progress, say, show_table
from sigbit.errors import CheckFailed, UserError
from sigbit_tools.files import write_text


def convolutions(
    json: Json = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the tables as Markdown.", callback=target),
    ] = None,
    limit: Annotated[
        list[Limit] | None,
        typer.Option(
            help="Largest instruction set that oneDNN may use; repeatable. DEFAULT: all "
            "that the processor has. [default: AVX2, DEFAULT]",
        ),
    ] = None,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    channels: Annotated[
        int, typer.Option(min=1, max=16, help="Input channels, from 1 to this number.")
    ] = 16,
) -> None:
    """Convolve in both memory layouts, forwards and backwards, and compare with float64.

    Each shape runs in a process of its own, in which a write past a buffer is a crash.
    Channels-last convolutions are tried as torch does them, and as this package has them done,
    which must be right: docs/troubleshooting.md says what the others do.
    """
    if not sys.platform.startswith("linux"):
        raise UserError(
            f"processes are forked and their memory is checked on Linux only, not on {sys.platform}"
        )
    from sigbit.bench.convolutions import tables
    from sigbit.bench.convolutions.sweep import Row, machine, sweep

    rows: list[Row] = []
    facts = dataclasses.asdict(machine())
    with progress() as bar:
        task = bar.add_task("convolutions", total=None)

        def tell(what: str, done: int, total: int) -> None:
            bar.update(task, description=what, completed=done, total=total)

        for row in sweep(
            [*shapes(range(1, channels + 1))], limit or [Limit.AVX2, Limit.DEFAULT], threads, tell
        ):
            rows.append(row)
            write_json(json, {"machine": facts, "rows": [r.to_json() for r in rows]})
    parts = [
        ("Convolutions against float64", tables.COLUMNS, tables.summary(rows), "  >>>>>"),
        ("At fault", tables.FAULTS, tables.faults(rows), "    >"),
    ]
    say(", ".join(f"{name} {value}" for name, value in facts.items()))
    for title, columns, lines, numbers in parts:
        if lines:
            show_table(title, columns, lines, numbers)
    if markdown is not None:
        texts = (tables.markdown(columns, lines) for _, columns, lines, _ in parts)
        write_text(markdown, "\n".join(filter(None, texts)))
    if wrong := [row for row in rows if row.is_ours and row.faults]:
        raise CheckFailed(
            "this package convolves so: "
            + "; ".join(f"{len(r.faults)} shapes at fault in {r.layout.value}" for r in wrong)
        )
