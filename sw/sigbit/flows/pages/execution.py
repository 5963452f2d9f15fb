"""Execution of a Program: timeline, roofline, cycles and traffic of every layer."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial

from markupsafe import Markup

from sigbit.flows.inspect import InspectedProgram, LayerCost, Prediction
from sigbit.report import charts, sections
from sigbit.report.components import Card, Column, figure, legend, table
from sigbit.report.metrics import CLOCK
from sigbit.report.page import Section
from sigbit.report.spans import Timeline
from sigbit.report.tables import percent
from sigbit.report.units import count, size
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.isa import Engine

_TONES = {"compute": "series-0", "drain": "series-1", "loads": "series-3"}
"""Colours by the bound of a layer."""
_PARTS = (
    ("series-0", "feeding the array"),
    ("series-1", "waiting for the drain"),
    ("series-3", "waiting for loads, stores and the pipeline"),
)


def cards(found: InspectedProgram) -> list[Card]:
    """Return the headline numbers of a Program."""
    net, told = found.program, found.prediction
    items = [
        Card("Layers", f"{len(net.layers):,}", f"{len(net.listing):,} instructions"),
        Card("Constants", size(net.image.size), "weights, parameters, tables"),
        Card("DMA window", size(net.memory_bytes), "all external memory that is used"),
    ]
    if told is not None:
        rate = f"{net.images * CLOCK / told.cycles:,.0f} images/s at {CLOCK / 1e6:.0f} MHz"
        items += [
            Card("Cycles predicted", count(told.cycles), rate),
            Card("Array busy", percent(told.utilization), "of what it could multiply"),
        ]
    return items


def execution(found: InspectedProgram, measured: Timeline | None = None) -> Iterator[Section]:
    """Yield the sections of a Program with a prediction; ``measured`` is the timeline of the
    device that ran it, if there is one."""
    told = found.prediction
    if told is None or not told.times:
        return
    drawn = measured or told.timeline
    if drawn is not None and drawn.spans:
        yield _timeline(found, drawn, measured is not None)
    yield _cycles(told)
    yield _traffic(found, told)
    if points := tuple(_points(told.times, found.program.config.macs)):
        yield _roofline(found.program.config, points)


def _timeline(found: InspectedProgram, drawn: Timeline, measured: bool) -> Section:
    busy: Counter[str] = Counter()
    reached: dict[str, int] = {}
    for span in sorted(drawn.spans, key=lambda s: s.start):
        start = max(span.start, reached.get(span.engine, 0))
        busy[span.engine] += max(span.stop - start, 0)
        reached[span.engine] = max(reached.get(span.engine, 0), span.stop)
    shares = ", ".join(f"{e.name} {percent(busy[e.name] / drawn.cycles, 0)}" for e in Engine)
    source = "as the device measured it" if measured else "by the cycle model, exact for the RTL"
    third = drawn.cycles // 3
    windows = [
        (
            f"The whole run. Engines have work in this share of its cycles: {shares}.",
            0,
            drawn.cycles,
        ),
        ("The middle third of the run.", third, 2 * third),
    ]
    return sections.timeline(
        drawn,
        [e.name for e in Engine],
        [layer.name for layer in found.program.layers],
        windows if third else windows[:1],
        f"What the three engines do in one run of {drawn.cycles:,} cycles, {source}: LOAD fetches, "
        "COMPUTE multiplies, STORE writes. A bar is work for one layer.",
    )


def _cycles(told: Prediction) -> Section:
    times = told.times
    most = max(times, key=lambda t: t.cycles)
    counts = Counter(t.bound for t in times)
    bounds = ", ".join(f"{n} by {what}" for what, n in counts.most_common())
    share = percent(most.cycles / told.cycles, 0)
    caption = (
        f"{most.layer} takes the most cycles, {share} of {told.cycles:,}. "
        f"Layers by what bounds them: {bounds}."
    )
    parts = [
        (tone, [getattr(t, part) for t in times])
        for part, (tone, _) in zip(("fed", "drain", "wait"), _PARTS, strict=True)
    ]
    draw = partial(charts.stacked, [t.layer for t in times], parts, "cycles")
    return Section(
        "Cycles by layer",
        legend(_PARTS) + figure(draw, caption) + _cycle_table(told),
        f"Where the cycles of one run go, with a memory latency of {told.latency} cycles. Array "
        "busy is the share of the multipliers' cycles that the layer's multiply-accumulates need.",
    )


def _cycle_table(told: Prediction) -> Markup:
    names = ("cycles", "share", "array busy", "feeding", "drain", "waiting")
    columns = [Column("layer"), *(Column(n, number=True) for n in names), Column("bound by")]
    return table(
        columns,
        [
            (
                t.layer,
                f"{t.cycles:,}",
                percent(t.cycles / told.cycles),
                percent(t.ideal / t.cycles),
                f"{t.fed:,}",
                f"{t.drain:,}",
                f"{t.wait:,}",
                t.bound,
            )
            for t in told.times
        ],
    )


def _traffic(found: InspectedProgram, told: Prediction) -> Section:
    times, moved = told.times, found.traffic
    most = max(times, key=_bytes)
    whole = sum(moved.bytes.values())
    caption = (
        f"{most.layer} moves the most, {size(_bytes(most))}; all layers and instructions "
        f"together {size(whole)} per run, {whole / told.cycles:.1f} of "
        f"{found.program.config.bus_bytes} bytes per cycle that the bus could carry."
    )
    parts = [
        ("series-6", [t.loaded_bytes / 1024 for t in times]),
        ("series-8", [t.stored_bytes / 1024 for t in times]),
    ]
    draw = partial(charts.stacked, [t.layer for t in times], parts, "KiB per run")
    kinds = [
        (kind, f"{moved.transfers[kind]:,}", size(count)) for kind, count in moved.bytes.items()
    ]
    columns = [Column("what"), Column("transfers", number=True), Column("size", number=True)]
    return Section(
        "Traffic by layer",
        legend([("series-6", "loaded"), ("series-8", "stored")])
        + figure(draw, caption)
        + table(columns, kinds),
        "What moves between external memory and the chip in one run.",
    )


def _roofline(config: ArchConfig, points: Sequence[charts.Point]) -> Section:
    ridge = config.macs / config.bus_bytes
    memory = sum(p.intensity < ridge for p in points)
    early = sum(p.rate > p.intensity * config.bus_bytes for p in points)
    caption = (
        f"Less than {ridge:g} multiply-accumulates per byte, so that moving data may bound them: "
        f"{memory} of {len(points)} layers. Above the slope, because their data was loaded while "
        f"earlier layers computed: {early}. The distance to the flat roof is empty lanes, drain "
        "and waiting."
    )
    draw = partial(charts.roofline, points, float(config.macs), float(config.bus_bytes))
    keys = [(tone, f"bound by {what}") for what, tone in _TONES.items()]
    return Section(
        "Roofline",
        legend(keys) + figure(draw, caption),
        f"{config.name} multiplies at most {config.macs:,} pairs per cycle (the flat roof) and "
        f"moves at most {config.bus_bytes} bytes per cycle (the slope). Layers without "
        "multiplications are left out.",
    )


def _points(times: Sequence[LayerCost], peak: int) -> Iterator[charts.Point]:
    for t in times:
        if t.ideal and _bytes(t):
            macs = t.ideal * peak
            yield charts.Point(
                t.layer, macs / _bytes(t), macs / t.cycles, t.cycles, _TONES[t.bound]
            )


def _bytes(t: LayerCost) -> int:
    return t.loaded_bytes + t.stored_bytes
