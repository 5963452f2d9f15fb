"""``sigbit synth``: what an accelerator costs on a target, and how fast it can be."""

import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.console.files import target as writable
from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Arch, Fabric, Json
from sigbit.cli.console.output import progress, say, show_facts, show_grid, show_table
from sigbit.errors import CheckFailed, UserError, given
from sigbit.inputs.accelerators import load_arch
from sigbit_tools.files import write_text
from sigbit_tools.stopwatch import Stopwatch

if TYPE_CHECKING:
    from sigbit_hw.arch.config import ArchConfig
    from sigbit_synthesis import Report
    from sigbit_synthesis.pnr import Routed

SHOWN = 20
"""Modules in the printed table; the files hold all."""


def synth(
    arch: Arch = "nano",
    target: Annotated[Fabric, typer.Option(help="UltraScale+, ECP5 or iCE40.")] = Fabric.XCUP,
    pnr: Annotated[
        bool,
        typer.Option(
            "--pnr", help="Place, route and pack it on an ECP5-85F board (--target ecp5)."
        ),
    ] = False,
    freq: Annotated[
        float, typer.Option(metavar="MHZ", min=10, max=400, help="Clock that --pnr aims at.")
    ] = 90.0,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="Placements that --pnr may try, two at a time.")
    ] = 1,
    bitstream: Annotated[
        Path | None,
        typer.Option(metavar="FILE.bit", help="Where --pnr writes it.", callback=writable),
    ] = None,
    json: Json = None,
    report: Annotated[
        Path | None,
        typer.Option(metavar="FILE.html", help="Also write a report.", callback=writable),
    ] = None,
) -> None:
    """Count an accelerator's cells, block by block, and find its longest logic, with Yosys.

    Each distinct module is mapped once, and never again as long as it does not change. There are
    no DSP blocks.
    """
    config = load_arch(arch)
    if pnr and target is not Fabric.ECP5:
        raise UserError(
            f"--pnr places and routes for ECP5 only, not for {target}: add --target ecp5"
        )
    if bitstream is not None and not pnr:
        raise UserError("--bitstream needs --pnr")
    from sigbit.cli import synth_report

    spent = Stopwatch()
    counted = _count(config, target)
    _show(counted)
    routed = _route(config, freq, seeds) if pnr else None
    figures = synth_report.figures(counted, routed) | spent.read()
    if routed is not None:
        _show_routed(routed, figures)
        if bitstream is not None:
            bitstream.write_bytes(routed.bitstream.read_bytes())
            say(f"wrote {bitstream}")
    write_json(json, figures)
    if report is not None:
        words = ["sigbit", "synth", "--arch", arch, "--target", str(target)]
        words += ["--pnr", "--freq", f"{freq:g}", "--seeds", str(seeds)] if pnr else []
        write_text(report, synth_report.document(counted, routed, shlex.join(words)))
        say(f"wrote {report}")
    if routed is not None and not routed.meets:
        raise CheckFailed(
            f"after routing the clock reaches {routed.fmax_mhz:.1f} MHz, not "
            f"{routed.clock_mhz:.1f} MHz: try more --seeds or a lower --freq"
        )


def _count(config: "ArchConfig", target: Fabric) -> "Report":
    from sigbit_synthesis import Target, synthesize

    with progress() as bar:
        task = bar.add_task(f"elaborating {config.name}", total=None)

        def tell(name: str, done: int, of: int) -> None:
            doing = f"mapping {config.name} to {target}"
            bar.update(task, completed=done, total=of, description=f"{doing} {name}")

        return synthesize(config, Target[target.name], progress=tell)


def _route(config: "ArchConfig", freq: float, seeds: int) -> "Routed":
    from sigbit_boards.ulx3s.build import place_and_route

    with progress() as bar:
        task = bar.add_task("elaborating the board", total=None)

        def tell(what: str, done: int, of: int) -> None:
            bar.update(task, completed=done, total=of, description=f"board: {what}")

        with given("--pnr"):
            return place_and_route(config, freq * 1e6, seeds, progress=tell)


def _show(report: "Report") -> None:
    config, total, array = report.config, report.total, report.array
    memory = report.target.block_name
    show_table(
        f"{config.name} on {report.target.value}: cells by module, the costliest first",
        ["module", "instances", "LUT each", "LUT", "FF", "carry", memory, "longest logic"],
        [
            (
                m.name,
                m.instances,
                f"{m.own.lut:,}",
                f"{m.instances * m.own.lut:,}",
                f"{m.instances * m.own.ff:,}",
                f"{m.instances * m.own.carry:,}",
                f"{m.instances * m.own.blocks:g}",
                " or ".join(f"{p.levels} LUT + {p.carries} carry" for p in m.paths) or "-",
            )
            for m in report.modules[:SHOWN]
        ],
        " >>>>>>",
    )
    show_table(
        "Longest logic between registers",
        ["part", "LUT levels", "carry chains", "from", "to"],
        [
            (part, path.levels, path.carries, path.start, path.end)
            for part, paths in report.paths.items()
            for path in paths
        ],
        " >>",
    )
    ultra = f" and {total.ultra} UltraRAM" if total.ultra else ""
    show_facts(
        f"{config.macs:,} multiply-accumulates a cycle",
        [
            ("whole accelerator", f"{total.lut:,} LUT, {report.lut_per_mac:.2f} LUT each"),
            ("array alone", f"{array.lut:,} LUT, {report.lut_per_mac_array:.2f} LUT each"),
            ("running maxima", f"{report.pooling.lut:,} LUT (not in the array's)"),
            ("LUTs as memory", f"{total.lut_memory:,} and as shift registers {total.lut_shift:,}"),
            ("flip-flops", f"{total.ff:,}"),
            ("DSP blocks", total.dsp),
            ("block memory", f"{total.blocks:g} {memory}{ultra}, {total.block_bits:,} bits"),
            ("netlist", report.netlist_sha256),
        ],
    )


def _show_routed(routed: "Routed", document: dict[str, Any]) -> None:
    from sigbit.bench.accelerator_tables import routed_grid

    show_grid(routed_grid(document))
    say(
        f"after routing: {routed.fmax_mhz:.1f} MHz (seed {routed.seed}), for a clock of "
        f"{routed.clock_mhz:.1f} MHz; bitstream {routed.bitstream}"
    )
