"""Treemaps: nested rectangles whose areas are proportional to their values, as SVG."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape

from markupsafe import Markup

from sigbit.report.figures import SERIES

HEIGHT = 560.0
_HEADER, _GAP = 17.0, 2.0
_LETTER = 6.3
"""Width of a letter at the labels' font size."""


@dataclass(frozen=True)
class Tile:
    """A rectangle: its name, its area in units of ``value``, and its children.

    ``value`` is the sum of the children and the tile's own share, which is not drawn separately.
    """

    name: str
    value: float
    children: tuple["Tile", ...] = ()


@dataclass(frozen=True)
class Box:
    """A rectangle on the page."""

    x: float
    y: float
    width: float
    height: float


def squarify(values: Sequence[float], box: Box) -> list[Box]:
    """Return boxes of areas proportional to ``values`` that fill ``box``, close to squares (Bruls,
    Huizing and van Wijk, 2000).

    ``values`` are positive and descend.
    """
    boxes: list[Box] = []
    start, total = 0, sum(values)
    while start < len(values):
        side = min(box.width, box.height)
        scale = box.width * box.height / total
        end = start + 1
        while end < len(values) and _worst(values[start : end + 1], side, scale) <= _worst(
            values[start:end], side, scale
        ):
            end += 1
        row = values[start:end]
        thickness = sum(row) * scale / side
        place = 0.0
        for value in row:
            length = value * scale / thickness
            boxes.append(
                Box(box.x, box.y + place, thickness, length)
                if box.width >= box.height
                else Box(box.x + place, box.y, length, thickness)
            )
            place += length
        if box.width >= box.height:
            box = Box(box.x + thickness, box.y, max(box.width - thickness, 1e-9), box.height)
        else:
            box = Box(box.x, box.y + thickness, box.width, max(box.height - thickness, 1e-9))
        total -= sum(row)
        start = end
    return boxes


def _worst(row: Sequence[float], side: float, scale: float) -> float:
    """Return the largest aspect ratio of a row of boxes along ``side``."""
    area = sum(row) * scale
    return max(max(side**2 * v * scale / area**2, area**2 / (side**2 * v * scale)) for v in row)


def treemap(root: Tile, unit: str, width: float) -> Markup:
    """Return a drawing of the tiles inside ``root``, ``width`` inches wide; every tile is labelled
    with its ``value`` in ``unit``."""
    across = 96 * width
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {across:g} {HEIGHT:g}" '
        f'width="{across:g}" height="{HEIGHT:g}" role="img" font-size="11.5">'
    )
    parts = [svg]
    largest = _visible(root)
    boxes = squarify([tile.value for tile in largest], Box(0, 0, across, HEIGHT))
    for index, (tile, box) in enumerate(zip(largest, boxes, strict=True)):
        parts += _drawn(tile, box, f"var(--series-{index % SERIES})", tile.name, root, unit, 0)
    return Markup("".join([*parts, "</svg>"]))


def _visible(tile: Tile) -> list[Tile]:
    return sorted((t for t in tile.children if t.value > 0), key=lambda t: (-t.value, t.name))


def _drawn(
    tile: Tile, box: Box, colour: str, path: str, root: Tile, unit: str, depth: int
) -> Iterator[str]:
    """Draw a tile and, if there is room, its children below its name."""
    if box.width < 1.5 or box.height < 1.5:
        return
    share = 100 * tile.value / root.value
    fill = f"color-mix(in srgb, {colour} {max(52 - 16 * depth, 16)}%, var(--surface))"
    yield (
        f"<g><title>{escape(path)}: {tile.value:,.0f} {escape(unit)} ({share:.1f} %)</title>"
        f'<rect x="{box.x:.1f}" y="{box.y:.1f}" width="{max(box.width - 1, 0.5):.1f}" '
        f'height="{max(box.height - 1, 0.5):.1f}" style="fill:{fill};stroke:var(--surface)"/>'
    )
    if box.height > _HEADER:
        room = int((box.width - 8) / _LETTER)
        text = f"{tile.name} {tile.value:,.0f}"
        text = text if len(text) <= room else tile.name if len(tile.name) <= room else ""
        yield f'<text x="{box.x + 4:.1f}" y="{box.y + 12.5:.1f}">{escape(text)}</text>'
    yield "</g>"
    inner = Box(
        box.x + _GAP,
        box.y + _HEADER,
        box.width - 2 * _GAP - 1,
        box.height - _HEADER - _GAP - 1,
    )
    children = _visible(tile)
    if not children or inner.width < 24 or inner.height < 14:
        return
    # What is the tile's own stays empty: the children take their share of the room.
    share_inside = sum(child.value for child in children) / tile.value
    inner = Box(inner.x, inner.y, inner.width * min(share_inside, 1.0), inner.height)
    for child, place in zip(children, squarify([c.value for c in children], inner), strict=True):
        yield from _drawn(child, place, colour, f"{path} / {child.name}", root, unit, depth + 1)
