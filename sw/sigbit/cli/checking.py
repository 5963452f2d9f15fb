"""``sigbit check``: what of a float network the accelerator does, what the host, what nobody."""

from math import prod
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import CLOCK, Checkpoint, Json, Latency, Model, Shapes
from sigbit.cli.console.output import progress, say, show_facts, show_table, size
from sigbit.errors import CheckFailed
from sigbit.inputs.accelerators import load_arch
from sigbit.inputs.networks import load_network

if TYPE_CHECKING:
    from sigbit.ir.floating import FloatGraph, Node
    from sigbit_hw.arch.config import ArchConfig

HOW = {
    "Conv2d": ("array", "multiply-accumulate"),
    "ConvTranspose2d": ("array", "one convolution for each phase; zeros are not multiplied"),
    "Linear": ("array", "multiply-accumulate"),
    "BatchNorm": ("array", "folded into weights and biases, or one more factor a channel"),
    "Add": ("array", "one more operand of a sum"),
    "Multiply": ("array, table", "((x + y)² - (x - y)²) / 4: two sums, squares by table"),
    "MaxPool2d": ("array", "running maximum; of 8-bit tensors by exact sums"),
    "AvgPool2d": ("array", "depthwise kernel of ones"),
    "Upsample": ("array", "every pixel copied to its places"),
    "Relu": ("table", "exact, with the layer before it"),
    "Concat": ("addressing", "channels of one tensor; copied where lanes do not line up"),
    "Channels": ("addressing", "channels by address; copied where lanes do not line up"),
    "Pad": ("addressing", "part of the padding of what reads it"),
    "Flatten": ("addressing", "nothing to do"),
    "Select": ("addressing", "one step of a sequence"),
}
"""How the float graph's operations are carried out: by what, and how."""
UNARY = ("table", "exact: 256 entries, with the layer before it")


def check(
    model: Model,
    arch: Annotated[
        str | None,
        typer.Option(
            "--arch",
            metavar="PRESET|FILE",
            help="Also compile for this accelerator, with scales from random inputs, and predict "
            "its cycles.",
        ),
    ] = None,
    shapes: Shapes = None,
    checkpoint: Checkpoint = None,
    latency: Latency = 40,
    json: Json = None,
) -> None:
    """Say whether a float network is supported, and how each operation is carried out.

    Exits with 1 if anything is unsupported; every refusal is listed with its place and a remedy.
    """
    from sigbit.frontend import UnsupportedModel
    from sigbit.quant.plan.fusion import fuse

    config = None if arch is None else load_arch(arch)
    document: dict[str, Any] = {"model": model, "supported": False}
    with progress() as bar:
        task = bar.add_task(f"importing {model}", total=None)
        try:
            network = load_network(model, shapes or (), checkpoint)
            document |= describe(network.graph) | {"weights": network.weights}
            fuse(network.graph)
            document["unsupported"] = []
            if config is not None:
                bar.update(task, description=f"compiling for {config.name}")
                document["accelerator"] = fitted = _fit(network.graph, config, latency)
                document["unsupported"] = fitted.pop("unsupported")
        except UnsupportedModel as error:
            document["unsupported"] = [vars(row) for row in error.rows]
    refusals = document["unsupported"]
    document["supported"] = not refusals
    _show(document)
    write_json(json, document)
    if refusals:
        plural = "s are" if len(refusals) > 1 else " is"
        raise CheckFailed(f"{model}: {len(refusals)} operation{plural} not supported")


def describe(graph: "FloatGraph") -> dict[str, Any]:
    """Inputs, outputs, operations with their counts, the host's part, and sums, as plain values."""
    from sigbit.ir.floating import Placeholder

    operations: dict[str, dict[str, Any]] = {}
    for node in graph.nodes:
        if isinstance(node, Placeholder):
            continue
        name, (by, how) = _operation(graph, node)
        row = operations.setdefault(
            name, {"operation": name, "count": 0, "macs": 0, "by": by, "how": how}
        )
        row["count"] += 1
        row["macs"] += macs(graph, node)
    learned: set[str] = set()
    for node in graph.nodes:
        learned.update(n for a in ("weight", "bias") if (n := getattr(node, a, None)) is not None)
    return {
        "name": graph.name,
        "inputs": [{"name": n.name, "shape": list(n.shape)} for n in graph.inputs],
        "outputs": [{"name": n, "shape": list(graph[n].shape)} for n in graph.outputs],
        "operations": list(operations.values()),
        "host": [
            {"function": h.function, "output": graph.outputs[h.output], "location": h.location}
            for h in graph.host
        ],
        "quantizers": len(graph.quantizers),
        "macs": sum(row["macs"] for row in operations.values()),
        "parameters": sum(graph.parameters[name].numel() for name in learned),
    }


def macs(graph: "FloatGraph", node: "Node") -> int:
    """Multiply-accumulates of one sample."""
    from sigbit.ir.floating import Conv2d, ConvTranspose2d, Linear

    if isinstance(node, Conv2d | Linear):
        return prod(graph.parameters[node.weight].shape) * prod(node.shape[1:])
    if isinstance(node, ConvTranspose2d):
        pixels = prod(graph[node.inputs[0]].shape[1:])
        return prod(graph.parameters[node.weight].shape) * pixels
    return 0


def _operation(graph: "FloatGraph", node: "Node") -> tuple[str, tuple[str, str]]:
    """What people call an operation, and how it is carried out."""
    from sigbit.ir.floating import Conv2d, Unary

    kind = type(node).__name__
    if isinstance(node, Unary):
        return node.function, UNARY
    if isinstance(node, Conv2d):
        channels = graph[node.inputs[0]].shape[0]
        kernel = "x".join(map(str, graph.parameters[node.weight].shape[2:]))
        groups = {1: "", channels: ", depthwise"}.get(node.groups, f", {node.groups} groups")
        dilated = "" if node.dilation == (1, 1) else ", dilated"
        return f"Conv2d {kernel}{groups if channels > 1 else ''}{dilated}", HOW[kind]
    return kind, HOW[kind]


def _fit(graph: "FloatGraph", config: "ArchConfig", latency: int) -> dict[str, Any]:
    """What the compiler makes of the network with scales from random inputs."""
    import torch

    from sigbit.compiler import CompileError, compile_graph
    from sigbit.quant import QuantizationError, QuantSpec, convert, prepare
    from sigbit_sim.cycles import predict

    torch.manual_seed(0)
    examples = tuple(torch.randn(2, *n.shape) for n in graph.inputs)
    facts: dict[str, Any] = {"arch": config.name, "arch_digest": config.digest, "unsupported": []}
    try:
        integer = convert(prepare(graph, QuantSpec.from_arch(config), examples))
        program = compile_graph(integer.graph, config)
    except (CompileError, QuantizationError) as error:
        row = {"name": graph.name, "op": config.name, "location": "", "reason": str(error)}
        facts["unsupported"] = [row | {"remedy": "see the reason, or take another accelerator"}]
        return facts
    cycles = predict(program, latency=latency).cycles
    native = sum(layer.macs for layer in program.layers)
    return facts | {
        "instructions": len(program.listing),
        "constant_bytes": program.image.size,
        "memory_bytes": program.memory_bytes,
        "native_macs": native,
        "cycles": cycles,
        "utilization": native / config.macs / cycles,
        "frames_per_second": CLOCK / cycles,
    }


def _show(document: dict[str, Any]) -> None:
    if "name" in document:
        facts = [
            *((f"input {t['name']}", _shape(t)) for t in document["inputs"]),
            *((f"output {t['name']}", _shape(t)) for t in document["outputs"]),
            ("multiply-accumulates", f"{document['macs']:,} a sample"),
            ("parameters", f"{document['parameters']:,}; {document['weights']}"),
        ]
        if document["quantizers"]:
            facts.append(
                ("quantizers", f"{document['quantizers']} tensors have one of the model's")
            )
        rows = [
            (o["operation"], o["count"], f"{o['macs']:,}" if o["macs"] else "", o["by"], o["how"])
            for o in document["operations"]
        ]
        rows += [
            (h["function"], 1, "", "host", f"after the accelerator {h['location']}".strip())
            for h in document["host"]
        ]
        show_facts(f"Network {document['name']}", facts)
        show_table("Operations", ["operation", "count", "MACs", "by", "how"], rows, " >>")
    if refusals := document["unsupported"]:
        show_table(
            "Not supported",
            ["where", "operation", "why", "instead"],
            [(r["location"] or r["name"], r["op"], r["reason"], r["remedy"]) for r in refusals],
        )
        return
    if (fitted := document.get("accelerator")) is not None:
        rate = fitted["frames_per_second"]
        show_facts(
            f"On {fitted['arch']}, with scales from random inputs",
            [
                ("instructions", f"{fitted['instructions']:,}"),
                ("constants", size(fitted["constant_bytes"])),
                ("DMA window", size(fitted["memory_bytes"])),
                (
                    "predicted",
                    f"{fitted['cycles']:,} cycles a frame, {rate:,.0f} frames/s at 200 MHz",
                ),
                ("array busy", f"{fitted['utilization']:.1%}"),
            ],
        )
    host = ", ".join(dict.fromkeys(h["function"] for h in document["host"]))
    rest = f"but {host}, which the host does" if host else "and nothing is left to the host"
    say(f"supported: everything runs on the accelerator, {rest}")


def _shape(tensor: dict[str, Any]) -> str:
    return "×".join(map(str, tensor["shape"]))
