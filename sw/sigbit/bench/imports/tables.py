"""Tables of imports: exactness of quantized models, and results of importers in external tests."""

from sigbit.report.tables import Column, Row, Table, label, number


def _exact(row: Row) -> str:
    return str(sum(layer["exact"] for layer in row["layers"]))


def _inexact(row: Row) -> str:
    return str(sum(not layer["exact"] for layer in row["layers"]))


def _share(row: Row) -> str:
    counted = [layer for layer in row["layers"] if layer["codes_off"] is not None]
    off = sum(layer["codes_off"] for layer in counted)
    return f"{off:,} of {sum(layer['accumulators'] for layer in counted):,}"


EXACT = Table(
    "Layers of quantized models",
    (
        label("model", "model"),
        number("quantizers", "quantizers"),
        Column("exact layers", _exact, True),
        Column("other layers", _inexact, True),
        Column("accumulators with another code", _share, True),
    ),
)
JUDGED = Table(
    "Tests of others",
    (
        label("suite", "suite"),
        number("cases", "total"),
        number("right", "right"),
        number("refused", "refused"),
        number("wrong", "wrong"),
        number("crash", "crash"),
    ),
)
