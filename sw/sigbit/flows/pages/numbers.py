"""Use of the grids by tensors, and sources of a network's errors."""

from collections.abc import Iterator, Sequence
from functools import partial

from markupsafe import Markup

from sigbit.flows.details.tensors import WORST, LayerError, Tensors
from sigbit.report import charts, sections
from sigbit.report.components import Column, bar, figure, legend, table
from sigbit.report.grids import GridUse
from sigbit.report.page import Section
from sigbit.report.tables import NONE, percent

_PARTS = (
    ("ink", "deployed"),
    ("series-1", "weights rounded, nothing else"),
    ("series-2", "activations rounded, nothing else"),
)


def numbers(found: Tensors) -> Iterator[Section]:
    """Yield sections on errors, use of the grids and histograms of a quantized network."""
    yield _errors(found)
    if found.worst:
        yield _worst(found)
    yield grid_use(found.weight_use, found.activation_use, f"Measured on {found.samples}.")
    if found.weights:
        yield sections.weights(
            found.weights,
            "Weights of each layer before rounding, in steps of their channel, and the values that "
            "they are rounded to (red). Values beyond the ends of the grid are clipped.",
        )
    yield activations(found.activation_use, found.samples)


def activations(found: Sequence[GridUse], samples: str) -> Section:
    """Return the histograms of tensors."""
    return sections.codes(
        "Activations",
        found,
        "steps of the scale",
        f"How often each value of its grid occurs in a tensor, on {samples}.",
    )


def grid_use(weights: Sequence[GridUse], acts: Sequence[GridUse], lead: str) -> Section:
    """Return the section on the layers' use of their grids' ranges, and the share at an end;
    ``lead`` states the data measured."""
    by_weights, by_acts = {w.layer: w for w in weights}, {a.layer: a for a in acts}
    names = dict.fromkeys([*by_acts, *by_weights])
    columns = [Column("layer")]
    if weights:
        columns += [Column("weights: range used"), Column("saturated", number=True)]
    if acts:
        columns += [Column("activations: range used"), Column("saturated", number=True)]
    rows = []
    for name in names:
        cells: list[object] = [name]
        for group, found in ((weights, by_weights), (acts, by_acts)):
            if group:
                cells += _cells(found.get(name))
        rows.append(cells)
    return Section(
        "Range use and saturation",
        table(columns, rows),
        f"{lead} Range used is the part of its grid between the least and the largest value that "
        "occurs; saturated is the share of values at an end of the grid that is not 0, clipped "
        "ones among them. A tensor that uses little of its range has coarser steps than it needs; "
        "one that saturates often loses its peaks.",
    )


def _cells(use: GridUse | None) -> list[object]:
    return [NONE, NONE] if use is None else [bar(use.range_use), percent(use.saturated, 2)]


def _errors(found: Tensors) -> Section:
    lead = (
        f"Every tensor beside the float network's, on {found.samples}: energy of the signal over "
        "that of the error, in decibels. More is better; 6 dB are about one bit. Errors of earlier "
        "layers are part of those of later ones."
    )
    names = [e.layer for e in found.errors]
    ratios = [(e.deployed_db, e.weights_db, e.activations_db) for e in found.errors]
    shown = [
        (tone, text, values)
        for (tone, text), values in zip(_PARTS, zip(*ratios, strict=True), strict=True)
        if any(value is not None for value in values)
    ]
    if not shown:
        return Section("Error by layer", Markup("<p>{}</p>").format(_finding(found.errors)), lead)
    draw = partial(
        charts.dots, names, [(tone, v) for tone, _, v in shown], "signal-to-noise ratio in dB"
    )
    columns = [Column("layer"), *(Column(text, number=True) for _, text, _ in shown)]
    rows = [
        (name, *map(_decibels, values))
        for name, *values in zip(names, *(v for _, _, v in shown), strict=True)
    ]
    keys = legend((tone, text) for tone, text, _ in shown)
    drawn = figure(draw, _finding(found.errors))
    return Section("Error by layer", keys + drawn + table(columns, rows), lead)


def _finding(errors: Sequence[LayerError]) -> str:
    rated = [(e.deployed_db, e.layer) for e in errors if e.deployed_db is not None]
    if not rated:
        return "No tensor differs from the float network's."
    least, layer = min(rated)
    text = f"{layer} has the least, {least:.1f} dB."
    both = [
        e.weights_db < e.activations_db
        for e in errors
        if e.weights_db is not None and e.activations_db is not None
    ]
    if not both:
        return text
    return (
        f"{text} Rounding weights costs more than rounding activations in {sum(both)} of "
        f"{len(both)} tensors."
    )


def _worst(found: Tensors) -> Section:
    columns = [Column("layer"), Column("channel", number=True)]
    names = ("error", "share of the layer's error", "signal-to-noise ratio")
    columns += [Column(n, number=True) for n in names]
    columns += [Column("range used"), Column("saturated", number=True)]
    rows: list[tuple[str | Markup, ...]] = [
        (
            c.layer,
            f"{c.channel}",
            percent(c.weight),
            percent(c.noise_share),
            _decibels(c.snr_db),
            bar(c.range_use),
            percent(c.saturated, 2),
        )
        for c in found.worst
    ]
    return Section(
        "Worst channels",
        table(columns, rows),
        f"The channels with the largest error energy, relative to the mean signal energy of their "
        f"layer's channels, at most {WORST}, on {found.samples}. A channel that uses little of the "
        "range shares its scale with much larger ones; one that saturates wants a larger scale.",
    )


def _decibels(value: float | None) -> str:
    return NONE if value is None else f"{value:.1f} dB"
