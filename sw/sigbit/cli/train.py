"""``sigbit train``: a run of a configuration file, from data to the integer model."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import progress, say, say_error, show_facts
from sigbit.errors import UserError

if TYPE_CHECKING:
    from rich.progress import Progress as Bar

    from sigbit.training import Machine
    from sigbit.training.run import Tell

Config = Annotated[
    Path,
    typer.Argument(
        metavar="CONFIG", exists=True, dir_okay=False, help="A TOML file that says what to train."
    ),
]
Data = Annotated[
    Path | None,
    typer.Option(metavar="DIR", exists=True, file_okay=False, help="Folder of data sets."),
]
Cpu = Annotated[bool, typer.Option("--cpu", help="Leave GPUs alone.")]
Precision = Annotated[
    str,
    typer.Option(metavar="no|bf16", help="bf16: mixed precision in training; tests are exact."),
]
Threads = Annotated[
    int | None,
    typer.Option(min=1, help="CPU threads; the last bits of a result depend on their number."),
]
Twins = Annotated[
    Path | None,
    typer.Option(
        metavar="DIR", file_okay=False, help="Keep float networks here, for runs that share them."
    ),
]


def train(
    config: Config,
    output: Annotated[
        Path,
        typer.Option(
            "-o", "--output", metavar="DIR", file_okay=False, help="Folder of the run; made new."
        ),
    ],
    data: Data = None,
    resume: Annotated[
        bool,
        typer.Option(
            "--resume", help="Go on from the last checkpoint: the same result, to the bit."
        ),
    ] = False,
    every: Annotated[
        int, typer.Option(min=0, help="Steps between checkpoints; 0: one an epoch.")
    ] = 0,
    twins: Twins = None,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write TensorBoard events beside log.csv.")
    ] = False,
    cpu: Cpu = False,
    precision: Precision = "no",
    threads: Threads = None,
    json: Json = None,
) -> None:
    """Train a float network, quantize it, train that, and convert it to integers.

    Several GPUs or machines: `accelerate launch -m sigbit.cli train CONFIG ...`; several processes
    on CPUs: `torchrun --nproc_per_node N -m sigbit.cli train CONFIG ...`. Ctrl-C writes a
    checkpoint; --resume goes on.
    """
    from sigbit.training import Machine, Options, TrainingRun, load_config, load_splits

    run = load_config(config)
    machine = Machine.launched(cpu=cpu, precision=precision, threads=threads)
    splits = load_splits(run.data, run.model.name, data, progress=machine.is_main)
    with progress(remaining=True) as bar:
        work = TrainingRun(
            run,
            splits,
            output,
            machine=machine,
            options=Options(resume, every, twins, tensorboard),
            tell=telling(bar, machine),
        )
        with resumable(output, machine):
            summary = work.finish()
    if machine.is_main:
        arch = run.quantizer.arch
        if not isinstance(arch, str):  # not a preset: a file for other commands
            arch = str(output / "arch.json")
            write_json(Path(arch), run.quantizer.accelerator.to_json())
        show_summary(summary, output, arch)
        write_json(json, {**summary, "folder": str(output), "config": str(config)})


@contextmanager
def resumable(folder: Path, machine: "Machine") -> Iterator[None]:
    """Say what to do after Ctrl-C."""
    try:
        yield
    except KeyboardInterrupt:
        if machine.is_main:
            say_error(f"{folder} keeps what is done: the same command with --resume goes on")
        raise


def telling(bar: "Bar", machine: "Machine", title: str = "") -> "Tell":
    """A callback that shows phase, epoch and loss."""
    from sigbit.training import Progress

    tasks: dict[str, Any] = {}

    def tell(phase: str, state: Progress) -> None:
        if not machine.is_main:
            return
        if phase not in tasks:
            for done in tasks.values():
                bar.remove_task(done)
            tasks.clear()
            tasks[phase] = bar.add_task(phase, total=state.steps)
        text = f"{title}{phase}: epoch {state.epoch} of {state.epochs}, loss {state.loss:.4f}"
        bar.update(tasks[phase], description=text, completed=state.step, total=state.steps)

    return tell


def show_summary(summary: dict[str, Any], folder: Path, arch: str) -> None:
    """What came out, and what to do with it."""
    stages = ("float", "quantized", "deployed")
    facts: list[tuple[str, object]] = [
        ("network", f"{summary['model']} on {summary['dataset']}"),
        ("accuracy", ", ".join(f"{name} {summary[f'accuracy_{name}']:.2%}" for name in stages)),
    ]
    if "mean_iou_float" in summary:
        ious = ", ".join(f"{name} {summary[f'mean_iou_{name}']:.4f}" for name in stages)
        facts.append(("mean IoU", ious))
    if "basis_error" in summary:
        facts.append(("integer bases", _basis_errors(summary["basis_error"])))
    show_facts("Result", [*facts, ("test samples", summary["test_samples"])])
    compile_it = (
        f"sigbit compile {quote(str(folder / 'model.pt2'))} --arch {quote(arch)} -o NET.sigbit"
    )
    say(f"wrote {folder}: `{compile_it}` makes the Program")


def _basis_errors(errors: dict[str, dict[str, float]]) -> str:
    """What integers for the bases of ``lq-nets`` cost, in a line."""
    parts = []
    for what, by_layer in errors.items():
        worst = max(by_layer, key=lambda name: by_layer[name])
        mean = sum(by_layer.values()) / len(by_layer)
        parts.append(f"{what} {mean:.2%} on average, {by_layer[worst]:.2%} at most ({worst})")
    return f"squared error: {'; '.join(parts)}"


def user_folder(path: Path) -> Path:
    """``path`` as a folder that exists; :class:`UserError` if it cannot be made."""
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot make the folder {path}: {error.strerror}") from error
    return path
