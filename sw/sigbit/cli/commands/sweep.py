"""``sigbit sweep``: many runs of a configuration with varying keys."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import say, show_table
from sigbit.cli.console.telling import telling
from sigbit.cli.console.training_options import Config, FolderOptions, MachineOptions

SHOWN = 30
"""Maximum number of trials in the table; the JSON file holds all."""


@dataclass(frozen=True)
class StudyOptions:
    """Storage and name of the trials."""

    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", file_okay=False, help="Folder of the trials' folders."
        ),
    ]
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the study is kept: sqlite:///FILE, mysql://..., postgresql://... (shared "
            "by any number of machines); DIR/study.db if not given.",
        ),
    ] = None
    name: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Name of the study; that of CONFIG if not given."),
    ] = None


@grouped
def sweep(
    config: Config,
    study: StudyOptions,
    folders: FolderOptions,
    hardware: MachineOptions,
    json: Json = None,
) -> None:
    """Search the space in CONFIG's table `sweep` with Optuna.

    Start it on as many machines as you like with the same --storage and --name; started again, it
    goes on until all trials are done.
    """
    from sigbit.flows.sweep import sweep as flow
    from sigbit.training import Machine

    with telling(remaining=True) as tell:
        found = flow(
            config,
            study.output,
            storage=study.storage,
            name=study.name,
            data=folders.data,
            twins=folders.twins,
            machine=Machine.launched(
                cpu=hardware.cpu, precision=hardware.precision, threads=hardware.threads
            ),
            tell=tell,
        )
    for number, reason in found.failures.items():
        say(f"trial {number} has no value: {reason}")
    if found.running:
        say(
            f"{found.running} trials are still running, or were cut off in the last minutes: "
            "the same command shows them later, and repeats those that were"
        )
    keys = list(found.space)
    show_table(
        f"{len(found.trials)} trials, the best first",
        ["trial", *keys, found.metric],
        [
            [trial["trial"], *(_short(trial[key]) for key in keys), f"{trial['value']:.4f}"]
            for trial in found.trials[:SHOWN]
        ],
        ">" * (len(keys) + 2),
    )
    if found.best is not None:
        say(f"the best: {found.best}")
    write_json(json, found)


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
