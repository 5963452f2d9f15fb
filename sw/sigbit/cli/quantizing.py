"""``sigbit quantize``: from a float checkpoint to a Program, without training."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.arch import load_arch
from sigbit.cli.budget import Budget, parse_budget, within
from sigbit.cli.errors import UserError
from sigbit.cli.files import target, write_json
from sigbit.cli.inputs import Mean, Std
from sigbit.cli.networks import Checkpoint, FloatNetwork, Model, Shapes, load_network
from sigbit.cli.options import Arch, Json
from sigbit.cli.output import progress, say, show_facts, show_table
from sigbit.cli.precision import act_bits, bits_spec, weight_bits
from sigbit.cli.programs import program_facts, say_program
from sigbit.cli.quality import Tell, agreement, layer_rows
from sigbit.cli.samples import Samples, Wanted, load_samples
from sigbit.files import replacing

if TYPE_CHECKING:
    from sigbit.ir.floating import FloatGraph
    from sigbit.quant import IntegerModel, PreparedModel, QuantSpec
    from sigbit_hw.arch.config import ArchConfig

SHOWN = 60
"""Layers in the table; the JSON file holds all."""


def quantize(
    model: Model,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            callback=target,
            help="What to write: NET.sigbit, a Program, or NET.pt2, an integer model.",
        ),
    ],
    calibrate: Annotated[
        str,
        typer.Option(
            metavar="DATA",
            help="A data set's name, or an .npy or .npz file of inputs [N, ...] (labels: array y).",
        ),
    ],
    arch: Arch = "micro",
    weights: Annotated[
        str, typer.Option(metavar="FORMAT", help="esb4: the accelerator's own; esb8: two terms.")
    ] = "esb4",
    acts: Annotated[
        str, typer.Option(metavar="FORMAT", help="esb4, esb7 or esb8: one to three planes.")
    ] = "esb4",
    first_last: Annotated[
        int, typer.Option(metavar="BITS", help="Least bits of the first and last layers' weights.")
    ] = 8,
    bits: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER=W/A", help="Bits of one layer, such as conv1=8/8; repeatable."),
    ] = None,
    budget: Annotated[
        str | None,
        typer.Option(
            metavar="cycles=N|bytes=N",
            help="Search bits of every layer: the least error within so many cycles by the cycle "
            "model, or bytes of constants.",
        ),
    ] = None,
    checkpoint: Checkpoint = None,
    shapes: Shapes = None,
    data: Annotated[
        Path | None,
        typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of data sets."),
    ] = None,
    images: Annotated[int, typer.Option(min=1, help="Samples to calibrate with.")] = 32,
    test: Annotated[int, typer.Option(min=1, help="Other samples, to test with.")] = 100,
    mean: Mean = None,
    std: Std = None,
    equalize: Annotated[
        bool, typer.Option(help="Even out the ranges of neighbouring layers.")
    ] = False,
    bias_correction: Annotated[
        bool, typer.Option(help="Take the mean error of every layer off its bias.")
    ] = True,
    json: Json = None,
) -> None:
    """Quantize a trained float network and compile it: a checkpoint becomes a Program."""
    if output.suffix not in (".sigbit", ".pt2"):
        raise UserError(
            f"-o must end in .sigbit (a Program) or .pt2 (an integer model), not {output.name}"
        )
    config = load_arch(arch)
    spec = bits_spec(config, weights, acts, first_last, bits or ())
    limit = parse_budget(budget)
    if limit is not None and bits:
        raise UserError("--bits and --budget both give bits to layers: choose one")
    wanted = Wanted(images, test, data, mean, std)
    start = time.perf_counter()
    with progress() as bar:
        task = bar.add_task(f"importing {model}", total=None)

        def tell(what: str, done: int = 0, total: int = 0) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        from sigbit.quant import convert
        from sigbit.training import reproducible

        network = load_network(model, shapes or (), checkpoint)
        tell(f"reading {calibrate}")
        calibration, tested = load_samples(calibrate, network, wanted)
        with reproducible():
            prepared, folded, searched = _quantized(
                network.graph, calibration, spec, equalize, bias_correction, limit, config, tell
            )
            tell("converting to integers")
            integer = convert(prepared)
            rows = layer_rows(prepared, folded, calibration, tell)
            figures = agreement(network, integer, tested, tell)
        facts = _write(integer, network, config, output, tell)
    document = {
        "model": model,
        "weights": network.weights,
        "arch": config.name,
        "arch_digest": config.digest,
        "formats": {"weights": weights, "acts": acts, "first_last": first_last, "bits": bits or []},
        "budget": searched,
        "equalize": equalize,
        "bias_correction": bias_correction,
        "quantizers": len(network.graph.quantizers),
        "calibration": calibration.origin,
        "test": tested.origin,
        **figures,
        "layers": rows,
        "file": str(output),
        **facts,
        "seconds": time.perf_counter() - start,
    }
    _show(document, config)
    write_json(json, document)


def _quantized(
    graph: "FloatGraph",
    calibration: Samples,
    spec: "QuantSpec",
    equalize: bool,
    correct: bool,
    budget: Budget | None,
    config: "ArchConfig",
    tell: Tell,
) -> "tuple[PreparedModel, FloatGraph, dict[str, Any] | None]":
    """The prepared model, the float graph that its layers are those of, and what the search for
    bits found."""
    import torch

    from sigbit.quant.post import equalized, fold_batch_norms, post_training
    from sigbit.quant.prepare import check_parameters, evaluate

    batches = tuple(torch.from_numpy(b) for b in calibration.inputs)
    check_parameters(graph)
    tell("folding batch norms")
    graph = fold_batch_norms(graph)
    if equalize:
        tell("equalizing layers")
        with torch.no_grad():
            graph = equalized(graph, evaluate(graph, batches))
    searched = None
    if budget is not None:
        spec, searched = within(budget, graph, batches, spec, config, tell)
    tell(f"searching scales on {len(calibration)} samples")
    return post_training(graph, batches, spec, correct_bias=correct), graph, searched


def _write(
    integer: "IntegerModel", network: FloatNetwork, config: "ArchConfig", path: Path, tell: Tell
) -> dict[str, Any]:
    """Write the Program or the integer model; what is known of it."""
    import torch

    from sigbit.compiler import compile_graph

    if path.suffix == ".pt2":
        example = tuple(torch.zeros(1, *node.shape) for node in network.graph.inputs)
        tell("exporting the integer model")
        with replacing(path) as file:
            torch.export.save(torch.export.export(integer, example), file)
        return {}
    program = compile_graph(
        integer.graph, config, progress=lambda name, n, of: tell(f"compiling: {name}", n, of)
    )
    program.save(path)
    return {"program": program_facts(program)}


def _budget_facts(found: dict[str, Any] | None) -> list[tuple[str, object]]:
    if found is None:
        return []
    return [("budget", f"{found['cost']:,.0f} of {found['limit']:,.0f} {found['what']}")]


def _show(document: dict[str, Any], config: "ArchConfig") -> None:
    rows = document["layers"]
    shown = rows
    if len(rows) > SHOWN:
        noisy = sorted(r["snr_db"] for r in rows if r["snr_db"] is not None)[:SHOWN]
        shown = [r for r in rows if r["snr_db"] is not None and r["snr_db"] <= noisy[-1]]
    names = ({v: k for k, v in table(config).items()} for table in (weight_bits, act_bits))
    of_weights, of_acts = names
    show_table(
        "Layers" if shown is rows else f"The {len(shown)} of {len(rows)} layers with most noise",
        ["layer", "kind", "shape", "weight bits", "act bits", "scale", "signal to noise"],
        [
            (
                r["layer"],
                r["kind"],
                "×".join(map(str, r["shape"])),
                of_weights.get(r["weight_terms"], ""),
                of_acts.get(r["act_planes"], r["act_planes"]),
                f"{r['scale']:.4g}",
                "" if r["snr_db"] is None else f"{r['snr_db']:.1f} dB",
            )
            for r in shown
        ],
        "   >>>>",
    )
    facts: list[tuple[str, object]] = [("weights", document["weights"])]
    if document["quantizers"]:
        facts.append(("quantizers in the model", document["quantizers"]))
    facts += [
        ("calibrated on", document["calibration"]),
        ("tested on", document["test"]),
        *_budget_facts(document["budget"]),
        ("float and quantized agree", f"{document['agreement']:.1%}"),
    ]
    if document["accuracy_float"] is not None:
        facts += [
            ("accuracy float", f"{document['accuracy_float']:.1%}"),
            ("accuracy quantized", f"{document['accuracy_quantized']:.1%}"),
        ]
    show_facts("Quality", facts)
    if "program" in document:
        say_program(document["file"], document["program"])
    else:
        say(
            f"wrote {document['file']}: `sigbit compile {document['file']} --arch {config.name} "
            "-o NET.sigbit` makes the Program"
        )
