"""``sigbit run``: a Program on a device, optionally compared with the interpreter layer by
layer."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigbit.cli.console.answers import show_answers
from sigbit.cli.console.files import (
    ARCHIVE,
    write_array,
    write_arrays,
    write_json,
    write_report,
)
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import ImageOptions, images_as
from sigbit.cli.console.output import say
from sigbit.cli.console.run_options import DeviceOptions, WrittenOptions
from sigbit.cli.console.run_tables import show_run
from sigbit.cli.console.telling import telling
from sigbit.errors import CheckFailed, UserError
from sigbit.flows.devices import DeviceName

if TYPE_CHECKING:
    from sigbit.flows.run import ProgramRun


@grouped
def run(
    program: Annotated[Path, typer.Argument(metavar="NET.sigbit", help="A compiled Program.")],
    inputs: Annotated[
        list[Path],
        typer.Argument(
            metavar="INPUT.npy|IMAGE...",
            help="Image files; or an array of real values [N, ...], in the shape that the network "
            "was calibrated with; an .npz with an array for each name if there are several inputs.",
        ),
    ],
    where: DeviceOptions,
    written: WrittenOptions,
    pixels: ImageOptions,
) -> None:
    """Run a Program on the interpreter, the RTL, a netlist or a board.

    Results are those of the float model: what the Program leaves to the host is done here.
    """
    from sigbit.flows import run as flow
    from sigbit.inputs.images import read_inputs
    from sigbit.inputs.labels import class_names
    from sigbit.inputs.programs import load_program

    net = load_program(program)
    flow.check_stream(net, where.stream)
    labels = class_names(net, written.labels)
    given, titles = read_inputs(net, inputs, images_as(pixels), stored=where.stored)
    names = [result.name for result in net.results] if where.stored else net.returned
    if written.output is not None and written.output.suffix != ARCHIVE and len(names) != 1:
        raise UserError(
            f"{program} has {len(names)} outputs ({', '.join(names)}), and an .npy file holds "
            "one: let -o end in .npz"
        )
    if written.layers is not None and written.layers.exists() and not written.layers.is_dir():
        raise UserError(f"--layers: {written.layers} is a file: give a folder")
    latency, target, stored = where.latency, where.target_name, where.stored
    details = written.report is not None
    with telling() as tell:
        if where.check:
            device = "rtl" if where.device == DeviceName.INTERP else where.device
            done = flow.compare(
                net,
                given,
                device,
                target=target,
                latency=latency,
                stored=stored,
                details=details,
                tell=tell,
            )
        else:
            done = flow.run(
                net,
                given,
                where.device,
                target=target,
                latency=latency,
                stored=stored,
                keep="details" if details else "layers" if written.layers else "outputs",
                tell=tell,
            )
    show_run(done)
    for name, values in done.outputs.items():
        show_answers(name, values, titles or [str(i) for i in range(done.images)], labels)
    _write(done, written)
    _fail_if_different(done)


def _write(done: "ProgramRun", written: WrittenOptions) -> None:
    from sigbit.flows.pages.run import page

    if written.layers is not None:
        written.layers.mkdir(parents=True, exist_ok=True)
        for name, values in done.layers.items():
            write_array(written.layers / f"{name.replace('/', '_')}.npy", values)
        say(f"wrote {len(done.layers)} layers to {written.layers}")
    if written.output is not None:
        write_arrays(written.output, done.outputs)
    write_json(written.json, done)
    write_report(written.report, partial(page, done))


def _fail_if_different(done: "ProgramRun") -> None:
    wrong = [what for what, found in done.compared.items() if found.different]
    for what in wrong:
        for mismatch in done.compared[what].mismatches:
            say(f"{what}: {mismatch}", "red")
    if wrong:
        raise CheckFailed(f"{done.mismatches:,} codes differ: {', '.join(wrong)}")
