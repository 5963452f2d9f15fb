"""``sigbit arch``: the accelerators, their derived numbers, their Verilog."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.console.files import target, write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import say, show_facts, show_table, size
from sigbit.inputs.accelerators import load_arch
from sigbit_tools.files import write_text

if TYPE_CHECKING:
    from sigbit_hw.arch.config import ArchConfig

app = typer.Typer(help="The accelerators: presets, derived numbers, Verilog.", no_args_is_help=True)

Name = Annotated[
    str, typer.Argument(metavar="PRESET|FILE", help="A preset, a JSON file or a Program.")
]


def memories(config: "ArchConfig") -> dict[str, tuple[int, int]]:
    """Words and bits a word of every memory on the chip."""
    from sigbit_hw.arch.images import ITEM_BYTES
    from sigbit_hw.arch.numerics import TABLE_ENTRIES

    return {
        "activations": (config.act_slots, config.slot_bits),
        "weights": (config.weight_words, config.weight_word_bits),
        "parameters": (config.param_groups, config.param_lanes * 8 * ITEM_BYTES),
        "tables": (config.tables * TABLE_ENTRIES, config.act_format.bits),
    }


@app.command("list")
def list_presets(json: Json = None) -> None:
    """List the presets."""
    from sigbit_hw.arch.config import PRESETS

    rows: list[dict[str, Any]] = [
        {
            "name": c.name,
            "macs": c.macs,
            "pixels": c.pixels,
            "oc_lanes": c.oc_lanes,
            "ic_lanes": c.ic_lanes,
            "post_lanes": c.post_lanes,
            "weights": str(c.weight_format),
            "activations": str(c.act_format),
            "bus_bits": c.bus_bits,
            "memory_bytes": sum(words * bits for words, bits in memories(c).values()) // 8,
            "digest": c.digest,
        }
        for c in PRESETS.values()
    ]
    show_table(
        "Accelerators",
        ["name", "MACs", "pixels", "oc", "ic", "post", "weights", "acts", "bus", "size", "digest"],
        [[*list(r.values())[:9], size(r["memory_bytes"]), r["digest"][:16]] for r in rows],
        " >>>>>  >>",
    )
    write_json(json, {"presets": rows})


@app.command()
def show(name: Name, json: Json = None) -> None:
    """Show an accelerator's parameters, derived widths, memories and digest."""
    config = load_arch(name)
    parameters = config.to_json() | {
        "weight_format": str(config.weight_format),
        "act_format": str(config.act_format),
    }
    derived: dict[str, Any] = {
        "macs": config.macs,
        "dot_bits": config.dot_bits,
        "slot_bits": config.slot_bits,
        "weight_word_bits": config.weight_word_bits,
        "slots_per_block": config.slots_per_block,
        "drain_slots": config.drain_slots,
        "groups_per_block": config.groups_per_block,
        "drain_cycles": config.drain_cycles(1),
    }
    notes = {
        "macs": "multiply-accumulates a cycle",
        "dot_bits": "width of one dot product",
        "slot_bits": "one pixel of ic_lanes channels",
        "weight_word_bits": "weights of one cycle",
        "slots_per_block": "slots of an output block's channels",
        "drain_slots": "slots written a cycle by the drain",
        "groups_per_block": "parameter groups of an output block",
        "drain_cycles": "to drain a block into one plane",
    }
    show_facts(f"Accelerator {config.name}", [("digest", config.digest), *parameters.items()])
    show_table("Derived", ["", "", ""], [(k, v, notes[k]) for k, v in derived.items()], " > ")
    stores = memories(config)
    show_table(
        "Memories on the chip",
        ["memory", "words", "bits", "size"],
        [(k, f"{w:,}", f"{b:,}", size(w * b // 8)) for k, (w, b) in stores.items()],
        " >>>",
    )
    write_json(
        json,
        {
            "config": config.to_json(),
            "digest": config.digest,
            "derived": derived,
            "memories": {k: {"words": w, "bits": b} for k, (w, b) in stores.items()},
        },
    )


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
    import hashlib

    config = load_arch(name)
    from sigbit_synthesis.emitted import cached_verilog

    text = cached_verilog(config)
    write_text(output, text)
    digest = hashlib.sha256(text.encode()).hexdigest()
    lines = text.count("\n")
    say(f"wrote {output}: {lines:,} lines, SHA-256 {digest}")
    write_json(
        json,
        {"file": str(output), "lines": lines, "sha256": digest, "arch_digest": config.digest},
    )
