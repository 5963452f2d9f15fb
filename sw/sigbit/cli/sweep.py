"""``sigbit sweep``: many runs of a configuration whose keys vary."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import progress, say, show_table
from sigbit.cli.train import Config, Cpu, Data, Precision, Threads, Twins, telling, user_folder
from sigbit.errors import UserError

if TYPE_CHECKING:
    from sigbit.training import RunConfig

SHOWN = 30
"""Trials in the table; the JSON file holds all."""


def sweep(
    config: Config,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", file_okay=False, help="Folder of the trials' folders."
        ),
    ],
    storage: Annotated[
        str | None,
        typer.Option(
            metavar="URL",
            help="Where the study is kept: sqlite:///FILE, mysql://..., postgresql://... (shared "
            "by any number of machines); DIR/study.db if not given.",
        ),
    ] = None,
    name: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of the study; that of CONFIG if not given.")
    ] = None,
    data: Data = None,
    twins: Twins = None,
    cpu: Cpu = False,
    precision: Precision = "no",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Search the space in CONFIG's table `sweep` with Optuna.

    Start it on as many machines as you like with the same --storage and --name; started again, it
    goes on until all trials are done.
    """
    from sigbit.training import Machine, Options, TrainingRun, load_splits
    from sigbit.training.config import load_sweep
    from sigbit.training.sweep import Sweep, trial_folder

    table, wanted = load_sweep(config)
    folder = user_folder(output)
    study = Sweep(table, wanted, name or config.stem, storage or f"sqlite:///{folder / 'study.db'}")
    machine = Machine.launched(cpu=cpu, precision=precision, threads=threads)
    if machine.processes > 1:
        raise UserError(
            f"a trial is run by one process, not by {machine.processes}: start sweep as often as "
            "you like with one --storage, without accelerate launch"
        )
    options = Options(twins=folder / "twins" if twins is None else twins)
    with progress(remaining=True) as bar:

        def run(chosen: "RunConfig", where: Path) -> Mapping[str, Any]:
            splits = load_splits(chosen.data, chosen.model.name, data, progress=True)
            tell = telling(bar, machine, f"{where.name}, ")
            return TrainingRun(
                chosen, splits, where, machine=machine, options=options, tell=tell
            ).finish()

        rows = study.work(folder, run)
    for number, reason in study.failures().items():
        say(f"trial {number} has no value: {reason}")
    if study.running:
        say(
            f"{study.running} trials are still being run, or were cut off in the last minutes: "
            "the same command shows them later, and does again those that were"
        )
    keys = list(wanted.space)
    show_table(
        f"{len(rows)} trials, the best first",
        ["trial", *keys, wanted.metric],
        [[r["trial"], *(_short(r[k]) for k in keys), f"{r['value']:.4f}"] for r in rows[:SHOWN]],
        ">" * (len(keys) + 2),
    )
    if rows:
        say(f"the best: {trial_folder(folder, rows[0]['trial'])}")
    write_json(json, {"study": study.study.study_name, "space": dict(wanted.space), "trials": rows})


def _short(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
