"""``sigbit check``: whether a float network is supported, and what carries out each operation."""

from typing import TYPE_CHECKING, Annotated

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import Exact, Json, Latency, Model, NetworkOptions
from sigbit.cli.console.output import say, show_facts, show_table, size
from sigbit.cli.console.quantize_tables import show_codes
from sigbit.cli.console.telling import telling
from sigbit.errors import CheckFailed

if TYPE_CHECKING:
    from sigbit.flows.check import CheckedNetwork, Fit
    from sigbit.flows.description import Description, Tensor


@grouped
def check(
    model: Model,
    network: NetworkOptions,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            metavar="PRESET|FILE",
            help="Also compile for this accelerator, with scales from random inputs, and predict "
            "its cycles.",
        ),
    ] = None,
    latency: Latency = 40,
    exact: Exact = False,
    json: Json = None,
) -> None:
    """Say whether a float network is supported, and how each operation is carried out.

    Exits with 1 if anything is unsupported; every refusal is listed with its place and a remedy.
    """
    from sigbit.flows.check import check as flow
    from sigbit.inputs.networks import Network

    with telling() as tell:
        found = flow(
            Network(
                model, tuple(network.shapes or ()), network.checkpoint, tuple(network.cuts or ())
            ),
            arch,
            latency=latency,
            exact=exact,
            tell=tell,
        )
    _show(found)
    write_json(json, found)
    if refused := len(found.unsupported):
        plural = "s are" if refused > 1 else " is"
        raise CheckFailed(f"{model}: {refused} operation{plural} not supported")


def _show(found: "CheckedNetwork") -> None:
    if found.network is not None:
        _show_network(found.network, found.weights)
    if found.unsupported:
        show_table(
            "Not supported",
            ["where", "operation", "why", "instead"],
            [(r.location or r.name, r.op, r.reason, r.remedy) for r in found.unsupported],
        )
        return
    if found.accelerator is not None:
        _show_fit(found.accelerator)
    if found.layers:
        show_codes(found.layers)
    host = [] if found.network is None else [op.function for op in found.network.host]
    rest = ", ".join(dict.fromkeys(host))
    say(
        "supported: everything runs on the accelerator, "
        f"{f'but {rest}, which the host does' if rest else 'and nothing is left to the host'}"
    )


def _show_network(network: "Description", weights: str | None) -> None:
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
    rows += [(h.function, 1, "", "host", f"after the accelerator, {h}") for h in network.host]
    show_facts(f"Network {network.name}", facts)
    show_table("Operations", ["operation", "count", "MACs", "by", "how"], rows, " >>")


def _show_fit(fit: "Fit") -> None:
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
