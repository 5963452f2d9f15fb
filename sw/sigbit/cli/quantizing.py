"""``sigbit quantize``: from a float checkpoint to a Program, without training."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.budget import Row, parse_budgets, within, within_luts
from sigbit.cli.console.files import target as writable
from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Arch, Checkpoint, Fabric, Json, Mean, Model, Shapes, Std
from sigbit.cli.console.output import progress
from sigbit.cli.precision import bits_spec
from sigbit.cli.quality import Tell, agreement, layer_rows
from sigbit.cli.quantized import show_quantized
from sigbit.errors import UserError
from sigbit.flows.program_facts import ProgramFacts
from sigbit.inputs.accelerators import load_arch
from sigbit.inputs.networks import FloatNetwork, load_network
from sigbit.inputs.samples import Wanted, load_samples
from sigbit_tools.files import replacing

if TYPE_CHECKING:
    from torch import Tensor

    from sigbit.ir.floating import FloatGraph
    from sigbit.quant import IntegerModel, PreparedModel, QuantSpec
    from sigbit_hw.arch.config import ArchConfig


def quantize(
    model: Model,
    output: Annotated[
        Path,
        typer.Option(
            "-o",
            "--output",
            metavar="FILE",
            callback=writable,
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
        str | None,
        typer.Option(metavar="FORMAT", help="esb8: two terms; esb4 (native) if absent."),
    ] = None,
    acts: Annotated[
        str | None,
        typer.Option(metavar="FORMAT", help="esb7, esb8: two or three planes; esb4 if absent."),
    ] = None,
    first_last: Annotated[
        int, typer.Option(metavar="BITS", help="Least bits of the first and last layers' weights.")
    ] = 8,
    bits: Annotated[
        list[str] | None,
        typer.Option(metavar="LAYER=W/A", help="Bits of one layer, such as conv1=8/8; repeatable."),
    ] = None,
    budget: Annotated[
        list[str] | None,
        typer.Option(
            metavar="luts=N|cycles=N|bytes=N",
            help="luts: search the number system of the array, the least error within so many LUTs "
            "of --target; cycles, bytes: search bits of every layer, within so many cycles by the "
            "cycle model, or bytes of constants. Repeatable.",
        ),
    ] = None,
    target: Annotated[
        Fabric, typer.Option(help="Whose LUTs --budget counts, before place and route.")
    ] = Fabric.XCUP,
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
    activation_aware: Annotated[
        bool,
        typer.Option(
            "--activation-aware",
            help="Search scales of weights for the least error of the layers' results.",
        ),
    ] = False,
    json: Json = None,
) -> None:
    """Quantize a trained float network and compile it: a checkpoint becomes a Program."""
    if output.suffix not in (".sigbit", ".pt2"):
        raise UserError(
            f"-o must end in .sigbit (a Program) or .pt2 (an integer model), not {output.name}"
        )
    config = load_arch(arch)

    def spec_of(config: "ArchConfig") -> "QuantSpec":
        return bits_spec(config, weights, acts, first_last, bits or ())

    spec_of(config)
    luts, of_bits = parse_budgets(budget or ())
    if of_bits is not None and bits:
        raise UserError("--bits and --budget both give bits to layers: choose one")
    if luts is not None and (weights or acts or bits):
        raise UserError(
            "--budget luts=N chooses the array's formats: leave out --weights, --acts and --bits, "
            "or the budget"
        )
    if luts is not None and output.suffix == ".pt2" and json is None:
        raise UserError(
            "--budget luts=N chooses an accelerator, which a .pt2 does not hold: add --json FILE, "
            "which does, or let -o end in .sigbit"
        )
    wanted = Wanted(images, test, data, mean, std)
    start = time.perf_counter()
    with progress() as bar:
        task = bar.add_task(f"importing {model}", total=None)

        def tell(what: str, done: int = 0, total: int = 0) -> None:
            bar.update(task, description=what, completed=done, total=total or None)

        import torch

        from sigbit.quant import convert
        from sigbit.quant.post import post_training
        from sigbit.training import reproducible

        network = load_network(model, shapes or (), checkpoint)
        tell(f"reading {calibrate}")
        calibration, tested = load_samples(calibrate, network, wanted)
        with reproducible():
            batches = tuple(torch.from_numpy(b) for b in calibration.inputs)
            graph = _folded(network.graph, batches, equalize, tell)

            def quantized(spec: "QuantSpec") -> "PreparedModel":
                return post_training(
                    graph,
                    batches,
                    spec,
                    correct_bias=bias_correction,
                    activation_aware=activation_aware,
                )

            systems: list[Row] | None = None
            if luts is not None:
                config, systems = within_luts(
                    luts, graph, batches, config, target, lambda c: quantized(spec_of(c)), tell
                )
            spec, searched = spec_of(config), None
            if of_bits is not None:
                spec, searched = within(of_bits, graph, batches, spec, config, tell)
            tell(f"searching scales on {len(calibration)} samples")
            prepared = quantized(spec)
            tell("converting to integers")
            integer = convert(prepared)
            rows = layer_rows(prepared, graph, calibration, tell)
            figures = agreement(network, integer, tested, tell)
        facts = _write(integer, network, config, output, tell)
    document = {
        "model": model,
        "weights": network.weights,
        "arch": config.name,
        "arch_digest": config.digest,
        "config": config.to_json(),
        "formats": {"weights": weights, "acts": acts, "first_last": first_last, "bits": bits or []},
        "number_systems": systems,
        "lut_budget": None if luts is None else {"limit": luts.limit, "target": target.value},
        "budget": searched,
        "equalize": equalize,
        "bias_correction": bias_correction,
        "activation_aware": activation_aware,
        "quantizers": len(network.graph.quantizers),
        "calibration": calibration.origin,
        "test": tested.origin,
        **figures,
        "layers": rows,
        "file": str(output),
        **facts,
        "seconds": time.perf_counter() - start,
    }
    show_quantized(document, config, arch if luts is None else str(json))
    write_json(json, document)


def _folded(
    graph: "FloatGraph", batches: "tuple[Tensor, ...]", equalize: bool, tell: Tell
) -> "FloatGraph":
    """The graph without batch norms, layers evened out if that is wanted."""
    import torch

    from sigbit.quant.post import equalized, fold_batch_norms
    from sigbit.quant.prepare import check_parameters, evaluate

    check_parameters(graph)
    tell("folding batch norms")
    graph = fold_batch_norms(graph)
    if equalize:
        tell("equalizing layers")
        with torch.no_grad():
            graph = equalized(graph, evaluate(graph, batches))
    return graph


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
    return {"program": ProgramFacts.of(program)}
