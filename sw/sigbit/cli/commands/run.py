"""``sigbit run``: a Program on a device, if asked compared with another one layer by layer."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from sigbit.cli.console.answers import show_answers
from sigbit.cli.console.files import write_array, write_arrays, write_json
from sigbit.cli.console.grouped import grouped
from sigbit.cli.console.options import ImageOptions
from sigbit.cli.console.output import say, show_facts
from sigbit.cli.console.run_options import DeviceOptions, WrittenOptions
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
            help="Image files; or [C, H, W] or [N, C, H, W]: floats are real values, integers are "
            "in units of the input's scale. An .npz with an array for each name if there are "
            "several inputs.",
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
    from sigbit.inputs.labels import read_labels
    from sigbit.inputs.programs import load_program

    net = load_program(program)
    labels = read_labels(written.labels)
    given, titles = read_inputs(net, inputs, pixels.mean, pixels.std)
    several = len(net.host.results if net.host else net.outputs)
    if written.output is not None and several > 1 and written.output.suffix != ".npz":
        raise UserError(f"{program} has {several} outputs: write them by name, -o OUT.npz")
    if written.layers is not None and written.layers.exists() and not written.layers.is_dir():
        raise UserError(f"--layers: {written.layers} is a file: give a folder")
    latency, target = where.latency, where.target_name
    with telling() as tell:
        if where.check:
            device = "rtl" if where.device == DeviceName.INTERP else where.device
            done = flow.compare(net, given, device, target=target, latency=latency, tell=tell)
        else:
            keep = written.layers is not None
            done = flow.run(
                net, given, where.device, target=target, latency=latency, layers=keep, tell=tell
            )
    _show_comparison(done)
    _show_counters(done)
    for name, values in done.outputs.items():
        show_answers(name, values, titles or [str(i) for i in range(done.images)], labels)
    _write(done, written)
    _fail_if_different(done)


def _show_comparison(done: "ProgramRun") -> None:
    for what, found in done.compared.items():
        say(f"{what}: {found.codes:,} codes compared, {found.different:,} differ")


def _show_counters(done: "ProgramRun") -> None:
    if done.cycles is None:
        return
    facts: list[tuple[str, object]] = [("cycles per run", f"{done.cycles.mean():,.0f}")]
    if done.counters:
        facts += [(name, f"{count:,}") for name, count in done.counters[0].items()]
    show_facts("Counters of the first run", facts)


def _write(done: "ProgramRun", written: WrittenOptions) -> None:
    if written.layers is not None:
        written.layers.mkdir(parents=True, exist_ok=True)
        for name, values in done.layers.items():
            write_array(written.layers / f"{name.replace('/', '_')}.npy", values)
        say(f"wrote {len(done.layers)} layers to {written.layers}")
    if written.output is not None:
        write_arrays(written.output, done.outputs)
    write_json(written.json, done)


def _fail_if_different(done: "ProgramRun") -> None:
    wrong = [what for what, found in done.compared.items() if found.different]
    for what in wrong:
        for mismatch in done.compared[what].mismatches:
            say(f"{what}: {mismatch}", "red")
    if wrong:
        raise CheckFailed(f"{done.mismatches:,} codes differ: {', '.join(wrong)}")
