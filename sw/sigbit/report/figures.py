"""Matplotlib figures as inline SVG whose colours are the page's CSS variables.

A figure is drawn with placeholder colours; :func:`svg` replaces them by ``var(--name)``, so that
one drawing is readable in light mode, in dark mode and on paper. It is drawn at :data:`WIDE` and at
:data:`NARROW`, and the page's style shows the one that fits: text keeps its size on a phone.
"""

import io
import re
import zlib
from typing import Any

from markupsafe import Markup
from matplotlib import rc_context
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.figure import Figure

WIDE, NARROW = 10.6, 3.4
"""Width in inches of a page on a screen and on a phone; a panel is :data:`NARROW` on both."""

SERIES = 12
"""Number of distinct colours for categories; the template defines ``--series-0`` and so on."""

_NAMES = ("ink", "muted", "rule", "good", "bad", "accent", "surface")
_PLACEHOLDER = {name: f"#0101{i:02x}" for i, name in enumerate(_NAMES)} | {
    f"series-{i}": f"#0102{i:02x}" for i in range(SERIES)
}
_VARIABLE = {placeholder: f"var(--{name})" for name, placeholder in _PLACEHOLDER.items()}

_STYLE: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "sigbit",
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.edgecolor": _PLACEHOLDER["rule"],
    "axes.labelcolor": _PLACEHOLDER["muted"],
    "axes.titlecolor": _PLACEHOLDER["ink"],
    "text.color": _PLACEHOLDER["ink"],
    "xtick.color": _PLACEHOLDER["rule"],
    "ytick.color": _PLACEHOLDER["rule"],
    "xtick.labelcolor": _PLACEHOLDER["muted"],
    "ytick.labelcolor": _PLACEHOLDER["muted"],
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.facecolor": "none",
    "figure.facecolor": "none",
    "legend.frameon": False,
    "grid.color": _PLACEHOLDER["rule"],
}


def colour(name: str) -> str:
    """Return the placeholder for the CSS variable ``--name``."""
    return _PLACEHOLDER[name]


def series(index: int) -> str:
    """Return the colour of category ``index``; repeats after :data:`SERIES` categories."""
    return _PLACEHOLDER[f"series-{index % SERIES}"]


def axes_of(width: float, height: float) -> Axes:
    """Return the axes of a themed figure of ``width`` x ``height`` inches."""
    with rc_context(_STYLE):
        return Figure(figsize=(width, height), layout="constrained").add_subplot()


def canvas_of(axes: Axes) -> RendererAgg:
    """Return a renderer that measures text, after the figure has been laid out."""
    canvas = FigureCanvasAgg(_figure(axes))
    with rc_context(_STYLE):
        canvas.draw()
    return canvas.get_renderer()


def _figure(axes: Axes) -> Figure:
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def svg(axes: Axes, label: str) -> Markup:
    """Return the figure of ``axes`` as an ``<svg>`` element, the same bytes for the same drawing;
    ``label`` is the text for screen readers."""
    buffer = io.StringIO()
    nothing = {"Date": None, "Creator": None, "Type": None, "Format": None}
    with rc_context(_STYLE):
        _figure(axes).savefig(buffer, format="svg", metadata=nothing)
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r"#[0-9a-f]{6}", lambda m: _VARIABLE.get(m[0], m[0]), text)
    prefix = f"f{zlib.crc32(text.encode()):08x}-"
    text = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{prefix}", text)
    name = Markup.escape(label)
    return Markup(re.sub(r"<svg ", f'<svg role="img" aria-label="{name}" ', text, count=1))
