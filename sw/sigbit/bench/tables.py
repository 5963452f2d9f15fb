"""The rows of ``sigbit bench nets`` as tables for people."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Row = Mapping[str, Any]


@dataclass(frozen=True)
class Table:
    """A title, columns with what each shows of a row, and which rows belong to it."""

    title: str
    columns: Mapping[str, Callable[[Row], str]]
    takes: Callable[[Row], bool]

    def cells(self, rows: Sequence[Row]) -> list[list[str]]:
        """The texts of the rows that belong here."""
        return [[text(r) for text in self.columns.values()] for r in rows if self.takes(r)]

    def markdown(self, rows: Sequence[Row]) -> str:
        """The table in Markdown; nothing if no row belongs to it."""
        cells = self.cells(rows)
        lines = [list(self.columns), ["---"] * len(self.columns), *cells]
        text = "\n".join("| " + " | ".join(line) + " |" for line in lines)
        return f"{text}\n" if cells else ""


def _percent(value: float | None) -> str:
    return "–" if not value and value != 0 else f"{value:.1%}".replace("%", " %")


def _sides(row: Row) -> str:
    """Bits of weights x activations of the first and the last layer."""
    return {2: "8x8, 8x8", 1: "4x8, 8x4"}[row["first_layer_terms"]]


NETWORKS = Table(
    "Whole networks in RTL",
    {
        "network": lambda r: r["net"],
        "input": lambda r: "x".join(map(str, r["input"])),
        "bits": lambda r: str(r["bits"]),
        "accelerator": lambda r: f"{r['preset']} {tuple(r['shape'])}",
        "weights": lambda r: r["weights"],
        "ideal cycles": lambda r: f"{r['ideal_cycles']:,}",
        "RTL cycles": lambda r: f"{r['cycles']:,}",
        "model - RTL": lambda r: str(r["model_cycles"] - r["cycles"]),
        "busy": lambda r: _percent(r["utilization"]),
        "without linear layers": lambda r: _percent(r["utilization_images"] or None),
        "layers": lambda r: str(r["layers_compared"]),
        "codes compared": lambda r: f"{r['codes_compared']:,}",
        "differ": lambda r: f"{r['mismatches']:,}",
        "compile s": lambda r: f"{r['compile_seconds']:.1f}",
        "RTL s": lambda r: f"{r['rtl_seconds']:.1f}",
    },
    lambda r: r["cycles"] is not None,
)
ACCURACY = Table(
    "Accuracy of the deployed integer model",
    {
        "network": lambda r: r["net"],
        "data": lambda r: r["dataset"],
        "images": lambda r: str(r["accuracy_images"]),
        "bits": lambda r: str(r["bits"]),
        "top-1 float": lambda r: _percent(r["accuracy_float"]),
        "top-1 deployed": lambda r: _percent(r["accuracy_deployed"]),
        "same class": lambda r: _percent(r["agreement"]),
    },
    lambda r: r["accuracy_float"] is not None,
)
MODELLED = Table(
    "The large accelerator, by the cycle model",
    {
        "network": lambda r: r["net"],
        "accelerator": lambda r: f"{r['preset']} {tuple(r['shape'])}",
        "first layer, last layer": _sides,
        "batch": lambda r: str(r["images"]),
        "cycles a batch": lambda r: f"{r['model_cycles']:,}",
        "busy": lambda r: _percent(r["utilization"]),
        "frames/s at 200 MHz": lambda r: f"{r['frames_per_second']:,.0f}",
    },
    lambda r: r["cycles"] is None,
)
TABLES = (NETWORKS, ACCURACY, MODELLED)
