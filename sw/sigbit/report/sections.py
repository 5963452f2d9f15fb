"""The sections of a report: data in, :class:`~sigbit.report.page.Section` out."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from math import ceil

import numpy as np
from markupsafe import Markup
from numpy.typing import NDArray

from sigbit.report import charts
from sigbit.report.components import (
    Card,
    Column,
    badge,
    bar,
    cards,
    code,
    figure,
    legend,
    panels,
    picture,
    table,
    tiles,
)
from sigbit.report.figures import SERIES
from sigbit.report.grids import GridUse, RealHistogram
from sigbit.report.metrics import LayerCycles
from sigbit.report.page import Section
from sigbit.report.spans import Timeline


@dataclass(frozen=True)
class LayerRow:
    """One line of the layer table."""

    name: str
    kind: str
    shape: tuple[int, int, int]
    macs: int
    codes: int
    mismatches: int
    source: str = ""


@dataclass(frozen=True)
class Sample:
    """A classified image: grey pixels ``[H, W]`` uint8, its label, the device's prediction."""

    pixels: NDArray[np.uint8]
    label: int
    prediction: int


def headline(items: Sequence[Card]) -> Section:
    """Return the section with the most important numbers."""
    return Section("Summary", cards(items))


def accuracy(shares: Mapping[str, float], images: int) -> Section:
    """Accuracies on the same images at the stages of the flow."""
    start = max(0, ceil(10 * min(shares.values())) - 1) / 10
    return Section(
        "Accuracy",
        figure(partial(charts.accuracy, shares, start)),
        f"Share of the {images} test images that are classified correctly.",
    )


def utilization(rows: Sequence[LayerCycles], config_macs: int) -> Section:
    """Utilization of the multipliers in every layer of one image."""
    columns = [
        Column("layer"),
        Column("ideal cycles", number=True),
        Column("fed cycles", number=True),
        Column("cycles", number=True),
        Column("utilization", number=True),
        Column("busy", number=True),
    ]
    return Section(
        "Utilization",
        table(
            columns,
            [
                (
                    row.name,
                    f"{row.ideal:,.0f}",
                    f"{row.fed:,}",
                    f"{row.cycles:,}",
                    bar(row.utilization),
                    bar(row.share_fed, "good"),
                )
                for row in rows
            ],
        ),
        "Cycles are those in which the layer's EXEC instructions ran. Utilization is the share "
        f"that {config_macs:,} multiply-accumulates per cycle would need for the layer (ideal); "
        "busy is the share in which the array took operands (fed). From ideal to fed lie the lanes "
        "that a layer's channels or columns leave empty, from fed to all cycles the waiting for "
        "the drain, set-up and tokens.",
    )


def timeline(
    found: Timeline,
    engines: Sequence[str],
    layers: Sequence[str],
    windows: Sequence[tuple[str, int, int]],
    lead: str,
) -> Section:
    """Return the section on the engines over one run: a chart per window (caption, first cycle,
    last cycle)."""
    keys = [(f"series-{i % SERIES}", name) for i, name in enumerate(layers)]
    if len(keys) > SERIES:
        keys = [(f"series-{i}", f"layer {i + 1}") for i in range(SERIES)]
        lead += f" Colours follow the order of the layers and repeat after {SERIES}."
    if any(span.layer < 0 for span in found.spans):
        keys.append(("muted", "no layer"))
    drawn = Markup("").join(
        figure(partial(charts.timeline, found.spans, engines, (low, high)), caption)
        for caption, low, high in windows
    )
    return Section("Timeline", legend(keys) + drawn, lead)


def weights(layers: Sequence[RealHistogram], lead: str) -> Section:
    """Grids over the weights of every layer."""
    return Section("Weights", panels(partial(charts.real_histogram, h) for h in layers), lead)


def codes(title: str, layers: Sequence[GridUse], unit: str, lead: str) -> Section:
    """Count of each grid value in every layer; ``unit`` names the values."""
    return Section(title, panels(partial(charts.grid_histogram, use, unit) for use in layers), lead)


def samples(wrong: Sequence[Sample], right: Sequence[Sample], images: int) -> Section:
    """Classified images, the wrong ones first."""

    def grid(items: Sequence[Sample]) -> Markup:
        return tiles(
            (
                picture(s.pixels, f"an image of {s.label}"),
                f"says {s.prediction}",
                "" if s.prediction == s.label else f"is {s.label}",
                "good" if s.prediction == s.label else "bad",
            )
            for s in items
        )

    parts = [
        Markup("<h3>{}</h3>").format(title) + grid(items)
        for title, items in (("Wrong", wrong), ("Right", right))
        if items
    ]
    return Section(
        "Samples",
        Markup("").join(parts),
        f"Predictions of the deployed network: some of the {images} test images.",
    )


def layers(rows: Sequence[LayerRow]) -> Section:
    """Computed and compared values, layer by layer."""
    columns = [
        Column("layer"),
        Column("kind"),
        Column("shape"),
        Column("native MACs", number=True),
        Column("codes compared", number=True),
        Column("mismatches", number=True),
        Column("source", code=True),
    ]
    return Section(
        "Layers",
        table(
            columns,
            [
                (
                    r.name,
                    r.kind,
                    " × ".join(map(str, r.shape)),
                    f"{r.macs:,}",
                    f"{r.codes:,}",
                    badge(f"{r.mismatches:,}", "bad" if r.mismatches or not r.codes else "good"),
                    r.source,
                )
                for r in rows
            ],
        ),
        "Every stored integer of every layer and image is compared with the integer model. Native "
        "MACs are one image's multiply-accumulates times the layer's pairs of terms.",
    )


def provenance(facts: Mapping[str, str], command: str) -> Section:
    """Return the section on the exact inputs of the run, and the command to reproduce it."""
    body = table([Column("what"), Column("value", code=True)], [(k, v) for k, v in facts.items()])
    return Section("Reproduce", code(command) + body)
