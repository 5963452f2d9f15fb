"""``sigbit bench quant``: quantizers and strategies at equal budget, rate-distortion curves,
post-training quantization, and the cost of a training step."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.console.files import read_rows, target, write_rows
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import progress, say, show_grid, show_table
from sigbit.errors import CheckFailed, UserError
from sigbit_tools.files import replacing, write_text

if TYPE_CHECKING:
    from rich.progress import Progress

    from sigbit.bench.quantization.cases import QuantCase

Row = dict[str, Any]
POST, RATES, SPEED = "post-training", "rates", "speed"


def quant(
    json: Json = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="SUBSTRING",
            help='Only runs whose names contain this, such as "lsq on fashion" or "sinareq".',
        ),
    ] = None,
    group: Annotated[
        str | None,
        typer.Option(
            metavar="GROUP",
            help="quantizers, strategies, tasks, rates, post-training, speed, or cifar10, which "
            "runs only if it is asked for.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", exists=True, file_okay=False, help="Folder of data sets and checkpoints."
        ),
    ] = None,
    work: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR", file_okay=False, help="Where runs are kept; the user's cache by default."
        ),
    ] = None,
    jobs: Annotated[int, typer.Option(min=1, help="Runs at a time, a CPU core each.")] = 1,
    samples: Annotated[
        int | None,
        typer.Option(
            min=1,
            metavar="N",
            help="Try the runs on N training and N test samples, one epoch each.",
        ),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Images of post-training rows.")] = 200,
    plan: Annotated[
        bool, typer.Option("--plan", help="Say what would run and how long it takes; run nothing.")
    ] = False,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the tables as Markdown.", callback=target),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also draw accuracy over bits, as SVG.", callback=target),
    ] = None,
) -> None:
    """Train the committed configurations and measure the integer models.

    Rows are written as they finish. What is in FILE or in the folder of runs already is not done
    again, and a run that was interrupted goes on where it stood.
    """
    from platformdirs import user_cache_path

    from sigbit.bench.quantization.cases import ON_DEMAND, quant_cases, trial

    known = [*quant_cases(), *(case for name in ON_DEMAND for case in quant_cases(group=name))]
    groups = (*dict.fromkeys(c.group for c in known), POST, RATES, SPEED)
    if group is not None and group not in groups:
        raise UserError(f"--group must be one of {', '.join(groups)}, not {group!r}")
    rows = read_rows(json, {"group", "digest"})
    done = {row["digest"] for row in rows}
    cases = [] if group in (POST, RATES, SPEED) else quant_cases(only, group)
    if samples is not None:
        cases, known = ([trial(case, samples) for case in found] for found in (cases, known))
    others = _others(only, group)
    if not cases and not others:
        raise UserError(
            f"no run has {only!r} in its name (group {group or 'any'}); names are such as "
            f"{', '.join(repr(c.name) for c in known[:3])}"
        )
    left = [case for case in cases if case.config.digest not in done]
    if plan:
        _show_plan(left, len(cases) - len(left), data, jobs)
        if others:
            say(f"rows of {', '.join(sorted(others))} come on top: minutes each")
        return
    if POST in others and data is None:
        raise UserError(
            "post-training rows need trained networks and images: give --data DIR, or choose "
            "another --group"
        )
    folder = work or user_cache_path("sigbit") / "runs"
    failed: list[str] = []
    places = {case.config.digest: k for k, case in enumerate(known)}

    def finished(row: Row, name: str) -> None:
        rows[:] = [r for r in rows if r["digest"] != row["digest"]] + [row]
        rows.sort(key=lambda r: places.get(r["digest"], len(places)))
        write_rows(json, "sigbit bench quant", rows)
        if row["accuracy"] is not None:
            say(f"{name}: {row['accuracy']:.2%} (float {row['accuracy_float']:.2%})")

    if SPEED in others - done:  # first, while this process is small: it measures memory
        _speed(finished)
    failed += _train(left, data, folder, jobs, finished)
    if RATES in others:
        _rates(samples, data, folder, done, finished)
    if POST in others and data is not None:
        _post(data, images, only if group == POST else None, done, finished)
    shown = [r for r in rows if r["digest"] in {c.config.digest for c in cases}]
    _show(shown + [r for r in rows if r["group"] in others], markdown, plot)
    if failed:
        raise CheckFailed(f"{len(failed)} runs have no row:\n" + "\n".join(failed))


def _others(only: str | None, group: str | None) -> set[str]:
    """The groups beside training that are asked for."""
    if group is not None:
        return {group} & {POST, RATES, SPEED}
    return {name for name in (POST, RATES, SPEED) if only is None or only in name}


def _train(
    cases: "list[QuantCase]",
    data: Path | None,
    work: Path,
    jobs: int,
    finished: Callable[[Row, str], None],
) -> list[str]:
    """Run ``cases``; those that failed, and why."""
    from sigbit.bench.quantization.runs import run_cases

    failed: list[str] = []
    if not cases:
        return failed
    with progress(remaining=True) as bar:
        task = bar.add_task("runs", total=len(cases))
        for case, row in run_cases(cases, data, work, jobs):
            if isinstance(row, dict):
                finished(row, case.name)
            else:
                failed.append(f"{case.name}: {row}")
                say(f"failed: {failed[-1]}")
            bar.advance(task)
    return failed


def _rates(
    samples: int | None,
    data: Path | None,
    work: Path,
    done: set[str],
    finished: Callable[[Row, str], None],
) -> None:
    from sigbit.bench.quantization.cases import trial
    from sigbit.bench.quantization.rates import rate_case, rate_rows

    case = rate_case() if samples is None else trial(rate_case(), samples)
    with progress() as bar:
        for row in rate_rows(case, data, work, done, _telling(bar, "rates")):
            finished(row, f"rates: {row['strategy']}, {row['weight_bits']} bits a weight")


def _post(
    data: Path,
    images: int,
    only: str | None,
    done: set[str],
    finished: Callable[[Row, str], None],
) -> None:
    from sigbit.bench.quantization.post_training import post_cases, post_row

    for case in post_cases():
        if case.digest(images) in done or (only is not None and only not in case.name):
            continue
        with progress() as bar:
            row = post_row(case, data, images, _telling(bar, case.name))
        finished(row, case.name)


def _telling(bar: "Progress", name: str) -> Callable[[str, int, int], None]:
    task = bar.add_task(name, total=None)

    def tell(what: str, count: int, total: int) -> None:
        bar.update(task, description=f"{name}: {what}", completed=count, total=total)

    return tell


def _speed(finished: Callable[[Row, str], None]) -> None:
    from sigbit.bench.quantization.speed import speed_row

    with progress() as bar:
        row = speed_row(_telling(bar, "speed"))
    finished(row | {"digest": SPEED}, SPEED)


def _show_plan(cases: "list[QuantCase]", done: int, data: Path | None, jobs: int) -> None:
    from sigbit.bench.quantization.runs import estimates
    from sigbit.bench.quantization.runs import plan as planned
    from sigbit.data import load

    counts: dict[str, int] = {}

    def samples(case: "QuantCase") -> int:
        name = case.config.data.name
        if name not in counts:
            counts[name] = len(load(name, "train", data))
        return case.config.data.train_samples or counts[name]

    lines = planned(cases, estimates(cases, data), samples)
    show_table(
        f"{len(cases)} runs to do, {done} done",
        ["run", "minutes"],
        [[case.name, f"{seconds / 60:.1f}"] for case, seconds in lines],
        " >",
    )
    total = sum(seconds for _, seconds in lines)
    say(f"about {total / 3600 / jobs:.1f} h with --jobs {jobs} on as many idle cores")


def _show(rows: list[Row], markdown: Path | None, plot: Path | None) -> None:
    from sigbit.bench.quantization.claims import claim_grid, findings, goal_grid
    from sigbit.bench.quantization.plot import accuracies
    from sigbit.bench.quantization.tables import OTHERS, method_grid
    from sigbit.report.tables import document

    grids = [
        method_grid(rows),
        claim_grid(findings(rows)),
        goal_grid(rows),
        *(table.grid(rows) for table in OTHERS),
    ]
    for grid in grids:
        show_grid(grid)
    if markdown is not None:
        write_text(markdown, document(grids))
    if plot is not None:
        with replacing(plot) as file:
            file.write(accuracies(rows))
