"""Tables of the demonstration's JSON document."""

from collections.abc import Mapping
from typing import Any

from sigbit.report.tables import NONE, Column, Grid, Row, Table, label, number, percent, share

Document = Mapping[str, Any]


def _shape(row: Row) -> str:
    return "×".join(map(str, row["shape"]))


def _sum(key: str) -> Column:
    """Sum over all devices."""
    title = {"codes": "codes", "mismatches": "differ"}[key]
    return Column(title, lambda row: f"{sum(row[key].values()):,}", True)


LAYERS = Table(
    "Layers",
    (
        label("layer", "name"),
        label("kind", "kind"),
        Column("shape", _shape),
        _sum("codes"),
        _sum("mismatches"),
        number("cycles", "cycles"),
        share("used", "utilization"),
        share("busy", "busy"),
    ),
)
"""Columns of the rows ``layers`` of a document: cycles, the fraction of them that multiplications
need, and the fraction in which the array took operands."""


def layer_grid(document: Document) -> Grid:
    """Codes and cycles of every layer."""
    return LAYERS.grid(document["layers"])


def result_grid(document: Document) -> Grid:
    """Results of the whole demonstration, one figure per line."""
    shares = (
        f"{stage} {percent(document[f'accuracy_{stage}'], 2)}"
        for stage in ("float", "quantized", "deployed")
    )
    equal = "equal, image by image" if document["predictions_equal"] else "DIFFER"
    codes = sum(document["codes_compared"].values())
    lines = [
        ("accelerator", f"{document['arch']}: {document['macs']:,} multiply-accumulates per cycle"),
        ("images", f"{document['images']} on {' and '.join(document['codes_compared'])}"),
        ("accuracy", ", ".join(shares)),
        ("predictions of all models and devices", equal),
        ("codes that differ", f"{document['mismatches']:,} of {codes:,}"),
    ]
    if document["utilization"] is not None:
        full = document["busy_full_layers"]
        lines += [
            ("cycles per image", f"{document['cycles_per_image']:,.0f}"),
            (
                "ideal multiply cycles / cycles, first to last EXEC",
                percent(document["utilization"]),
            ),
            (
                "array busy, layers whose channels fill its lanes",
                NONE if full is None else percent(full),
            ),
        ]
    return Grid("Result", ("figure", "value"), tuple(lines))
