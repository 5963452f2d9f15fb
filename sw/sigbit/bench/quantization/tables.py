"""The rows of ``sigbit bench quant`` for people: means over seeds, and a figure."""

import io
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import rc_context
from matplotlib.figure import Figure

from sigbit.bench.tables import Row, Table

TRAINED = ("quantizers", "strategies", "tasks", "cifar10")
SHOWN = 6
"""Points of accuracy below float that the figure has room for."""


@dataclass(frozen=True)
class Mean:
    """Accuracies of one method over its seeds."""

    row: Row
    seeds: tuple[int, ...]
    values: tuple[float, ...]
    floats: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Of the integer models."""
        return statistics.fmean(self.values)

    def of(self, seeds: Collection[int]) -> "Mean":
        """The same over ``seeds`` alone."""
        kept = [k for k, seed in enumerate(self.seeds) if seed in seeds]
        return Mean(
            self.row,
            tuple(self.seeds[k] for k in kept),
            tuple(self.values[k] for k in kept),
            tuple(self.floats[k] for k in kept),
        )

    @property
    def text(self) -> str:
        """Mean and spread (half of the range) in percent."""
        return spread(self.values)


def spread(values: Sequence[float]) -> str:
    """Mean and half of the range, in percent."""
    half = (max(values) - min(values)) / 2
    text = f"{100 * statistics.fmean(values):.2f}"
    return f"{text} ± {100 * half:.2f}" if len(values) > 1 else text


def _key(row: Row) -> tuple[Any, ...]:
    return (row["dataset"], row["model"], row["method"], row["strategy"], row["weight_bits"])


def means(rows: Sequence[Row]) -> list[Mean]:
    """Trained rows, those that differ in their seed only as one."""
    groups: dict[tuple[Any, ...], list[Row]] = {}
    for row in rows:
        if row["group"] in TRAINED:
            groups.setdefault(_key(row), []).append(row)
    return [
        Mean(
            found[0],
            tuple(r["seed"] for r in found),
            tuple(r["accuracy"] for r in found),
            tuple(r["accuracy_float"] for r in found),
        )
        for found in groups.values()
    ]


def method_table(rows: Sequence[Row]) -> list[list[str]]:
    """A line for every network, method and strategy: accuracy of the float twin, and at each of
    :func:`widths` bits."""
    found = means(rows)
    lines: dict[tuple[Any, ...], list[Mean]] = {}
    for mean in found:
        lines.setdefault(_key(mean.row)[:4], []).append(mean)
    bits = widths(rows)
    return [
        [
            dataset,
            model,
            method,
            strategy or "–",
            spread(of[0].floats),
            *(next((m.text for m in of if m.row["weight_bits"] == b), "–") for b in bits),
            count_range([len(m.seeds) for m in of]),
        ]
        for (dataset, model, method, strategy), of in lines.items()
    ]


def count_range(counts: Sequence[int]) -> str:
    """``2``, or ``1 to 3``."""
    least, most = min(counts), max(counts)
    return str(most) if least == most else f"{least} to {most}"


def widths(rows: Sequence[Row]) -> list[int]:
    """Bits that occur in trained rows, the most first."""
    return sorted({r["weight_bits"] for r in rows if r["group"] in TRAINED}, reverse=True)


def method_columns(rows: Sequence[Row]) -> list[str]:
    """Titles of :func:`method_table`'s columns."""
    bits = [f"{b} bits" for b in widths(rows)]
    return ["data", "network", "method", "strategy", "float", *bits, "seeds"]


POST = Table(
    "Post-training quantization of trained networks",
    {
        "network": lambda r: r["model"],
        "data": lambda r: r["dataset"],
        "images": lambda r: str(r["test_samples"]),
        "bits": lambda r: f"{r['weight_bits']}/{r['act_bits']}",
        "scales of weights": lambda r: (
            "of the " + ("results" if r["strategy"] == "activation-aware" else "weights")
        ),
        "top-1 float": lambda r: f"{r['accuracy_float']:.1%}",
        "top-1 ESB": lambda r: f"{r['accuracy']:.1%}",
        "same class": lambda r: f"{r['agreement']:.1%}",
    },
    lambda r: r["group"] == "post-training",
)
RATES = Table(
    "Bits of weights alone: transforms and plain rounding",
    {
        "network": lambda r: r["model"],
        "transform": lambda r: f"{r['strategy']}: {r['layers']} layers",
        "bits a weight": lambda r: f"{r['weight_bits']} ({r['bits_per_weight']:.2f} used)",
        "accuracy float": lambda r: f"{r['accuracy_float']:.2%}",
        "transformed": lambda r: f"{r['accuracy']:.2%}",
        "plainly rounded": lambda r: f"{r['accuracy_plain']:.2%}",
        "error of the outputs": lambda r: f"{r['error']:.2e}, plain {r['error_plain']:.2e}",
    },
    lambda r: r["group"] == "rates",
)
ROBUST = Table(
    "Accuracy under attack",
    {
        "method": lambda r: r["method"],
        "strategy": lambda r: r["strategy"],
        "bits": lambda r: f"{r['weight_bits']}/{r['act_bits']}",
        "clean": lambda r: f"{r['accuracy']:.2%}",
        "attacked": lambda r: _each(r["measures"], ".1%"),
    },
    lambda r: bool(r.get("measures")),
)
SPEED = Table(
    "A training step of ResNet-20, batch 128, on the CPU",
    {
        "threads": lambda r: str(r["threads"]),
        "seconds": lambda r: _each(r["seconds_step"], ".3f"),
        "sigbit / float": lambda r: f"{r['ratio_float']:.2f}",
        "sigbit / Brevitas": lambda r: (
            "–" if r["ratio_brevitas"] is None else f"{r['ratio_brevitas']:.2f}"
        ),
        "peak MiB": lambda r: _each(r["peak_mib"], ",.0f"),
    },
    lambda r: r["group"] == "speed",
)

OTHERS = (RATES, ROBUST, POST, SPEED)
"""Tables of rows that are no means over seeds, and of what single rows have beside accuracy."""


def _each(values: Mapping[str, float], form: str) -> str:
    return ", ".join(f"{name} {value:{form}}" for name, value in values.items())


def markdown(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> str:
    """A table in Markdown; nothing if it is empty."""
    lines = [list(columns), ["---"] * len(columns), *cells]
    return "".join("| " + " | ".join(line) + " |\n" for line in lines) if cells else ""


def figure(rows: Sequence[Row]) -> bytes:
    """An SVG: accuracy of every quantizer over its bits, Fashion-MNIST, bars for the range over the
    seeds; what is more than :data:`SHOWN` points below the float twins stands at the bottom with
    its number. The same bytes for the same rows."""
    style: Any = {"svg.fonttype": "none", "svg.hashsalt": "sigbit", "font.size": 9}
    with rc_context(style):
        sheet = Figure(figsize=(7.2, 4.2), layout="constrained")
        axes = sheet.subplots()
        chosen = [
            m
            for m in means(rows)
            if m.row["group"] == "quantizers" and m.row["dataset"] == "Fashion-MNIST"
        ]
        twin = 100 * statistics.fmean([v for m in chosen for v in m.floats] or [0])
        names = list(dict.fromkeys((m.row["method"], m.row["strategy"]) for m in chosen))
        for number, (method, strategy) in enumerate(names):
            mine = [m for m in chosen if (m.row["method"], m.row["strategy"]) == (method, strategy)]
            shift = 0.6 * (number - (len(names) - 1) / 2) / max(1, len(names))
            for m in mine:
                if 100 * m.mean < twin - SHOWN:
                    at = (m.row["weight_bits"] + shift, twin - SHOWN)
                    axes.plot(*at, marker="v", markersize=4, color=f"C{number % 10}")
                    axes.annotate(f"{100 * m.mean:.1f} ", at, fontsize=7, ha="right", va="center")
            mine = [m for m in mine if 100 * m.mean >= twin - SHOWN]
            centre = [100 * m.mean for m in mine]
            below = [c - 100 * min(m.values) for c, m in zip(centre, mine, strict=True)]
            above = [100 * max(m.values) - c for c, m in zip(centre, mine, strict=True)]
            axes.errorbar(
                [m.row["weight_bits"] + shift for m in mine],
                centre,
                [below, above],
                fmt="o",
                markersize=4,
                capsize=2,
                color=f"C{number % 10}",
                markerfacecolor="none" if number >= 10 else None,
                label=f"{method} {strategy}".strip(),
            )
        if chosen:
            axes.axhline(twin, color="#9498a0", linewidth=1, label="float")
            axes.set_xticks(sorted({m.row["weight_bits"] for m in chosen}))
            axes.legend(frameon=False, fontsize=7, loc="center left", bbox_to_anchor=(1, 0.5))
        axes.invert_xaxis()
        axes.set_xlabel("bits of weights and activations")
        axes.set_ylabel("accuracy, %")
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        buffer = io.BytesIO()
        sheet.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None})
    return buffer.getvalue()
