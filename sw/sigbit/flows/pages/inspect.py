"""The report of ``sigbit inspect``: a Program."""

from collections.abc import Sequence

from sigbit.flows.inspect import InspectedProgram
from sigbit.flows.pages.execution import cards, execution
from sigbit.flows.pages.identity import FOOTER, provenance
from sigbit.flows.pages.memory import memory
from sigbit.flows.pages.numbers import grid_use
from sigbit.report import sections
from sigbit.report.components import Column, table
from sigbit.report.grids import GridUse
from sigbit.report.page import Section, render


def page(found: InspectedProgram, command: str) -> str:
    """Return a self-contained page of a Program inspected in detail; ``command`` is the command
    that reproduces it."""
    net, details = found.program, found.details
    assert details is not None
    parts = [
        sections.headline(cards(found)),
        *execution(found),
        grid_use(details.weights, (), "Native weight codes of the Program."),
        native_weights(details.weights),
        memory(found),
        _layers(found),
        provenance(command, {}, net.config, net),
    ]
    return render(
        f"Program {net.name}",
        f"{len(net.layers)} layers for {net.config.name}: {net.config.macs:,} multiply-accumulates "
        f"per cycle, weights {net.config.weight_format}, activations {net.config.act_format}.",
        None,
        parts,
        FOOTER,
    )


def native_weights(uses: Sequence[GridUse]) -> Section:
    """Return the section on the counts of a Program's weight codes."""
    return sections.codes(
        "Weights",
        uses,
        "native value",
        "How often each native value occurs in the weight words that a layer loads. Weights of "
        "several terms are counted digit by digit, and lanes that a layer's channels leave empty "
        "count as zeros.",
    )


def _layers(found: InspectedProgram) -> Section:
    columns = [Column("layer"), Column("kind"), Column("shape")]
    columns += [Column(n, number=True) for n in ("planes", "segments", "tiles", "native MACs")]
    rows = [
        (
            layer.info.name,
            layer.info.kind,
            " × ".join(map(str, layer.info.shape)),
            layer.info.planes,
            layer.segments,
            layer.tiles,
            f"{layer.info.macs:,}",
            layer.info.source,
        )
        for layer in found.layers
    ]
    return Section("Layers", table([*columns, Column("source", code=True)], rows))
