"""The report of ``sigbit run``: results of a device on a set of images."""

from collections.abc import Iterator

from sigbit.flows.pages.execution import cards, execution
from sigbit.flows.pages.identity import FOOTER, provenance
from sigbit.flows.pages.inspect import native_weights
from sigbit.flows.pages.memory import memory
from sigbit.flows.pages.numbers import activations, grid_use
from sigbit.flows.run import ProgramRun, RunDetails
from sigbit.report import sections
from sigbit.report.components import Card, Column, badge, table
from sigbit.report.page import Section, Verdict, render


def page(found: ProgramRun, command: str) -> str:
    """Return a self-contained page of a run with details; ``command`` is the command that
    reproduces it."""
    details, net = found.details, found.program
    assert details is not None
    parts = [
        sections.headline(_cards(found, details)),
        *_compared(found),
        *execution(details.program, details.timeline),
        *_numbers(found, details),
        memory(details.program),
        *_counters(found),
        provenance(command, {"device": found.device}, net.config, net),
    ]
    return render(
        f"{net.name} on {found.device}",
        f"{found.images:,} {'images' if found.images > 1 else 'image'}, {net.config.name}: "
        f"{net.config.macs:,} multiply-accumulates per cycle.",
        _verdict(found),
        parts,
        FOOTER,
    )


def _verdict(found: ProgramRun) -> Verdict | None:
    if not found.compared:
        return None
    codes = sum(c.codes for c in found.compared.values())
    wrong = found.mismatches
    text = f"{wrong:,} of {codes:,} codes differ." if wrong else f"all {codes:,} codes are equal."
    return Verdict(not wrong, text)


def _cards(found: ProgramRun, details: RunDetails) -> list[Card]:
    items = [Card("Images", f"{found.images:,}", f"on {found.device}")]
    if found.cycles is not None:
        items.append(Card("Cycles measured", f"{found.cycles.mean():,.0f}", "mean of all runs"))
    return [*items, *cards(details.program)]


def _compared(found: ProgramRun) -> Iterator[Section]:
    if not found.compared:
        return
    columns = [Column("what"), Column("codes", number=True), Column("different", number=True)]
    rows = [
        (
            what,
            f"{c.codes:,}",
            badge(f"{c.different:,}", "bad" if c.different else "good"),
            "; ".join(map(str, c.mismatches)),
        )
        for what, c in found.compared.items()
    ]
    yield Section("Comparison", table([*columns, Column("where", prose=True)], rows))


def _numbers(found: ProgramRun, details: RunDetails) -> Iterator[Section]:
    assert details.program.details is not None
    weights, acts = details.program.details.weights, details.activations
    samples = f"{found.images:,} {'images' if found.images > 1 else 'image'}"
    lead = "Native weight codes of the Program"
    lead += f", and values that {found.device} gave for {samples}." if acts else "."
    yield grid_use(weights, acts, lead)
    yield native_weights(weights)
    if acts:
        yield activations(acts, f"{samples}, as {found.device} gave it")


def _counters(found: ProgramRun) -> Iterator[Section]:
    if found.counters:
        columns = [Column("counter"), Column("count", number=True)]
        rows = [(name, f"{count:,}") for name, count in found.counters[0].items()]
        yield Section("Counters of the first run", table(columns, rows))
