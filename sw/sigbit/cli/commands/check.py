"""``sigbit check``: support of a float network, and the method for each operation."""

from functools import partial
from typing import TYPE_CHECKING, Annotated

import typer

from sigbit.cli.console.files import write_json, write_report
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.network_tables import show_fit, show_network
from sigbit.cli.console.options import Exact, Json, Latency, Model, NetworkOptions, Report
from sigbit.cli.console.output import say, show_table
from sigbit.cli.console.quantize_tables import show_codes
from sigbit.cli.console.telling import telling
from sigbit.errors import CheckFailed

if TYPE_CHECKING:
    from sigbit.flows.check import CheckedNetwork


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
    report: Report = None,
) -> None:
    """Say whether a float network is supported, and how each operation is carried out.

    Exits with 1 if anything is unsupported; every refusal is listed with its place and a remedy.
    """
    from sigbit.flows.check import check as flow
    from sigbit.flows.pages.check import page
    from sigbit.inputs.networks import Network

    with telling() as tell:
        found = flow(
            Network(
                model,
                tuple(network.shapes or ()),
                network.checkpoint,
                tuple(network.cuts or ()),
                tuple(network.states or ()),
            ),
            arch,
            latency=latency,
            exact=exact,
            details=report is not None,
            tell=tell,
        )
    _show(found)
    write_json(json, found)
    write_report(report, partial(page, found))
    if refused := len(found.unsupported):
        plural = "s are" if refused > 1 else " is"
        raise CheckFailed(f"{model}: {refused} operation{plural} not supported")


def _show(found: "CheckedNetwork") -> None:
    if found.network is not None:
        show_network(found.network, found.weights)
    if found.unsupported:
        show_table(
            "Not supported",
            ["where", "operation", "why", "instead"],
            [(r.location or r.name, r.op, r.reason, r.remedy) for r in found.unsupported],
        )
        return
    if found.accelerator is not None:
        show_fit(found.accelerator)
    if found.layers:
        show_codes(found.layers)
    host = [] if found.network is None else [op.function for op in found.network.host]
    rest = ", ".join(dict.fromkeys(host))
    say(
        "supported: everything runs on the accelerator, "
        f"{f'but {rest}, which the host does' if rest else 'and nothing is left to the host'}"
    )
