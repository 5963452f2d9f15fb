"""``sigbit methods``: training methods, and their cost on an accelerator."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Annotated

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import show_table

if TYPE_CHECKING:
    from sigbit.flows.methods import Methods


def methods(
    arch: Annotated[
        str,
        typer.Option(metavar="PRESET|FILE", help="Accelerator whose terms and planes are counted."),
    ] = "micro",
    json: Json = None,
) -> None:
    """List quantizers and training strategies.

    A quantizer's cell has the terms of a weight and the planes of an activation with so many bits,
    of tensors from 0 on: a product takes the array terms x planes passes. "-" is what the method
    does not define, "no" what has no exact form on this accelerator.
    """
    from sigbit.flows.methods import BITS
    from sigbit.flows.methods import methods as flow

    found = flow(arch)
    write_json(json, found)
    show_table(
        f"Quantizers on {found.arch}: terms of weights x planes of activations",
        ["method", *(f"{b} bit{'s' if b > 1 else ''}" for b in BITS)],
        (
            [q.method, *(f"{_cell(q.terms[b])} x {_cell(q.planes[b])}" for b in BITS)]
            for q in found.quantizers
        ),
    )
    added = [(x, p) for x, p in _plugins(found) if p is not None]
    if added:
        show_table("From plugins", ["name", "plugin"], added)
    show_table(
        "Strategies",
        ["strategy", "parameters"],
        (
            [s.name, ", ".join(f"{k} = {_default(v)}" for k, v in s.parameters.items())]
            for s in found.strategies
        ),
    )


def _plugins(found: "Methods") -> Iterator[tuple[str, str | None]]:
    yield from ((q.method, q.plugin) for q in found.quantizers)
    yield from ((s.name, s.plugin) for s in found.strategies)


def _cell(count: int | None) -> str:
    return {None: "-", 0: "no"}.get(count, str(count))


def _default(value: object) -> str:
    """Format ``value`` as in a TOML file; "none" is a key that is left out."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_default, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f'"{value}"' if isinstance(value, str) else f"{value:.6g}"
