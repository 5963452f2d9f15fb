"""Tables of the rows of ``sigbit bench nets``."""

from sigbit.report.tables import NONE, Column, Row, Table, label, number, percent, share


def _accelerator(row: Row) -> str:
    return f"{row['preset']} {tuple(row['shape'])}"


def _input(row: Row) -> str:
    return "x".join(map(str, row["input"]))


def _model_error(row: Row) -> str:
    return f"{row['model_cycles'] - row['cycles']:,}"


def _spatial(row: Row) -> str:
    """A dash if every layer is a vector."""
    return percent(row["utilization_images"]) if row["utilization_images"] else NONE


def _ends(row: Row) -> str:
    """Bits of weights x activations of the first and the last layer."""
    return {2: "8x8, 8x8", 1: "4x8, 8x4"}[row["first_layer_terms"]]


NETWORKS = Table(
    "Whole networks in RTL",
    (
        label("network", "net"),
        Column("input", _input),
        label("bits", "bits"),
        Column("accelerator", _accelerator),
        label("weights", "weights"),
        label("memory", "memory"),
        number("ideal cycles", "ideal_cycles"),
        number("RTL cycles", "cycles"),
        Column("model - RTL", _model_error, True),
        share("busy", "utilization"),
        Column("without linear layers", _spatial, True),
        number("frames/s at 200 MHz", "frames_per_second", 1),
        number("layers", "layers_compared"),
        number("codes compared", "codes_compared"),
        number("differ", "mismatches"),
        number("compile s", "compile_seconds", 1),
        number("RTL s", "rtl_seconds", 1),
    ),
    lambda r: r["cycles"] is not None,
)
ACCURACY = Table(
    "Accuracy of the deployed integer model",
    (
        label("network", "net"),
        label("data", "dataset"),
        label("images", "accuracy_images"),
        label("bits", "bits"),
        share("top-1 float", "accuracy_float"),
        share("top-1 deployed", "accuracy_deployed"),
        share("same class", "agreement"),
    ),
    lambda r: r["accuracy_float"] is not None,
)
MODELLED = Table(
    "The large accelerator, by the cycle model",
    (
        label("network", "net"),
        Column("accelerator", _accelerator),
        Column("first layer, last layer", _ends),
        label("batch", "images"),
        number("cycles per batch", "model_cycles"),
        share("busy", "utilization"),
        number("frames/s at 200 MHz", "frames_per_second"),
    ),
    lambda r: r["cycles"] is None,
)
SLOWER = Table(
    "The large accelerator with slower memories, cycles per batch",
    (
        label("network", "net"),
        Column("accelerator", _accelerator),
        Column("first layer, last layer", _ends),
        label("batch", "images"),
        label("memory", "memory"),
        number("cycles", "model_cycles"),
        number("latency 133", "cycles_latency_133"),
        number("latency 400", "cycles_latency_400"),
        number("half a beat a cycle", "cycles_half_bandwidth"),
        number("refresh 70/1560", "cycles_refresh"),
    ),
    lambda r: r["cycles"] is None and "cycles_refresh" in r,
)
TABLES = (NETWORKS, ACCURACY, MODELLED, SLOWER)
