"""Display of synthesized accelerators and routed boards."""

from dataclasses import replace
from typing import TYPE_CHECKING

from sigbit.cli.console.output import say, show_facts, show_grid, show_table

if TYPE_CHECKING:
    from sigbit.flows.build import Built
    from sigbit.flows.synth import Synthesized
    from sigbit.flows.vendor_project import WrittenProject

SHOWN = 20
"""Maximum number of modules in the table; the files hold all."""


def show_synthesized(found: "Synthesized") -> None:
    """Print cells by module, longest logic, and totals."""
    report = found.report
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
        f"{config.macs:,} multiply-accumulates per cycle",
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


def show_built(built: "Built") -> None:
    """Print cells, clock and files of a board."""
    from sigbit.bench.accelerator_tables import routed_grid

    title = f"{built.preset} on {built.board}, placed and routed on {built.part}"
    show_grid(replace(routed_grid(built.to_json()), title=title))
    for name, goal in built.clocks.items():
        others = ", ".join(f"{met:.1f}" for met in goal.met)
        say(
            f"{name} after routing: {built.reached[name]:.1f} MHz (seed {built.seed} of "
            f"{others}), for a clock of {goal.wanted:.1f} MHz"
        )
    phase = "" if built.phase is None else f", its clock {built.phase:g} degrees late"
    say(
        f"serial line: {built.baud:,} bits per second; memory: {built.memory_bytes:,} bytes "
        f"({built.memory}{phase})"
    )
    if built.predicted is not None:
        say(built.predicted.text)
    say(f"wrote {built.folder}: {', '.join(built.files)}")


def show_project(written: "WrittenProject") -> None:
    """Print the contents of a project, and the next steps."""
    clock = written.clocks["accelerator"].wanted
    show_facts(
        f"{written.preset} on {written.board}: a project for Vivado, not built by us",
        [
            ("part", written.part),
            ("clock", f"{clock:g} MHz, not proven"),
            ("netlist", written.netlist_sha256),
        ],
    )
    say(f"wrote {written.folder}: {', '.join(written.files)}")
    say(f"how to go on: {written.folder / 'README.md'}")
