"""Display of integer models."""

from typing import TYPE_CHECKING

from sigbit.cli.console.output import say, show_facts, show_table
from sigbit.report.units import size

if TYPE_CHECKING:
    from sigbit.flows.model_facts import ModelFacts, TensorFacts


def show_model(facts: "ModelFacts") -> None:
    """Print facts and layers."""
    show_facts(
        f"Integer model {facts.name}",
        [
            ("digest", facts.digest),
            ("weights", f"{facts.weight_format}, digits {facts.radix_bits} bits apart"),
            ("activations", facts.act_format),
            *((f"input {t.name}", _tensor(t)) for t in facts.inputs),
            *((f"output {t.name}", _tensor(t)) for t in facts.outputs),
            ("on the host", ", ".join(facts.host) or "nothing"),
        ],
    )
    show_table(
        "Layers",
        ["layer", "kind", "shape", "reads", "terms", "planes", "weights", "native MACs", "source"],
        [
            (
                row.name,
                row.kind,
                "×".join(map(str, row.shape)),
                ", ".join(row.reads),
                ", ".join(map(str, row.terms)),
                row.planes,
                f"{row.weights:,}" if row.weights else "",
                f"{row.macs:,}" if row.macs else "",
                row.location.partition(" ")[0],
            )
            for row in facts.layers
        ],
        "    >>>>",
    )
    say(f"{len(facts.layers)} layers, {facts.macs:,} native MACs, {size(facts.file_bytes)}")


def _tensor(tensor: "TensorFacts") -> str:
    shape = "×".join(map(str, tensor.shape))
    return (
        f"{shape} ({tensor.axes.replace(' ', ', ')}), {tensor.scale:.6g} × "
        f"(stored + {tensor.zero}), {tensor.planes} planes"
    )
