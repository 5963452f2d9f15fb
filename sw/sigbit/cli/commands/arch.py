"""``sigbit arch``: the accelerators, their derived figures, their Verilog."""

from pathlib import Path
from typing import Annotated

import typer

from sigbit.cli.console.files import target, write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import say, show_facts, show_table
from sigbit.report.units import size

app = typer.Typer(help="The accelerators: presets, derived figures, Verilog.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="PRESET|FILE", help="A preset, a JSON file or a Program.")
]
NOTES = {
    "macs": "multiply-accumulates per cycle",
    "dot_bits": "width of one dot product",
    "slot_bits": "one pixel of ic_lanes channels",
    "weight_word_bits": "weights of one cycle",
    "slots_per_block": "slots of an output block's channels",
    "drain_slots": "slots that the drain writes per cycle",
    "groups_per_block": "parameter groups of an output block",
    "drain_cycles": "to drain a block into one plane",
}
"""Descriptions of the derived figures."""


@app.command("list")
def list_presets(json: Json = None) -> None:
    """List the presets."""
    from sigbit.flows.arch import presets

    found = presets()
    show_table(
        "Accelerators",
        ["name", "MACs", "pixels", "oc", "ic", "post", "weights", "acts", "bus", "size", "digest"],
        [
            (
                p.name,
                p.macs,
                p.pixels,
                p.oc_lanes,
                p.ic_lanes,
                p.post_lanes,
                p.weights,
                p.activations,
                p.bus_bits,
                size(p.memory_bytes),
                p.digest[:16],
            )
            for p in found.presets
        ],
        " >>>>>  >>",
    )
    write_json(json, found)


@app.command()
def show(name: Name, json: Json = None) -> None:
    """Show an accelerator's parameters, derived widths, memories and digest."""
    from sigbit.flows.arch import accelerator

    found = accelerator(name)
    config = found.config
    parameters = config.to_json() | {
        "weight_format": str(config.weight_format),
        "act_format": str(config.act_format),
    }
    show_facts(f"Accelerator {config.name}", [("digest", config.digest), *parameters.items()])
    show_table(
        "Derived",
        ["", "", ""],
        [(name, value, NOTES[name]) for name, value in vars(found.derived).items()],
        " > ",
    )
    show_table(
        "Memories on the chip",
        ["memory", "words", "bits", "size"],
        [(k, f"{m.words:,}", f"{m.bits:,}", size(m.size // 8)) for k, m in found.memories.items()],
        " >>>",
    )
    write_json(json, found)


@app.command()
def verilog(
    name: Name,
    output: Annotated[
        Path,
        typer.Option("-o", "--output", metavar="FILE.v", callback=target, help="Verilog file."),
    ],
    json: Json = None,
) -> None:
    """Write an accelerator's Verilog: the same bytes for the same configuration."""
    from sigbit.flows.arch import write_verilog

    written = write_verilog(name, output)
    say(f"wrote {output}: {written.lines:,} lines, SHA-256 {written.sha256}")
    write_json(json, written)
