"""The outcome of the demonstration, for people."""

from collections.abc import Iterator
from typing import TYPE_CHECKING

from sigbit.cli.console.output import show_facts, show_table

if TYPE_CHECKING:
    from sigbit.flows.demo.outcome import Outcome


def show_outcome(outcome: "Outcome") -> None:
    """Print layers and figures."""
    columns = ["layer", "kind", "shape", "codes", "differ"]
    if outcome.utilization is not None:
        columns += ["cycles", "used", "busy"]
    show_table("Layers", columns, _rows(outcome, len(columns)), "   >>>>>")
    shares, config = outcome.accuracies, outcome.program.config
    facts: list[tuple[str, object]] = [
        ("accelerator", f"{config.name}: {config.macs:,} multiply-accumulates per cycle"),
        ("images", f"{outcome.images} on {' and '.join(outcome.checks)}"),
        ("accuracy", ", ".join(f"{name} {share:.2%}" for name, share in shares.items())),
        ("predictions", "equal, image by image" if outcome.predictions_equal else "DIFFER"),
        ("mismatching codes", f"{outcome.mismatches:,} of {outcome.codes:,}"),
        *_cycles(outcome),
    ]
    steps = ", ".join(f"{name} {seconds:.0f}" for name, seconds in outcome.steps.items())
    show_facts("Result", [*facts, ("seconds", f"{outcome.seconds:.0f} ({steps})")])


def _rows(outcome: "Outcome", width: int) -> Iterator[list[str]]:
    use = outcome.utilization
    cycles = {row.name: row for row in use.layers} if use else {}
    for info in outcome.program.layers:
        mine = [c for d in outcome.checks.values() for c in d.layers if c.layer == info.name]
        row = [
            info.name,
            info.kind,
            "×".join(map(str, info.shape)),
            f"{sum(c.codes for c in mine):,}",
            f"{sum(c.mismatches for c in mine):,}",
        ]
        if spent := cycles.get(info.name):
            row += [f"{spent.cycles:,}", f"{spent.utilization:.1%}", f"{spent.share_fed:.1%}"]
        yield row + [""] * (width - len(row))


def _cycles(outcome: "Outcome") -> Iterator[tuple[str, object]]:
    """What a device that counts cycles adds."""
    use = outcome.utilization
    if use is None or outcome.cycles_per_image is None:
        return
    yield "cycles per image", f"{outcome.cycles_per_image:,.0f}"
    yield "utilization", f"{use.total.utilization:.1%} between first and last EXEC"
    full = "no layer fills its lanes"
    if use.busy_full is not None:
        full = f"{use.busy_full:.1%} of the cycles of layers that fill its lanes"
    yield "array busy", full
