"""Display of the results of a run."""

from typing import TYPE_CHECKING

from sigbit.cli.console.output import say, say_error, show_facts

if TYPE_CHECKING:
    from sigbit.flows.run import ProgramRun

_MOSTLY = 0.5
"""Share of saturated values from which on a warning is printed."""


def show_run(done: "ProgramRun") -> None:
    """Print a warning of saturated inputs, codes compared, and counters."""
    _warn_of_clipping(done)
    _show_comparison(done)
    _show_counters(done)


def _warn_of_clipping(done: "ProgramRun") -> None:
    for port in done.program.inputs:
        share = done.clipped.get(port.name, 0.0)
        if share > _MOSTLY:
            low, high = port.dequantize([port.low, port.high])
            say_error(
                f"warning: {share:.0%} of the values of {port.name} lie outside [{low:.4g}, "
                f"{high:.4g}], which it was calibrated for: are they prepared as the samples that "
                "the network was quantized with?"
            )


def _show_comparison(done: "ProgramRun") -> None:
    for what, found in done.compared.items():
        say(f"{what}: {found.codes:,} codes compared, {found.different:,} differ")


def _show_counters(done: "ProgramRun") -> None:
    if done.cycles is None:
        return
    facts: list[tuple[str, object]] = [("cycles per run", f"{done.cycles.mean():,.0f}")]
    if done.counters:
        facts += [(name, f"{count:,}") for name, count in done.counters[0].items()]
    show_facts("Counters of the first run", facts)
