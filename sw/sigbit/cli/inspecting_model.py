"""What ``sigbit inspect`` shows of an integer model."""

from pathlib import Path
from typing import TYPE_CHECKING

from sigbit.cli.files import write_json
from sigbit.cli.output import say, show_facts, show_table, size

if TYPE_CHECKING:
    from sigbit.flows.model_facts import TensorFacts


def inspect_model(path: Path, json: Path | None) -> None:
    """Show the layers of an integer model."""
    from sigbit.flows.model_facts import model_facts

    facts = model_facts(path)
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
    write_json(json, facts.to_json())


def _tensor(tensor: "TensorFacts") -> str:
    shape = "×".join(map(str, tensor.shape))
    return (
        f"{shape} ({tensor.axes.replace(' ', ', ')}), {tensor.scale:.6g} × "
        f"(stored + {tensor.zero}), {tensor.planes} planes"
    )
