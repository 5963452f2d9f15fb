"""Training methods at equal budget, rate-distortion curves, post-training quantization, and the
cost of a training step."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import product
from pathlib import Path

from sigbit.bench.quantization.cases import ON_DEMAND, QuantCase, quant_cases, trial
from sigbit.bench.quantization.post_training import PostCase, post_cases
from sigbit.bench.quantization.rates import RATES as WIDTHS
from sigbit.bench.quantization.rates import VARIANTS, rate_case, rate_digest
from sigbit.bench.quantization.runs import leaders
from sigbit.campaigns import Job, Row
from sigbit.errors import UserError
from sigbit.flows.campaigns import quantization_jobs
from sigbit.flows.campaigns.code import NETWORKS, RELEASES
from sigbit.flows.campaigns.running import (
    Benchmark,
    CampaignResult,
    Place,
    RowBook,
    Watcher,
    run_jobs,
)
from sigbit_tools.toolchain import cache_dir

POST, RATES, SPEED = "post-training", "rates", "speed"
OTHERS = (POST, RATES, SPEED)
"""Groups other than those that train."""
CODE = (
    *NETWORKS,
    "sigbit.accelerators",
    "sigbit.bench.quantization",
    "sigbit.inputs",
    "sigbit.python_objects",
    "sigbit.training",
    quantization_jobs.__name__,
)
"""Sources that rows without training depend on."""
_JOBS = quantization_jobs.__name__


@dataclass(frozen=True)
class Choice:
    """The requested rows.

    Parameters
    ----------
    only : str, optional
        Runs whose names contain this.
    group : str, optional
        Rows of this group; None: of all groups that are not on demand.
    samples : int, optional
        Try the runs on this number of training and test samples, for one epoch each.
    images : int, optional
        Test at most this number of samples of a post-training row, or of each of its halves.
    """

    only: str | None = None
    group: str | None = None
    samples: int | None = None
    images: int | None = None


@dataclass(frozen=True)
class Selection:
    """Rows selected by a :class:`Choice`: runs, those that exist, and other groups."""

    cases: tuple[QuantCase, ...]
    known: tuple[QuantCase, ...]
    others: frozenset[str]


def select(choice: Choice) -> Selection:
    """Return the runs and groups of ``choice``; raise :class:`~sigbit.errors.UserError` if there
    are none."""
    only, group = choice.only, choice.group
    known = [*quant_cases(), *(case for name in ON_DEMAND for case in quant_cases(group=name))]
    groups = (*dict.fromkeys(c.group for c in known), *OTHERS)
    if group is not None and group not in groups:
        raise UserError(f"--group must be one of {', '.join(groups)}, not {group!r}")
    cases = [] if group in OTHERS else quant_cases(only, group)
    if group is not None:
        others = {group} & set(OTHERS)
    else:
        others = {name for name in OTHERS if only is None or only in name}
    if not cases and not others:
        raise UserError(
            f"no run has {only!r} in its name (group {group or 'any'}); names are such as "
            f"{', '.join(repr(c.name) for c in known[:3])}"
        )
    if samples := choice.samples:
        cases, known = ([trial(case, samples) for case in found] for found in (cases, known))
    return Selection(tuple(cases), tuple(known), frozenset(others))


def work_folder(place: Place) -> Path:
    """Return the folder of runs."""
    return (place.work or cache_dir() / "runs").absolute()


def open_rows(selection: Selection, place: Place) -> tuple[Benchmark, RowBook, set[str]]:
    """Return the benchmark, its file, and the digests of existing rows."""
    places = {case.config.digest: k for k, case in enumerate(selection.known)}
    asked = {case.config.digest for case in selection.cases}

    def finish(row: Row) -> Row | None:
        """Return ``row``; None for a row of a run of which only the float twin was requested."""
        return row if row["group"] in OTHERS or row["digest"] in asked else None

    benchmark = Benchmark(
        "sigbit bench quant",
        ("group", "digest"),
        _line,
        order=lambda row: places.get(row["digest"], len(places)),
        finish=finish,
    )
    book = RowBook(benchmark, place.file)
    return benchmark, book, {row["digest"] for row in book.rows if "failure" not in row}


def bench_quantization(
    choice: Choice,
    *,
    data: Path | None = None,
    place: Place | None = None,
    watcher: Watcher | None = None,
) -> CampaignResult:
    """Train the committed configurations and measure their integer models; the result has the rows
    that ``choice`` requests. Rows in the file of ``place`` are not measured again."""
    place, watcher = place or Place(), watcher or Watcher()
    selection = select(choice)
    if POST in selection.others and data is None:
        raise UserError(
            "post-training rows need trained networks and images: give --data DIR, or choose "
            "another --group"
        )
    benchmark, book, done = open_rows(selection, place)
    if SPEED in selection.others - done:  # first, while this process is small: it measures memory
        book.add([quantization_jobs.speed(watcher.tell)])
    work = work_folder(place)
    settings = {"data": None if data is None else str(data.absolute()), "work": str(work)}
    jobs = quantization_job_list(choice, selection, done, settings)
    kept = replace(place, work=work / "results")
    result = run_jobs(benchmark, jobs, kept, watcher, book)
    asked = {case.config.digest for case in selection.cases}
    shown = [r for r in book.rows if r["digest"] in asked or r["group"] in selection.others]
    return replace(result, rows=tuple(shown))


def quantization_job_list(
    choice: Choice, selection: Selection, done: set[str], settings: Mapping[str, str | None]
) -> list[Job]:
    """Return the jobs whose rows are not ``done``."""
    jobs = training_jobs([c for c in selection.cases if c.config.digest not in done], settings)
    if RATES in selection.others:
        jobs += _rate_jobs(choice, done, settings, {job.name for job in jobs})
    if POST in selection.others:
        only = choice.only if choice.group == POST else None
        jobs += [
            _post_job(case, choice.images, settings)
            for case in post_cases()
            if case.digest(choice.images) not in done and (only is None or only in case.name)
        ]
    return jobs


def training_jobs(cases: Sequence[QuantCase], settings: Mapping[str, str | None]) -> list[Job]:
    """Return a job for each run; runs that share a twin wait until the first of them has trained
    it. A run of hours is identified by its configuration, regardless of the sources it was started
    with."""
    first = leaders(cases)
    found = []
    for case in cases:
        leader = first[case.config.twin_digest]
        columns = {
            "group": case.group,
            "method": case.method,
            "strategy": case.strategy,
            "model": case.config.model.name,
            "weight_bits": case.bits,
            "act_bits": case.bits,
            "seed": case.config.seed,
            "digest": case.config.digest,
        }
        parameters = {
            **{name: columns[name] for name in ("group", "method", "strategy")},
            "bits": case.bits,
            "config": case.config.to_table(),
        }
        after = None if leader is case else leader.name
        found.append(Job(case.name, f"{_JOBS}:trained", parameters, settings, columns, after=after))
    return found


def _rate_jobs(
    choice: Choice, done: set[str], settings: Mapping[str, str | None], names: set[str]
) -> list[Job]:
    """Return a job for each rate and variant, after the run that trains their twin, which is one
    more job if it is not among ``names``."""
    case = rate_case() if choice.samples is None else trial(rate_case(), choice.samples)
    config = case.config.to_table()
    found = [
        Job(
            f"rates: {variant}, {bits} bits per weight",
            f"{_JOBS}:rated",
            {"bits": bits, "variant": variant, "config": config},
            settings,
            columns={
                "group": RATES,
                "strategy": variant,
                "weight_bits": bits,
                "digest": rate_digest(case, bits, variant),
            },
            code=CODE,
            releases=RELEASES,
            after=case.name,
        )
        for bits, variant in product(WIDTHS, VARIANTS)
        if rate_digest(case, bits, variant) not in done
    ]
    return found if not found or case.name in names else [*training_jobs([case], settings), *found]


def _post_job(post: PostCase, images: int | None, settings: Mapping[str, str | None]) -> Job:
    return Job(
        post.name,
        f"{_JOBS}:rounded",
        {"case": asdict(post.case), "strategy": post.strategy, "images": images},
        settings,
        columns={
            "group": POST,
            "strategy": post.strategy,
            "model": post.case.net,
            "weight_bits": post.case.bits,
            "digest": post.digest(images),
        },
        code=CODE,
        releases=RELEASES,
    )


def _line(row: Row) -> str:
    name = f"{row['group']}: {row['method']} {row['strategy']}".rstrip()
    return (
        f"{name} on {row['model']}, {row['weight_bits']} bits: {row['accuracy']:.2%} (float "
        f"{row['accuracy_float']:.2%})"
    )
