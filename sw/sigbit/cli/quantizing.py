"""``sigbit quantize``: from a float checkpoint to a Program, without training."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Protocol

import typer

from sigbit.cli.arch import load_arch
from sigbit.cli.errors import UserError
from sigbit.cli.files import replacing, target, write_json
from sigbit.cli.inputs import Mean, Std
from sigbit.cli.networks import Checkpoint, FloatNetwork, Model, Shapes, load_network
from sigbit.cli.options import Arch, Json
from sigbit.cli.output import progress, say, show_facts, show_table
from sigbit.cli.precision import act_bits, bits_spec, weight_bits
from sigbit.cli.programs import program_facts, say_program
from sigbit.cli.samples import Samples, Wanted, load_samples

if TYPE_CHECKING:
    from sigbit.ir.floating import FloatGraph
    from sigbit.quant import IntegerModel, PreparedModel, QuantSpec
    from sigbit_hw.arch.config import ArchConfig

SHOWN = 60
"""Layers in the table; the JSON file holds all."""
_BATCH = 8
"""Samples that are evaluated at a time."""
_MEASURED = 8
"""Calibration samples that the signal-to-noise ratios are measured on."""


class Tell(Protocol):
    """Shows what is being done, and how much of how much is."""

    def __call__(self, what: str, done: int = 0, total: int = 0) -> None: ...


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
    wanted = Wanted(images, test, data, mean, std)
    start = time.perf_counter()
    with progress() as bar:
        task = bar.add_task(f"importing {model}", total=None)

        def tell(what: str, done: int = 0, total: int = 0) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        from sigbit.quant import convert
        from sigbit.quant.training import reproducible

        network = load_network(model, shapes or (), checkpoint)
        tell(f"reading {calibrate}")
        calibration, tested = load_samples(calibrate, network, wanted)
        with reproducible():
            prepared, folded = _quantized(
                network.graph, calibration, spec, equalize, bias_correction, tell
            )
            tell("converting to integers")
            integer = convert(prepared)
            rows = _layers(prepared, folded, calibration, tell)
            figures = _tested(network, integer, tested, tell)
        facts = _write(integer, network, config, output, tell)
    document = {
        "model": model,
        "weights": network.weights,
        "arch": config.name,
        "arch_digest": config.digest,
        "formats": {"weights": weights, "acts": acts, "first_last": first_last, "bits": bits or []},
        "equalize": equalize,
        "bias_correction": bias_correction,
        "replaced_quantizers": len(network.graph.quantizers),
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
    tell: Tell,
) -> "tuple[PreparedModel, FloatGraph]":
    """The prepared model, and the float graph that its layers are those of."""
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
    tell(f"searching scales on {len(calibration)} samples")
    return post_training(graph, batches, spec, correct_bias=correct), graph


def _layers(
    prepared: "PreparedModel", graph: "FloatGraph", calibration: Samples, tell: Tell
) -> list[dict[str, Any]]:
    """Bits, scale and signal-to-noise ratio of every tensor, by its name."""
    import torch

    from sigbit.quant.layer import QuantLayer
    from sigbit.quant.plans import InputPlan, LayerPlan
    from sigbit.quant.prepare import evaluate, reference

    tell("measuring the layers")
    batches = tuple(torch.from_numpy(b[:_MEASURED]) for b in calibration.inputs)
    rows: list[dict[str, Any]] = []
    with torch.no_grad():
        values, levels = evaluate(graph, batches), prepared.levels(*batches)
    for p in prepared.plan.layers:
        module = prepared.quant_module(p.name)
        wanted = reference(p, values) if isinstance(p, LayerPlan) else values.get(p.name)
        terms = None
        if isinstance(module, QuantLayer) and module.sources[0].trained:
            terms = module.terms[0]
        rows.append(
            {
                "layer": p.name,
                "kind": "input" if isinstance(p, InputPlan) else getattr(p, "kind", ""),
                "shape": list(p.shape),
                "weight_terms": terms,
                "act_planes": module.grid.planes,
                "scale": float(levels[p.name].scale),
                "snr_db": _ratio(wanted, levels[p.name].levels * levels[p.name].scale),
                "location": getattr(p, "location", ""),
            }
        )
    return rows


def _ratio(wanted: Any, got: Any) -> float | None:
    """Signal-to-noise ratio in decibels; None where there is no float tensor, or no noise."""
    from math import log10

    if wanted is None:
        return None
    wanted = wanted.double()
    wanted = wanted.transpose(1, 2) if wanted.dim() == 3 else wanted
    signal = float(wanted.square().sum())
    noise = float((wanted.reshape(got.shape) - got.double()).square().sum())
    return 10 * log10(signal / noise) if signal > 0 and noise > 0 else None


def _tested(
    network: FloatNetwork, integer: "IntegerModel", samples: Samples, tell: Tell
) -> dict[str, Any]:
    """How often the first output's decisions of float and integer model agree, and how often they
    are right."""
    import torch

    graph, count = network.graph, len(samples)
    agree, decisions = 0, 0
    right = {"float": 0, "quantized": 0}
    labelled = 0
    for first in range(0, count, _BATCH):
        tell("testing", first, count)
        batches = tuple(torch.from_numpy(b[first : first + _BATCH]) for b in samples.inputs)
        with torch.no_grad():
            values = graph.evaluate(dict(zip((n.name for n in graph.inputs), batches, strict=True)))
            got = integer(*batches)
        got = got[0] if isinstance(got, tuple) else got
        said = {"float": _decisions(values[graph.outputs[0]]), "quantized": _decisions(got)}
        agree += int((said["float"] == said["quantized"]).sum())
        decisions += said["float"].numel()
        if samples.labels is not None:
            labels = torch.from_numpy(samples.labels[first : first + _BATCH])
            if labels.shape == said["float"].shape:
                labelled += labels.numel()
                for name, classes in said.items():
                    right[name] += int((classes == labels).sum())
    accuracy = {f"accuracy_{k}": v / labelled if labelled else None for k, v in right.items()}
    return {"images": count, "agreement": agree / decisions, **accuracy}


def _decisions(x: Any) -> Any:
    """Classes ``[batch, ...]``; of a single channel its sign, 0 or 1."""
    x = x.flatten(1) if x[0].numel() == x.shape[1] else x
    return x.argmax(1) if x.shape[1] > 1 else (x[:, 0] > 0).long()


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
    facts = [("weights", document["weights"])]
    if document["replaced_quantizers"]:
        facts.append(("the model's quantizers", f"{document['replaced_quantizers']}, all replaced"))
    facts += [
        ("calibrated on", document["calibration"]),
        ("tested on", document["test"]),
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
