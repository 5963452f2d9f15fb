"""``sigbit train``: a run of a configuration file, from data to the integer model."""

from collections.abc import Mapping
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import say, say_error, show_facts
from sigbit.cli.console.telling import telling
from sigbit.cli.console.training_options import Config, FolderOptions, MachineOptions, RunOptions
from sigbit.ir import MODEL_SUFFIX

if TYPE_CHECKING:
    from sigbit.flows.train import TrainedModel

STAGES = "float", "quantized", "deployed"


@grouped
def train(
    config: Config,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", file_okay=False, help="Folder of the run; made new."
        ),
    ],
    folders: FolderOptions,
    run: RunOptions,
    hardware: MachineOptions,
    json: Json = None,
) -> None:
    """Train a float network, quantize it, train that, and convert it to integers.

    Several GPUs or machines: `accelerate launch -m sigbit.cli train CONFIG ...`; several processes
    on CPUs: `torchrun --nproc_per_node N -m sigbit.cli train CONFIG ...`. Ctrl-C writes a
    checkpoint; --resume goes on.
    """
    from sigbit.flows.train import train as flow
    from sigbit.training import Machine, Options

    machine = Machine.launched(
        cpu=hardware.cpu, precision=hardware.precision, threads=hardware.threads
    )
    try:
        with telling(remaining=True) as tell:
            trained = flow(
                config,
                output,
                data=folders.data,
                options=Options(run.resume, run.every, folders.twins, run.tensorboard),
                machine=machine,
                tell=tell,
            )
    except KeyboardInterrupt:
        if machine.is_main and (output / "config.json").exists():
            say_error(f"{output} keeps what is done: the same command with --resume goes on")
        raise
    if machine.is_main:
        show_trained(trained)
        write_json(json, trained)


def show_trained(trained: "TrainedModel") -> None:
    """Print the results, and the next steps."""
    accuracies = {stage: getattr(trained, f"accuracy_{stage}") for stage in STAGES}
    facts: list[tuple[str, object]] = [
        ("network", f"{trained.model} on {trained.dataset}"),
        ("accuracy", ", ".join(f"{name} {share:.2%}" for name, share in accuracies.items())),
    ]
    if trained.mean_iou_float is not None:
        ious = {stage: getattr(trained, f"mean_iou_{stage}") for stage in STAGES}
        facts.append(("mean IoU", ", ".join(f"{name} {iou:.4f}" for name, iou in ious.items())))
    if trained.basis_error is not None:
        facts.append(("integer bases", _basis_errors(trained.basis_error)))
    show_facts("Result", [*facts, ("test samples", trained.test_samples)])
    model = quote(str(trained.folder / f"model{MODEL_SUFFIX}"))
    say(
        f"wrote {trained.folder}: `sigbit compile {model} --arch {quote(trained.arch)} "
        "-o NET.sigbit` makes the Program"
    )


def _basis_errors(errors: Mapping[str, Mapping[str, float]]) -> str:
    """Return the errors of the integers for the bases of ``lq-nets``, in one line."""
    parts = []
    for what, by_layer in errors.items():
        worst = max(by_layer, key=lambda name: by_layer[name])
        mean = sum(by_layer.values()) / len(by_layer)
        parts.append(f"{what} {mean:.2%} on average, {by_layer[worst]:.2%} at most ({worst})")
    return f"squared error: {'; '.join(parts)}"
