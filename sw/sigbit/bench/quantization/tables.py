"""Tables of the rows of ``sigbit bench quant``."""

from collections.abc import Callable, Sequence
from typing import Any

from sigbit.bench.quantization.means import Mean, count_range, fullest_twin, means
from sigbit.report.tables import NONE, Column, Grid, Row, Table, label, number, percent, share


def method_grid(rows: Sequence[Row]) -> Grid:
    """One line per network, method and strategy: accuracy of the float twin, and of the integer
    model at each width."""
    lines: dict[tuple[object, ...], list[Mean]] = {}
    for mean in means(rows):
        lines.setdefault(mean.key[:4], []).append(mean)
    bits = sorted({m.row["weight_bits"] for of in lines.values() for m in of}, reverse=True)
    cells = [
        (
            *(str(word) or NONE for word in key),
            fullest_twin(of),
            *(next((m.accuracy.text for m in of if m.key[-1] == b), NONE) for b in bits),
            count_range([len(m.seeds) for m in of]),
        )
        for key, of in lines.items()
    ]
    columns = ("data", "network", "method", "strategy", "float", *(f"{b} bits" for b in bits))
    numbers = " " * 4 + ">" * (len(bits) + 1)
    return Grid(
        "Methods and strategies at equal budget", (*columns, "seeds"), tuple(cells), numbers
    )


def _bits(row: Row) -> str:
    return f"{row['weight_bits']}/{row['act_bits']}"


def _below(row: Row) -> str:
    points = (row["accuracy_float"] - row["accuracy"]) * 100
    return f"{points:.1f} ± {row['standard_error'] * 100:.1f}"


def _seconds(row: Row) -> str:
    return f"{max(row['quantizing_cpu_seconds']):,.0f}"


def _rate(row: Row) -> str:
    return f"{row['weight_bits']} ({row['bits_per_weight']:.2f} used)"


def _within(key: str, name: str, form: Callable[[Any], str]) -> Callable[[Row], str]:
    """``form`` applied to one of several values under ``key``."""

    def text(row: Row) -> str:
        values = row.get(key) or {}
        return form(values[name]) if name in values else NONE

    return text


def _several(
    key: str, names: Sequence[tuple[str, str]], form: Callable[[Any], str]
) -> list[Column]:
    """One column for each of several values under ``key``, by (title, name)."""
    return [Column(title, _within(key, name, form), True) for title, name in names]


POST = Table(
    "Post-training quantization of trained networks",
    (
        label("network", "model"),
        label("data", "dataset"),
        label("strategy", "strategy"),
        label("calibrated on", "images_calibration"),
        label("tested on", "images_test"),
        Column("bits", _bits),
        share("top-1 float", "accuracy_float"),
        share("top-1 ESB", "accuracy"),
        Column("points below float", _below, True),
        share("same class", "agreement"),
        number("cycles", "cycles"),
        number("passes", "passes", 2),
        Column("CPU s", _seconds, True),
    ),
    lambda r: r["group"] == "post-training",
)
RATES = Table(
    "Bits of weights alone: Transform Quantization and plain rounding",
    (
        label("network", "model"),
        label("transform", "strategy"),
        number("layers transformed", "layers"),
        Column("bits per weight", _rate),
        share("float", "accuracy_float", 2),
        share("transformed", "accuracy", 2),
        share("plainly rounded", "accuracy_plain", 2),
        Column("error of the outputs", lambda r: f"{r['error']:.2e}", True),
        Column("plainly rounded, error", lambda r: f"{r['error_plain']:.2e}", True),
    ),
    lambda r: r["group"] == "rates",
)
ROBUST = Table(
    "Accuracy under attack",
    (
        label("method", "method"),
        label("strategy", "strategy"),
        Column("bits", _bits),
        share("clean", "accuracy", 2),
        *_several(
            "measures",
            (
                ("FGSM", "fgsm"), ("FGSM, float", "fgsm_float"),
                ("PGD", "pgd"), ("PGD, float", "pgd_float"),
            ),
            percent,
        ),
    ),
    lambda r: bool(r.get("measures")),
)  # fmt: skip
_KINDS = tuple((name, name) for name in ("float", "sigbit", "brevitas"))
SPEED = Table(
    "A training step of ResNet-20, batch 128, on the CPU",
    (
        label("threads", "threads"),
        *_several("seconds_step", [(f"{t}, s", n) for t, n in _KINDS], "{:.3f}".format),
        number("sigbit / float", "ratio_float", 2),
        number("sigbit / Brevitas", "ratio_brevitas", 2),
        number("quantizing to 8 bits, s", "seconds_quantizing", 2),
        *_several("peak_mib", [(f"{t}, peak MiB", n) for t, n in _KINDS], "{:,.0f}".format),
    ),
    lambda r: r["group"] == "speed",
)
OTHERS = (RATES, ROBUST, POST, SPEED)
"""Tables of rows that are not means over seeds, and of values that single rows have in addition to
accuracy."""
