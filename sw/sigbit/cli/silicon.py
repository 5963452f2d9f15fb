"""``sigbit bench silicon``: number systems on equal footing, in LUTs and in precision."""

from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from sigbit.cli.console.files import read_rows, write_rows
from sigbit.cli.console.files import target as writable
from sigbit.cli.console.options import Fabric, Json
from sigbit.cli.console.output import progress, say, show_grid
from sigbit.errors import CheckFailed, UserError
from sigbit_tools.files import read_json, replacing, write_text

if TYPE_CHECKING:
    from sigbit.bench.number_systems.error import Layers
    from sigbit.bench.number_systems.row import Candidate, Costs, Progress
    from sigbit_hw.arch.config import ArchConfig

Row = dict[str, Any]
SHIPPED = "shipped"
"""Number system of the rows of named presets, whose shapes differ."""
PLAIN = "two's complement, by Yosys"
"""Number system of arrays alone, as ``*`` and ``+`` of two's complement give them."""


class ErrorDistribution(StrEnum):
    """What the errors in the plot are of: numbers drawn from which distribution."""

    GAUSSIAN = "gaussian"
    LAPLACIAN = "laplacian"


def silicon(
    json: Json = None,
    only: Annotated[
        str | None,
        typer.Option(
            metavar="SUBSTRING",
            help="Only rows whose accelerator, number system, bits or fabric contain this.",
        ),
    ] = None,
    target: Annotated[
        list[Fabric] | None,
        typer.Option(help="A fabric; may be given again. [default: xcup, ecp5]"),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            exists=True,
            file_okay=False,
            help="Folder of data sets and checkpoints; without it the zoo's layers are random.",
        ),
    ] = None,
    routed: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            exists=True,
            dir_okay=False,
            help="JSON of `sigbit synth --pnr`: its clock stands in the row of the same netlist.",
        ),
    ] = None,
    markdown: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Also write the tables as Markdown.", callback=writable),
    ] = None,
    plot: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg", help="Also draw LUTs against error, as SVG.", callback=writable
        ),
    ] = None,
    plot_source: Annotated[
        ErrorDistribution, typer.Option(help="Whose errors to draw.")
    ] = ErrorDistribution.GAUSSIAN,
) -> None:
    """Compare integers, powers of two, ESB and APoT at equal widths, by one generator and flow.

    Every accelerator also runs random programs in RTL, which must give the interpreter's codes; the
    build of one takes minutes the first time. Rows are written as they finish, in the benchmark's
    order; a FILE that exists keeps its other rows.
    """
    from sigbit.bench.number_systems.error import MeasuredErrors, zoo_layers
    from sigbit.bench.number_systems.row import key_of, row_of

    known = candidates()
    wanted = [
        (candidate, fabric)
        for fabric in target or (Fabric.XCUP, Fabric.ECP5)
        for candidate in known
        if only is None or only.lower() in _label(candidate, fabric).lower()
    ]
    if not wanted:
        raise UserError(
            f"no row contains {only!r}; there are "
            + ", ".join(f"{c.name} ({c.number_system})" for c in known)
        )
    rows = read_rows(json, {"preset", "number_system", "target"})
    places = {place: k for k, place in enumerate((c.name, f.value) for f in Fabric for c in known)}
    clocks = _clocks(routed or [])
    failed: list[str] = []
    with progress() as bar:
        task = bar.add_task("layers of the zoo", total=None)
        zoo: Sequence[Layers] = zoo_layers(data)
        errors, tools = MeasuredErrors(zoo), _Tools(clocks)
        for candidate, fabric in wanted:
            what = f"{candidate.name} on {fabric}"

            def tell(doing: str, done: int, total: int, what: str = what) -> None:
                bar.update(task, description=f"{what}: {doing}", completed=done, total=total)

            row = row_of(candidate, fabric, errors, tools, tell)
            row["zoo_weights"] = "random" if data is None else "real"
            merged = {key_of(r): r for r in (*rows, row)}
            rows = sorted(merged.values(), key=lambda r: places.get(key_of(r), len(places)))
            write_rows(json, "sigbit bench silicon", rows)
            say(_line(row))
            if row["refused"] is None and row["dsp"]:
                failed.append(f"{what}: {row['dsp']} DSP blocks")
    _show(rows, markdown)
    if plot is not None:
        from sigbit.bench.number_systems.plot import pareto

        with replacing(plot) as file:
            file.write(pareto(rows, plot_source))
    if failed:
        raise CheckFailed("; ".join(failed))


def candidates() -> list["Candidate"]:
    """All number systems in the benchmark's shape, arrays of two's complement beside them, and the
    shipped accelerators."""
    from sigbit.bench.number_systems.row import Candidate
    from sigbit.bench.number_systems.systems import NAMED, SYSTEMS, accelerator, refusal

    found = []
    for system in SYSTEMS:
        refused = refusal(system)
        config = None if refused else accelerator(system)
        found.append(
            Candidate(system.key, system.name, system.weights, system.acts, config, refused)
        )
    found += [
        Candidate(f"w{s.weights.bits}a{s.acts.bits}-array", PLAIN, s.weights, s.acts)
        for s in SYSTEMS
        if s.name == "integer"
    ]
    found += [Candidate(c.name, SHIPPED, c.weight_format, c.act_format, c) for c in NAMED]
    return found


def _label(candidate: "Candidate", fabric: Fabric) -> str:
    bits = f"{candidate.weights.bits}x{candidate.acts.bits}"
    return f"{candidate.name} {candidate.number_system} {bits} {fabric}"


class _Tools:
    """Synthesis and simulators as the benchmark wants them; all results are cached."""

    def __init__(self, clocks: dict[str, float]) -> None:
        self._clocks = clocks

    def synthesize(self, config: "ArchConfig", target: str, progress: "Progress") -> "Costs":
        """Map with Yosys."""
        from sigbit.bench.number_systems.row import Costs
        from sigbit_synthesis import Target, synthesize

        report = synthesize(
            config,
            Target(target),
            progress=lambda name, done, of: progress(f"mapping {name}", done, of),
        )
        total = report.total
        return Costs(
            report.array.lut,
            total.lut,
            total.ff,
            total.carry,
            total.dsp,
            total.block_bits,
            report.levels,
            report.carries,
            report.netlist_sha256,
        )

    def array(self, candidate: "Candidate", target: str) -> Row:
        """Two's complement, as many bits and lanes as the accelerators of the same widths."""
        from sigbit.bench.number_systems.systems import System, accelerator
        from sigbit_synthesis import Target
        from sigbit_synthesis.twos_complement import plain_dot

        weights, acts = candidate.weights, candidate.acts
        like = accelerator(System("integer", weights, acts))
        cells, digest = plain_dot(
            weights.bits, acts.bits, acts.signed, like.ic_lanes, like.acc_bits, Target(target)
        )
        dots = like.pixels * like.oc_lanes
        return {
            "macs": like.macs,
            "acc_bits": like.acc_bits,
            "lut_array": dots * cells.lut,
            "lut_per_mac_array": cells.lut / like.ic_lanes,
            "ff": dots * cells.ff,
            "carry": dots * cells.carry,
            "dsp": dots * cells.dsp,
            "netlist_sha256": digest,
        }

    def verify(self, config: "ArchConfig", target: str, progress: "Progress") -> str:
        """Random programs on interpreter and RTL."""
        from sigbit.flows.campaigns.random_programs import Mismatch, verify
        from sigbit_synthesis import Target

        try:
            return verify(config, Target(target), progress)
        except Mismatch as error:
            raise CheckFailed(str(error)) from error

    def fmax(self, netlist_sha256: str) -> float | None:
        """What a file of ``--routed`` says."""
        return self._clocks.get(netlist_sha256)


def _clocks(files: Sequence[Path]) -> dict[str, float]:
    """Megahertz by netlist, from JSON files of ``sigbit synth --pnr``."""
    found = {}
    for path in files:
        document = read_json(path)
        result = document.get("routed") if isinstance(document, dict) else None
        if not isinstance(result, dict) or not {"fmax_mhz"} <= set(result):
            raise UserError(f"{path} is no result of sigbit synth --pnr: it names no clock")
        found[document["netlist_sha256"]] = float(result["fmax_mhz"])
    return found


def _line(row: Row) -> str:
    if row["refused"]:
        return f"{row['preset']} on {row['target']}: refused, {row['refused']}"
    if row["lut_total"] is None:
        return (
            f"{row['preset']} on {row['target']}: {row['lut_per_mac_array']:.2f} LUT a "
            "multiply-accumulate in the array, which is all there is"
        )
    return (
        f"{row['preset']} on {row['target']}: {row['lut_per_mac_total']:.2f} LUT a "
        f"multiply-accumulate, {row['lut_per_mac_array']:.2f} in the array; {row['verified_by']}"
    )


def _show(rows: list[Row], path: Path | None) -> None:
    """All tables on the terminal and, if ``path`` is given, in Markdown."""
    from sigbit.bench.number_systems.tables import grids
    from sigbit.report.tables import document

    found = grids(rows)
    for grid in found:
        show_grid(grid)
    if path is not None:
        write_text(path, document(found))
