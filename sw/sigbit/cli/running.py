"""``sigbit run``: a Program on a device, if asked compared with another one layer by layer."""

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import typer

from sigbit.cli.arrays import read_arrays
from sigbit.cli.devices import DeviceName, open_device, preparing
from sigbit.cli.errors import CheckFailed, UserError
from sigbit.cli.files import target, write_array, write_json
from sigbit.cli.options import Json, Latency
from sigbit.cli.output import progress, say, show_facts, show_table, ticking
from sigbit.cli.programs import load_program
from sigbit.cli.vectors import check_vectors

if TYPE_CHECKING:
    from sigbit.runtime import Mismatch, RunResult
    from sigbit_hw.arch.program import Program

Ints = np.ndarray[Any, np.dtype[np.int64]]


def run(
    program: Annotated[Path, typer.Argument(metavar="NET.sigbit", help="A compiled Program.")],
    inputs: Annotated[
        Path,
        typer.Argument(
            metavar="INPUT.npy",
            help="[C, H, W] or [N, C, H, W]: floats are real values, integers are in units of the "
            "input's scale. An .npz with an array for each name if there are several inputs.",
        ),
    ],
    device: Annotated[DeviceName, typer.Option(help="Where it runs.")] = DeviceName.INTERP,
    check: Annotated[
        bool, typer.Option("--check", help="Run interp and rtl, compare every layer's codes.")
    ] = False,
    layers: Annotated[
        Path | None,
        typer.Option(metavar="DIR", help="Write every layer's stored integers as .npy."),
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "-o", "--output", metavar="OUT.npy", callback=target, help="Write the real outputs."
        ),
    ] = None,
    latency: Latency = 40,
    json: Json = None,
) -> None:
    """Run a Program on the interpreter or on the RTL."""
    from sigbit.runtime import stored_inputs

    net = load_program(program)
    stored = stored_inputs(net, read_arrays(inputs))
    if output is not None and len(net.outputs) != 1:
        raise UserError(
            f"{program} has {len(net.outputs)} outputs and -o writes one: use --layers DIR"
        )
    if layers is not None and layers.exists() and not layers.is_dir():
        raise UserError(f"--layers: {layers} is a file: give a folder")
    start = time.perf_counter()
    results: dict[DeviceName, RunResult] = {}
    found: dict[str, list[Mismatch]] = {}
    for name in list(DeviceName) if check else [device]:
        with progress() as bar:
            task = bar.add_task(preparing(name), total=len(next(iter(stored.values()))))
            opened = open_device(name, net.config, latency)
            bar.update(task, description=f"{name}: running {net.name}")
            results[name] = opened.run(
                net,
                stored,
                layers=bool(check or layers),
                on_image=ticking(bar, task),
            )
            if check and net.vectors:
                bar.update(task, description=f"{name}: test vectors")
                _note(found, f"test vectors, {name}", *check_vectors(net, opened))
    if check:
        _compare(found, results)
    seconds = time.perf_counter() - start
    result = results[device]
    _show_outputs(net, result)
    if layers is not None:
        _write_layers(layers, result.layers)
    if output is not None:
        port = net.outputs[0]
        write_array(output, port.dequantize(result.outputs[port.name]))
    write_json(
        json,
        {
            "program": net.name,
            "program_digest": net.digest,
            "arch": net.config.name,
            "device": str(device),
            "images": len(next(iter(stored.values()))),
            "cycles": result.cycles,
            "counters": result.counters,
            "checked": {what: [vars(m) for m in bad] for what, bad in found.items()},
            "mismatches": sum(m.count for bad in found.values() for m in bad),
            "outputs": {
                p.name: p.dequantize(result.outputs[p.name]).tolist() for p in net.outputs
            },
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


def _note(
    found: dict[str, list["Mismatch"]], what: str, codes: int, bad: list["Mismatch"]
) -> None:
    """Tell and keep what one comparison of ``codes`` codes found."""
    say(f"{what}: {codes:,} codes compared, {sum(m.count for m in bad):,} differ")
    found[what] = bad


def _compare(
    found: dict[str, list["Mismatch"]], results: dict[DeviceName, "RunResult"]
) -> None:
    """Compare layers and outputs of both devices."""
    from sigbit.runtime import compare

    interp, rtl = results[DeviceName.INTERP], results[DeviceName.RTL]
    for what, want, got in (
        ("layers, rtl against interp", interp.layers, rtl.layers),
        ("outputs, rtl against interp", interp.outputs, rtl.outputs),
    ):
        _note(found, what, sum(a.size for a in got.values()), compare(want, got))


def _show_outputs(net: "Program", result: "RunResult") -> None:
    if result.cycles is not None:
        facts: list[tuple[str, object]] = [("cycles an image", f"{result.cycles.mean():,.0f}")]
        if result.counters:
            facts += [(k, f"{v:,}") for k, v in result.counters[0].items()]
        show_facts("Counters of the first image", facts)
    for port in net.outputs:
        stored = result.outputs[port.name]
        flat = port.dequantize(stored).reshape(len(stored), -1)
        shown = flat[:8]
        show_table(
            f"Output {port.name} {list(stored.shape)}",
            ["image", "largest at", "real values"],
            [
                (i, int(row.argmax()), " ".join(f"{v:.4g}" for v in row[:16]) + _more(row, 16))
                for i, row in enumerate(shown)
            ],
            ">>",
        )
        if len(flat) > len(shown):
            say(f"{len(flat) - len(shown)} more images: -o OUT.npy writes all of them")


def _more(row: Ints, shown: int) -> str:
    return f" … {row.size - shown} more" if row.size > shown else ""


def _write_layers(folder: Path, layers: dict[str, Ints]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in layers.items():
        write_array(folder / f"{name.replace('/', '_')}.npy", values)
    say(f"wrote {len(layers)} layers to {folder}")
