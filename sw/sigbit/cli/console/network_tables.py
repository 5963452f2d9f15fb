"""Display of float networks."""

from typing import TYPE_CHECKING

from sigbit.cli.console.output import show_facts, show_table
from sigbit.report.units import size

if TYPE_CHECKING:
    from sigbit.flows.check import Fit
    from sigbit.flows.description import Description, Tensor


def show_network(network: "Description", weights: str | None) -> None:
    """Print a network's sizes and operations."""
    facts = [
        *((f"input {t.name}", _shape(t)) for t in network.inputs),
        *((f"output {t.name}", _shape(t)) for t in network.outputs),
        ("multiply-accumulates", f"{network.macs:,} per sample"),
        ("parameters", f"{network.parameters:,}; {weights}"),
    ]
    if network.quantizers:
        facts.append(("quantizers", f"{network.quantizers} tensors have one of the model's own"))
    rows: list[tuple[object, ...]] = [
        (o.operation, o.count, f"{o.macs:,}" if o.macs else "", o.by, o.how)
        for o in network.operations
    ]
    rows += [
        (h.function, 1, "", "host", f"after the accelerator {h.location}".strip())
        for h in network.host
    ]
    show_facts(f"Network {network.name}", facts)
    show_table("Operations", ["operation", "count", "MACs", "by", "how"], rows, " >>")


def show_fit(fit: "Fit") -> None:
    """Print the network's figures on an accelerator."""
    rate = f"{fit.cycles:,} cycles per frame, {fit.frames_per_second:,.0f} frames/s at 200 MHz"
    show_facts(
        f"On {fit.arch}, with scales from random inputs",
        [
            ("instructions", f"{fit.instructions:,}"),
            ("constants", size(fit.constant_bytes)),
            ("DMA window", size(fit.memory_bytes)),
            ("predicted", rate),
            ("array busy", f"{fit.utilization:.1%}"),
        ],
    )


def _shape(tensor: "Tensor") -> str:
    return "×".join(map(str, tensor.shape))
