"""``sigbit inspect``: what a compiled Program holds."""

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import CLOCK, Json, Latency
from sigbit.cli.console.output import say, show_facts, show_table, size
from sigbit.cli.traffic import Traffic, spilled, traffic
from sigbit.inputs.programs import load_program

if TYPE_CHECKING:
    from sigbit_hw.arch.program import Port, Program


def inspect(
    program: Annotated[Path, typer.Argument(metavar="NET.sigbit", help="A compiled Program.")],
    listing: Annotated[
        bool, typer.Option("--listing", help="Print the assembler listing too.")
    ] = False,
    cycles: Annotated[
        bool, typer.Option(help="Predict the cycles of every layer, exactly as the RTL takes them.")
    ] = True,
    latency: Latency = 40,
    json: Json = None,
) -> None:
    """Show a Program's layers, memory, traffic, instructions and predicted cycles."""
    net = load_program(program)
    counts = Counter(instr.opcode.name for instr in net.listing)
    show_facts(
        f"Program {net.name}",
        [
            ("accelerator", f"{net.config.name} ({net.config.digest})"),
            ("digest", net.digest),
            *((f"input {p.name}", _port(p)) for p in net.inputs),
            *((f"output {p.name}", _port(p)) for p in net.outputs),
            ("images a run", net.images),
            ("on the host", _host(net)),
            ("test vectors", f"{len(net.vectors)} arrays" if net.vectors else "none"),
        ],
    )
    passes, tiles = _segments(net), Counter(info.layer for info in net.execs)
    show_table(
        "Layers",
        ["layer", "kind", "shape", "planes", "segments", "tiles", "native MACs", "source"],
        [
            (
                r.name,
                r.kind,
                "×".join(map(str, r.shape)),
                r.planes,
                passes.get(r.name, 0),
                tiles[r.name],
                f"{r.macs:,}",
                r.source.partition(" ")[0],
            )
            for r in net.layers
        ],
        "   >>>>>",
    )
    moved = traffic(net)
    timed = _times(net, moved, latency) if cycles else None
    regions = list(_memory_map(net))
    show_table(
        "Memory map of the DMA window",
        ["from", "to", "size", "content"],
        [(f"0x{a:08x}", f"0x{b:08x}", size(b - a), what) for a, b, what in regions],
        "  >",
    )
    show_table(
        "Traffic of one run",
        ["what", "transfers", "size"],
        [(kind, f"{moved.transfers[kind]:,}", size(n)) for kind, n in moved.bytes.items()],
        " >>",
    )
    show_table("Instructions", ["opcode", "count"], counts.most_common(), " >")
    if timed is not None:
        _show_times(net, timed, latency)
    if listing:
        _print_listing(net)
    write_json(
        json,
        {
            "name": net.name,
            "digest": net.digest,
            "arch": net.config.name,
            "arch_digest": net.config.digest,
            "images": net.images,
            "host": [vars(step) for step in net.host],
            "layers": [
                vars(r) | {"segments": passes.get(r.name, 0), "tiles": tiles[r.name]}
                for r in net.layers
            ],
            "inputs": [asdict(p) for p in net.inputs],
            "outputs": [asdict(p) for p in net.outputs],
            "memory_bytes": net.memory_bytes,
            "memory_map": [{"from": a, "to": b, "content": what} for a, b, what in regions],
            "instructions": dict(counts),
            "traffic_bytes": moved.bytes,
            **({} if timed is None else {"latency": latency, **timed}),
        },
    )


def _host(net: "Program") -> str:
    return (
        ", ".join(f"{s.function} of {s.output} {s.source}".strip() for s in net.host) or "nothing"
    )


def _times(net: "Program", moved: Traffic, latency: int) -> dict[str, Any]:
    """The predicted cycles of the run and of every layer."""
    from sigbit.report.metrics import layer_times
    from sigbit_sim.cycles import predict

    predicted = predict(net, latency=latency)
    numbers = {layer.name: i for i, layer in enumerate(net.layers)}
    times = layer_times(net, predicted.retires.tolist())
    rows = [
        {
            "layer": t.name,
            "cycles": t.cycles,
            "ideal": t.ideal,
            "fed": t.fed,
            "drain": t.drain,
            "wait": t.wait,
            "bound": t.bound,
            "loaded_bytes": moved.loaded.get(numbers.get(t.name, len(numbers)), 0),
            "stored_bytes": moved.stored.get(numbers.get(t.name, len(numbers)), 0),
        }
        for t in times
    ]
    ideal = sum(t.ideal for t in times)
    return {"cycles": predicted.cycles, "utilization": ideal / predicted.cycles, "times": rows}


def _show_times(net: "Program", timed: dict[str, Any], latency: int) -> None:
    whole = timed["cycles"]
    show_table(
        f"Predicted cycles, memory latency {latency}",
        [
            "layer",
            "cycles",
            "share",
            "array busy",
            "feeding",
            "drain",
            "waiting",
            "bound by",
            "loaded",
            "stored",
        ],
        [
            (
                r["layer"],
                f"{r['cycles']:,}",
                f"{r['cycles'] / whole:.1%}",
                f"{r['ideal'] / r['cycles']:.1%}",
                *(f"{r[k]:,}" for k in ("fed", "drain", "wait")),
                r["bound"],
                size(r["loaded_bytes"]),
                size(r["stored_bytes"]),
            )
            for r in timed["times"]
        ],
        " >>>>>> >>",
    )
    each = f", {whole / net.images:,.0f} an image" if net.images > 1 else ""
    say(
        f"{whole:,} cycles a run{each}: array busy {timed['utilization']:.1%}, "
        f"{net.images * CLOCK / whole:,.0f} images/s at {CLOCK / 1e6:.0f} MHz"
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
        *((*_span(net, p), f"input {p.name}") for p in net.inputs),
        *((*_span(net, p), f"output {p.name}") for p in net.outputs),
        (*spilled(net), "spilled values"),
        (*net.write_window, "may be written by STORE"),
        (0, net.memory_bytes, "whole window"),
    ]
    return iter(sorted((r for r in regions if r[1] > r[0]), key=lambda r: (r[0], -r[1])))


def _span(net: "Program", port: "Port") -> tuple[int, int]:
    """Where all images of a port lie."""
    return port.offset, port.offset + net.images * port.bytes(net.config)


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
