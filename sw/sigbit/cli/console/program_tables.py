"""Display of Programs."""

from typing import TYPE_CHECKING

from sigbit.cli.console.output import say, show_facts, show_table
from sigbit.report.units import size

if TYPE_CHECKING:
    from sigbit.flows.inspect import InspectedProgram
    from sigbit_hw.arch.axes import Axes
    from sigbit_hw.arch.program import Port, Program


def show_program(found: "InspectedProgram") -> None:
    """Print facts, layers, memory map, traffic and instructions."""
    net = found.program
    ports = {port.name: port for port in net.outputs}
    host = ", ".join(map(str, found.host))
    facts = [
        ("accelerator", f"{net.config.name} ({net.config.digest})"),
        ("digest", net.digest),
        *((f"input {p.name}", _port(p, p.axes)) for p in net.inputs),
        *((f"output {r.name}", _port(ports[r.port], r.axes)) for r in net.results),
        *((f"state {p.name}", _port(p, p.axes)) for p in net.states),
        *(("images", _preprocessing(net)) for p in net.inputs[:1] if len(p.own_shape) == 3),
        ("images per run", net.images),
        ("on the host", host or "nothing"),
        ("test vectors", f"{len(net.vectors)} arrays" if net.vectors else "none"),
    ]
    show_facts(f"Program {net.name}", facts)
    rows: list[list[object]] = []
    for layer in found.layers:
        info = layer.info
        row = [info.name, info.kind, "×".join(map(str, info.shape)), info.planes]
        row += [layer.segments, layer.tiles, f"{info.macs:,}", info.source.partition(" ")[0]]
        rows.append(row)
    columns = ["layer", "kind", "shape", "planes", "segments", "tiles", "native MACs", "source"]
    show_table("Layers", columns, rows, "   >>>>>")
    show_table(
        "Memory map of the DMA window",
        ["from", "to", "size", "content"],
        [
            (f"0x{r.start:08x}", f"0x{r.end:08x}", size(r.end - r.start), r.content)
            for r in found.memory_map
        ],
        "  >",
    )
    moved = found.traffic
    show_table(
        "Traffic per run",
        ["what", "transfers", "size"],
        [(kind, f"{moved.transfers[kind]:,}", size(n)) for kind, n in moved.bytes.items()],
        " >>",
    )
    counts = sorted(found.instructions.items(), key=lambda item: -item[1])
    show_table("Instructions", ["opcode", "count"], counts, " >")


def show_prediction(found: "InspectedProgram") -> None:
    """Print the predicted cycles, if there are any."""
    from sigbit.report.metrics import CLOCK

    if (told := found.prediction) is None:
        return
    columns = ["layer", "cycles", "share", "array busy", "feeding", "drain", "waiting"]
    rows: list[list[object]] = []
    for t in told.times:
        row = [t.layer, f"{t.cycles:,}", f"{t.cycles / told.cycles:.1%}"]
        row += [f"{t.ideal / t.cycles:.1%}", f"{t.fed:,}", f"{t.drain:,}", f"{t.wait:,}", t.bound]
        rows.append([*row, size(t.loaded_bytes), size(t.stored_bytes)])
    columns += ["bound by", "loaded", "stored"]
    show_table(f"Predicted cycles, memory latency {told.latency}", columns, rows, " >>>>>> >>")
    images = found.program.images
    each = f", {told.cycles / images:,.0f} per image" if images > 1 else ""
    say(
        f"{told.cycles:,} cycles per run{each}: array busy {told.utilization:.1%}, "
        f"{images * CLOCK / told.cycles:,.0f} images/s at {CLOCK / 1e6:.0f} MHz"
    )


def _preprocessing(net: "Program") -> str:
    """Return the conversion of images to the input, and the names of the classes, as text."""
    how, classes = net.preprocessing, f"; {len(net.classes)} classes" if net.classes else ""
    if how is None:
        return f"how they become the input is not known{classes}"
    mean, std = (
        "[" + ", ".join(f"{v:.4g}" for v in values) + "]" for values in (how.mean, how.std)
    )
    cut = "" if how.resize is None else f"centre scaled to {how.resize}, "
    order = f" {how.colours}" if len(how.mean) == 3 else ""
    return (
        f"{cut}{how.size[0]}×{how.size[1]}{order}, (byte × {how.scale:.6g} - {mean}) / {std}"
        f"{classes}"
    )


def _port(port: "Port", axes: "Axes") -> str:
    shape = "×".join(map(str, axes.shape(port.shape)))
    return (
        f"{shape} ({axes.replace(' ', ', ')}), {port.scale:.6g} × (stored + {port.zero}), "
        f"stored in [{port.low}, {port.high}], "
        f"{port.planes} planes"
    )
