"""``sigbit run``: a Program on a device, if asked compared with another one layer by layer."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from sigbit.cli.answers import show_answers
from sigbit.cli.console.files import target, write_array, write_json
from sigbit.cli.console.options import Json, Latency, Mean, Std
from sigbit.cli.console.output import progress, say, show_facts, ticking
from sigbit.errors import CheckFailed, UserError
from sigbit.flows.devices import DeviceName, NetlistTarget, open_device, preparing
from sigbit.inputs.images import read_inputs
from sigbit.inputs.labels import read_labels
from sigbit.inputs.programs import load_program
from sigbit.inputs.vectors import check_vectors

if TYPE_CHECKING:
    from sigbit.runtime import Mismatch, RunResult

Ints = np.ndarray[Any, np.dtype[np.int64]]


def run(
    program: Annotated[Path, typer.Argument(metavar="NET.sigbit", help="A compiled Program.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT.npy|IMAGE...",
            help="Image files; or [C, H, W] or [N, C, H, W]: floats are real values, integers are "
            "in units of the input's scale. An .npz with an array for each name if there are "
            "several inputs.",
        ),
    ],
    device: Annotated[DeviceName, typer.Option(help="Where it runs.")] = DeviceName.INTERP,
    target_name: Annotated[
        NetlistTarget, typer.Option("--target", help="Whose cells the netlist is made of.")
    ] = NetlistTarget.XCUP,
    check: Annotated[
        bool,
        typer.Option(
            "--check",
            help="Run interp and rtl (or the netlist), compare every layer's codes.",
        ),
    ] = False,
    layers: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write every layer's stored integers as .npy."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="OUT.npy", callback=target, help="Write the results."
        ),
    ] = None,
    labels: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Names of the classes, one a line.")
    ] = None,
    mean: Mean = None,
    std: Std = None,
    latency: Latency = 40,
    json: Json = None,
) -> None:
    """Run a Program on the interpreter, the RTL or a netlist.

    Results are those of the float model: what the Program leaves to the host is done here.
    """
    from sigbit.runtime import Session, results, stored_inputs

    net = load_program(program)
    classes = read_labels(labels)
    given, titles = read_inputs(net, inputs, mean, std)
    stored = stored_inputs(net, given)
    count = len(next(iter(stored.values())))
    if output is not None and len(net.outputs) != 1:
        raise UserError(
            f"{program} has {len(net.outputs)} outputs and -o writes one: use --layers DIR"
        )
    if layers is not None and layers.exists() and not layers.is_dir():
        raise UserError(f"--layers: {layers} is a file: give a folder")
    start = time.perf_counter()
    runs: dict[DeviceName, RunResult] = {}
    found: dict[str, list[Mismatch]] = {}
    hardware = DeviceName.RTL if device is DeviceName.INTERP else device
    for name in [DeviceName.INTERP, hardware] if check else [device]:
        with progress() as bar:
            task = bar.add_task(preparing(name), total=count)
            opened = open_device(name, net.config, latency, target_name)
            bar.update(task, description=f"{name}: running {net.name}")
            runs[name] = Session(net, opened).run_stored(
                stored,
                layers=bool(check or layers),
                on_image=ticking(bar, task),
            )
            if check and net.vectors:
                bar.update(task, description=f"{name}: test vectors")
                _note(found, f"test vectors, {name}", *check_vectors(net, opened))
    if check:
        _compare(found, runs)
    seconds = time.perf_counter() - start
    result = runs[device]
    real = results(net, result.outputs)
    _show_counters(result)
    for output_name, values in real.items():
        show_answers(output_name, values, titles or [str(i) for i in range(count)], classes)
    if layers is not None:
        _write_layers(layers, result.layers)
    if output is not None:
        write_array(output, real[net.outputs[0].name])
    write_json(
        json,
        {
            "program": net.name,
            "program_digest": net.digest,
            "arch": net.config.name,
            "device": str(device),
            "images": count,
            "cycles": result.cycles,
            "counters": result.counters,
            "checked": {what: [vars(m) for m in bad] for what, bad in found.items()},
            "mismatches": sum(m.count for bad in found.values() for m in bad),
            "host": [vars(step) for step in net.host],
            "outputs": {name: values.tolist() for name, values in real.items()},
            "seconds": seconds,
        },
    )
    if any(found.values()):
        for what, bad in found.items():
            for mismatch in bad:
                say(f"{what}: {mismatch}", "red")
        raise CheckFailed(
            f"{sum(m.count for bad in found.values() for m in bad):,} codes differ: "
            f"{', '.join(what for what, bad in found.items() if bad)}"
        )


def _note(found: dict[str, list["Mismatch"]], what: str, codes: int, bad: list["Mismatch"]) -> None:
    """Tell and keep what one comparison of ``codes`` codes found."""
    say(f"{what}: {codes:,} codes compared, {sum(m.count for m in bad):,} differ")
    found[what] = bad


def _compare(found: dict[str, list["Mismatch"]], runs: dict[DeviceName, "RunResult"]) -> None:
    """Compare layers and outputs of both devices."""
    from sigbit.runtime import compare

    (_, interp), (name, hardware) = runs.items()
    for what, want, got in (
        (f"layers, {name} against interp", interp.layers, hardware.layers),
        (f"outputs, {name} against interp", interp.outputs, hardware.outputs),
    ):
        _note(found, what, sum(a.size for a in got.values()), compare(want, got))


def _show_counters(result: "RunResult") -> None:
    if result.cycles is not None:
        facts: list[tuple[str, object]] = [("cycles a run", f"{result.cycles.mean():,.0f}")]
        if result.counters:
            facts += [(k, f"{v:,}") for k, v in result.counters[0].items()]
        show_facts("Counters of the first run", facts)


def _write_layers(folder: Path, layers: dict[str, Ints]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in layers.items():
        write_array(folder / f"{name.replace('/', '_')}.npy", values)
    say(f"wrote {len(layers)} layers to {folder}")
