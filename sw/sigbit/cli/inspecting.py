"""``sigbit inspect``: what a compiled Program holds."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.files import write_json
from sigbit.cli.options import Json
from sigbit.cli.output import show_facts, show_table, size
from sigbit.cli.programs import load_program

if TYPE_CHECKING:
    from sigbit_hw.arch.program import Program


def inspect(
    program: Annotated[Path, typer.Argument(metavar="NET.sigbit", help="A compiled Program.")],
    listing: Annotated[
        bool, typer.Option("--listing", help="Print the assembler listing too.")
    ] = False,
    json: Json = None,
) -> None:
    """Show a Program's layers, memory map and instructions."""
    net = load_program(program)
    counts = Counter(instr.opcode.name for instr in net.listing)
    show_facts(
        f"Program {net.name}",
        [
            ("accelerator", f"{net.config.name} ({net.config.digest})"),
            ("digest", net.digest),
            *((f"input {p.name}", _port(p)) for p in net.inputs),
            *((f"output {p.name}", _port(p)) for p in net.outputs),
            ("test vectors", ", ".join(sorted(net.vectors)) or "none"),
        ],
    )
    passes = _segments(net)
    show_table(
        "Layers",
        ["layer", "kind", "shape", "planes", "segments", "native MACs", "scale", "zero", "source"],
        [
            (
                r.name,
                r.kind,
                "×".join(map(str, r.shape)),
                r.planes,
                passes.get(r.name, 0),
                f"{r.macs:,}",
                f"{r.scale:.6g}",
                r.zero,
                r.source,
            )
            for r in net.layers
        ],
        "   >>>>>",
    )
    regions = list(_memory_map(net))
    show_table(
        "Memory map of the DMA window",
        ["from", "to", "size", "content"],
        [(f"0x{a:08x}", f"0x{b:08x}", size(b - a), what) for a, b, what in regions],
        "  >",
    )
    show_table("Instructions", ["opcode", "count"], counts.most_common(), " >")
    if listing:
        _print_listing(net)
    write_json(
        json,
        {
            "name": net.name,
            "digest": net.digest,
            "arch": net.config.name,
            "arch_digest": net.config.digest,
            "layers": [vars(r) | {"segments": passes.get(r.name, 0)} for r in net.layers],
            "inputs": [vars(p) for p in net.inputs],
            "outputs": [vars(p) for p in net.outputs],
            "memory_bytes": net.memory_bytes,
            "memory_map": [{"from": a, "to": b, "content": what} for a, b, what in regions],
            "instructions": dict(counts),
        },
    )


def _port(port: Any) -> str:
    shape = "×".join(map(str, port.shape))
    return (
        f"{shape}, {port.scale:.6g} × (stored + {port.zero}), stored in [{port.low}, {port.high}], "
        f"{port.planes} planes"
    )


def _segments(net: "Program") -> dict[str, int]:
    """Segments (sources times pairs of terms) of every layer's first ``EXEC``."""
    segments: dict[str, int] = {}
    for info in net.execs:
        segments.setdefault(info.layer, net.listing[info.index].n_seg)
    return segments


def _memory_map(net: "Program") -> Iterator[tuple[int, int, str]]:
    """Regions in the order of their addresses: first byte, byte after the last, content."""
    regions = [
        (net.program_offset, net.program_offset + net.instructions.size, "instructions"),
        (net.image_offset, net.image_offset + net.image.size, "weights, parameters, tables"),
        *((p.offset, p.offset + p.bytes(net.config), f"input {p.name}") for p in net.inputs),
        *((p.offset, p.offset + p.bytes(net.config), f"output {p.name}") for p in net.outputs),
        (*net.write_window, "may be written by STORE"),
        (0, net.memory_bytes, "whole window"),
    ]
    return iter(sorted(regions, key=lambda r: (r[0], -r[1])))


def _print_listing(net: "Program") -> None:
    """The listing, with a comment line where another layer begins: it assembles again."""
    from sigbit_hw.arch.assembler import listing

    current = None
    for instr, line in zip(net.listing, listing(net.listing).splitlines(), strict=True):
        name = net.layers[instr.tag].name if instr.tag < len(net.layers) else "no layer"
        if name != current:
            typer.echo(f"# {name}")
            current = name
        typer.echo(line)
