"""Memory use of a Program: the memories on the chip, and the windows outside it."""

from functools import partial

from markupsafe import Markup

from sigbit.flows.details.chip import Chip
from sigbit.flows.inspect import InspectedProgram
from sigbit.report import charts
from sigbit.report.components import Column, bar, figure, legend, table
from sigbit.report.page import Section
from sigbit.report.units import size

_DOING = {"reads": "series-6", "writes": "series-1"}


def memory(found: InspectedProgram) -> Section:
    """Return the memory map of a Program that was inspected in detail."""
    assert found.details is not None
    chip = found.details.chip
    return Section(
        "Memory map",
        Markup("<h3>On the chip</h3>")
        + _memories(chip)
        + _slots(chip)
        + Markup("<h3>Outside</h3>")
        + _window(found),
        "Activation slots are spread over the banks, slot s in bank s mod banks; every requantizer "
        "has a copy of the tables.",
    )


def _memories(chip: Chip) -> Markup:
    columns = [Column("memory"), Column("banks or copies", number=True)]
    columns += [Column(n, number=True) for n in ("items", "size")] + [Column("ever used")]
    return table(
        columns,
        [
            (
                m.name,
                f"{m.banks:,}",
                f"{m.items:,}",
                size(m.items * m.item_bytes),
                bar(m.used / m.items),
            )
            for m in chip.memories
        ],
    )


def _slots(chip: Chip) -> Markup:
    if not chip.slots:
        return Markup("")
    (total,) = {m.items for m in chip.memories if m.name == "activation slots"}
    largest = max(chip.slots, key=lambda r: r.stop - r.start)
    parts = [charts.Extent(r.layer, r.start, r.stop, _DOING[r.doing]) for r in chip.slots]
    caption = (
        f"{largest.layer} {largest.doing} the widest range, {largest.stop - largest.start:,} of "
        f"{total:,} slots. A bar reaches from the first to the last slot that a layer touches; "
        "those between need not be its own."
    )
    keys = [(tone, f"{doing} here") for doing, tone in _DOING.items()]
    return legend(keys) + figure(partial(charts.extents, parts, total, "activation slot"), caption)


def _window(found: InspectedProgram) -> Markup:
    net = found.program
    whole = net.memory_bytes
    regions = [r for r in found.memory_map if (r.start, r.end) != (0, whole)]
    parts = [charts.Extent(r.content, r.start / 1024, r.end / 1024, "series-2") for r in regions]
    largest = max(regions, key=lambda r: r.end - r.start)
    caption = (
        f"The DMA window takes {size(whole)}; {largest.content} is the largest part, "
        f"{size(largest.end - largest.start)}."
    )
    rows = [
        (f"0x{r.start:08x}", f"0x{r.end:08x}", size(r.end - r.start), r.content)
        for r in found.memory_map
    ]
    columns = [Column("from", code=True), Column("to", code=True)]
    columns += [Column("size", number=True), Column("content")]
    draw = partial(charts.extents, parts, whole / 1024, "KiB from the window's start")
    return figure(draw, caption) + table(columns, rows)
