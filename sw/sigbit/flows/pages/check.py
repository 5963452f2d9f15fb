"""The report of ``sigbit check``: supported operations, and figures on an accelerator."""

from collections.abc import Iterator, Sequence

from sigbit.flows.check import CheckedNetwork
from sigbit.flows.description import Description
from sigbit.flows.pages.execution import cards, execution
from sigbit.flows.pages.identity import FOOTER, provenance
from sigbit.flows.pages.memory import memory
from sigbit.flows.pages.numbers import numbers
from sigbit.flows.quality import LayerCodes
from sigbit.report import sections
from sigbit.report.components import Card, Column, badge, entries, table
from sigbit.report.page import Section, Verdict, render
from sigbit.report.units import count


def page(found: CheckedNetwork, command: str) -> str:
    """Return a self-contained page; ``command`` is the command that reproduces it."""
    parts: list[Section] = []
    details = found.details
    if found.network is not None:
        parts.append(_summary(found, found.network))
    if found.unsupported:
        parts.append(_refusals(found))
    if details is not None:
        parts += [*execution(details.program), *numbers(details.tensors), memory(details.program)]
    if found.network is not None:
        parts.append(_operations(found.network))
    if found.layers:
        parts.append(exactness(found.layers))
    net = None if details is None else details.program.program
    facts = {} if found.weights is None else {"weights": found.weights}
    parts.append(provenance(command, facts, None if net is None else net.config, net))
    return render(f"Network {found.model}", _subtitle(found), _verdict(found), parts, FOOTER)


def _subtitle(found: CheckedNetwork) -> str:
    if found.accelerator is None:
        return "Operations of the network; with --arch also what an accelerator makes of it."
    return (
        f"On {found.accelerator.arch}, with scales from random inputs: cycles and memory are those "
        "of the real thing, errors and activations are not; `sigbit quantize` has those of samples."
    )


def _verdict(found: CheckedNetwork) -> Verdict:
    if found.supported:
        return Verdict(True, "every operation is supported.")
    refused = len(found.unsupported)
    return Verdict(False, f"{refused} operation{'s are' if refused > 1 else ' is'} not supported.")


def _summary(found: CheckedNetwork, network: Description) -> Section:
    items = [
        Card("Multiply-accumulates", count(network.macs), "per sample"),
        Card("Parameters", count(network.parameters)),
    ]
    if network.quantizers:
        items.append(Card("Own quantizers", f"{network.quantizers:,}", "tensors that have one"))
    if found.details is not None:
        items += cards(found.details.program)
    return sections.headline(items)


def _refusals(found: CheckedNetwork) -> Section:
    rows = (
        (r.op, r.location or r.name, (r.reason, f"Instead: {r.remedy}")) for r in found.unsupported
    )
    return Section("Not supported", entries(rows))


def _operations(network: Description) -> Section:
    columns = [Column("operation"), Column("count", number=True), Column("MACs", number=True)]
    columns += [Column("by"), Column("how", prose=True)]
    return Section("Operations", table(columns, list(_rows(network))))


def _rows(network: Description) -> Iterator[tuple[object, ...]]:
    for o in network.operations:
        yield (o.operation, o.count, f"{o.macs:,}" if o.macs else "", o.by, o.how)
    for h in network.host:
        yield (h.function, 1, "", "host", f"after the accelerator {h.location}".strip())


def exactness(layers: Sequence[LayerCodes]) -> Section:
    """Return the section on which layers of a quantized network have its codes."""
    rows = [
        (c.name, badge("exact" if c.exact else "not exact", "good" if c.exact else "bad"), str(c))
        for c in layers
    ]
    return Section(
        "Exactness",
        table([Column("layer"), Column("codes"), Column("what differs", prose=True)], rows),
        "Whether a layer gives the codes of the quantized network at all accumulators that it can "
        "reach.",
    )
