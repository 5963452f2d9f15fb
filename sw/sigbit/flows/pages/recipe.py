"""Bits by a budget: the curve of accuracy over cost, the chosen bits, and the sensitivities."""

from collections.abc import Iterator
from functools import partial

from sigbit.flows.recipe import BitsSensitivity, ChosenBits
from sigbit.report import charts
from sigbit.report.components import Column, badge, figure, legend, table
from sigbit.report.page import Section
from sigbit.report.tables import percent

_PARTS = (
    ("series-1", "estimated accuracy, relative to the float network"),
    ("series-2", "same decision as the float network"),
)


def recipe(found: ChosenBits | None) -> Iterator[Section]:
    """Yield the sections on a search for bits; none without one."""
    if found is not None:
        yield _curve(found)
        yield _bits(found)
        if found.sensitivities:
            yield _sensitivities(found)


def _curve(found: ChosenBits) -> Section:
    curve = found.curve
    chosen = next(i for i, p in enumerate(curve) if p.chosen)
    values = ([100 - p.points for p in curve], [100 * p.agreement for p in curve])
    draw = partial(
        charts.tradeoff,
        [p.cost for p in curve],
        [(tone, v) for (tone, _), v in zip(_PARTS, values, strict=True)],
        chosen,
        found.unit,
        "of the samples",
    )
    caption = (
        f"The chosen network takes {found.cost:,.0f} {found.unit} and is estimated to lose "
        f"{found.points:.2f} ± {found.deviation:.2f} points of accuracy."
    )
    columns = [Column(found.unit, number=True), Column("points lost", number=True)]
    columns += [
        Column("agreement", number=True),
        Column("error of the outputs", number=True),
        Column(""),
    ]
    rows = [
        (
            f"{p.cost:,.0f}",
            f"{p.points:.2f} ± {p.deviation:.2f}",
            percent(p.agreement),
            f"{p.error:.4g}",
            badge("chosen", "good") if p.chosen else "",
        )
        for p in curve
    ]
    return Section(
        f"Accuracy over {found.unit}",
        legend(_PARTS) + figure(draw, caption) + table(columns, rows),
        f"Networks of other bits on {found.samples} calibration samples that were held out, with "
        "all corrections but learning. Without labels, accuracy is estimated from the float "
        "network's own probabilities: a changed decision costs what it is less probable. A float "
        "network that is too sure of itself makes the loss look larger.",
    )


def _bits(found: ChosenBits) -> Section:
    columns = [Column("layer"), Column("weight terms", number=True)]
    columns.append(Column("activation planes", number=True))
    lead = f"{found.cost:,.0f} of at most {found.limit:,.0f} {found.unit}."
    if found.what != found.unit:
        lead = f"{found.points:.2f} of at most {found.limit:g} points of accuracy, estimated."
    rows = [(name, *pair) for name, pair in found.bits.items()]
    return Section("Bits within the budget", table(columns, rows), lead)


def _sensitivities(found: ChosenBits) -> Section:
    columns = [Column("layer"), Column("what"), Column("terms or planes", number=True)]
    columns += [Column("error of the outputs", number=True), Column(found.unit, number=True)]

    def least(s: BitsSensitivity) -> float:
        return -s.choices[0][1]

    rows = [
        (", ".join(s.layers), s.kind, bits, f"{error:.3g}", f"{cost:+,.0f}" if cost else "0")
        for s in sorted(found.sensitivities, key=least)
        for bits, error, cost in s.choices
    ]
    return Section(
        "Sensitivity to bits",
        table(columns, rows),
        "Relative squared error of the outputs with one choice of few bits and all others at the "
        f"most bits, after correction; and the {found.unit} that a choice adds to the network of "
        "the least bits. The most sensitive come first.",
    )
