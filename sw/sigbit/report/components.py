"""Building blocks of a page: cards, tables, figures, code. Data in, safe HTML out."""

import base64
import io
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from numpy.typing import NDArray
from PIL import Image

from sigbit.report.figures import NARROW, WIDE


@cache
def environment() -> Environment:
    """Return the Jinja environment of the package's templates: escaping, undefined names are
    errors."""
    return Environment(
        loader=PackageLoader("sigbit.report", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _render(macro: str, *values: Any) -> Markup:
    module: Any = environment().get_template("components.html.j2").module
    return getattr(module, macro)(*values)


@dataclass(frozen=True)
class Card:
    """A headline number; ``tone`` is "", "good" or "bad"."""

    label: str
    value: str
    note: str = ""
    tone: str = ""


@dataclass(frozen=True)
class Column:
    """A table column; numbers are aligned right, ``code`` columns are set in a fixed pitch,
    ``prose`` is wrapped."""

    title: str
    number: bool = False
    code: bool = False
    prose: bool = False

    @property
    def style(self) -> str:
        """CSS class of the column's cells."""
        names = {"number": self.number, "fixed": self.code, "prose": self.prose}
        return " ".join(name for name, on in names.items() if on)


def cards(items: Iterable[Card]) -> Markup:
    """Return a row of headline numbers."""
    return _render("cards", list(items))


def table(columns: Sequence[Column], rows: Iterable[Sequence[object]]) -> Markup:
    """Return a table; a ``Markup`` cell is inserted unchanged, anything else is escaped."""
    return _render("table", columns, [list(zip(columns, row, strict=True)) for row in rows])


def figure(draw: Callable[[float], Markup], caption: str = "") -> Markup:
    """Return a drawing over the whole width, with a caption below; ``draw`` is called with the
    available width in inches, on a screen and on a phone."""
    return _render("figure", draw(WIDE), draw(NARROW), caption)


def panels(draws: Iterable[Callable[[float], Markup]], caption: str = "") -> Markup:
    """Small drawings side by side, as many as fit."""
    return _render("panels", [draw(NARROW) for draw in draws], caption)


def legend(entries: Iterable[tuple[str, str]]) -> Markup:
    """Colour keys: pairs of a CSS variable's name and a text."""
    return _render("legend", list(entries))


def code(text: str) -> Markup:
    """Return a block of code or of a command."""
    return _render("code", text)


def badge(text: str, tone: str) -> Markup:
    """Return a short coloured word inside a line or a table cell."""
    return _render("badge", text, tone)


def bar(share: float, tone: str = "accent") -> Markup:
    """Return a small horizontal bar with its percentage, for table cells; ``share`` in [0, 1]."""
    return _render("bar", f"{100 * share:.1f}", tone)


def picture(pixels: NDArray[np.uint8], label: str) -> Markup:
    """Return a grey image ``[H, W]``, 0 black, embedded as PNG and drawn with sharp pixels."""
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="png")
    data = base64.b64encode(buffer.getvalue()).decode()
    return _render("picture", f"data:image/png;base64,{data}", label)


def tiles(items: Iterable[tuple[Markup, str, str, str]]) -> Markup:
    """Return a grid of pictures: (picture, title, note, tone)."""
    return _render("tiles", list(items))


def entries(items: Iterable[tuple[str, str, Sequence[str]]]) -> Markup:
    """Paragraphs under small headings: (title, location, paragraphs)."""
    return _render("entries", list(items))
