"""``sigbit methods``: what there is to train with, and what it costs on an accelerator."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import show_table
from sigbit.inputs.accelerators import load_arch

if TYPE_CHECKING:
    from sigbit.quant.quantizers import Side
    from sigbit_hw.arch.config import ArchConfig

Row = dict[str, Any]
BITS = range(1, 9)


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
    from sigbit.quant.quantizers import METHODS
    from sigbit.quant.strategies.registry import STRATEGIES, parameters

    config = load_arch(arch)
    rows = [_row(name, config) for name in METHODS]
    strategies: list[Row] = [
        {"name": name, "parameters": {k: v.default for k, v in parameters(name).items()}}
        for name in STRATEGIES
    ]
    write_json(json, {"arch": config.name, "quantizers": rows, "strategies": strategies})
    show_table(
        f"Quantizers on {config.name}: terms of weights x planes of activations",
        ["method", *(f"{b} bit{'s' if b > 1 else ''}" for b in BITS)],
        (
            [r["method"], *(f"{_cell(r['terms'][b])} x {_cell(r['planes'][b])}" for b in BITS)]
            for r in rows
        ),
    )
    show_table(
        "Strategies",
        ["strategy", "parameters"],
        (
            [s["name"], ", ".join(f"{k} = {_default(v)}" for k, v in s["parameters"].items())]
            for s in strategies
        ),
    )


def _row(name: str, config: "ArchConfig") -> Row:
    """Terms and planes by bits: None where the method has no such bits, 0 where the accelerator has
    no exact form of them."""
    from sigbit.quant import QuantSpec
    from sigbit.quant.quantizers import METHODS
    from sigbit.quant.spec import method_grid

    def terms(bits: int) -> int:
        spec = QuantSpec.from_arch(config, weight_method=name, weight_bits=bits)
        return spec.weight_choice(bits).terms

    def planes(bits: int) -> int:
        spec = QuantSpec.from_arch(config, act_method=name, act_bits=bits)
        return method_grid(spec, bits, 0.0).planes

    method = METHODS[name]
    return {
        "method": name,
        "terms": _by_bits(method.weights, terms),
        "planes": _by_bits(method.acts, planes),
    }


def _by_bits(side: "Side | None", digits: Callable[[int], int]) -> dict[int, int | None]:
    from sigbit.quant import QuantizationError

    found: dict[int, int | None] = dict.fromkeys(BITS)
    for bits in side.bits if side else ():
        try:
            found[bits] = digits(bits)
        except QuantizationError:
            found[bits] = 0
    return found


def _cell(count: int | None) -> str:
    return {None: "-", 0: "no"}.get(count, str(count))


def _default(value: object) -> str:
    """``value`` as a TOML file has it; "none" is a key that is left out."""
    if isinstance(value, tuple):
        return f"[{', '.join(map(_default, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return "none" if value is None else f'"{value}"' if isinstance(value, str) else f"{value:.6g}"
