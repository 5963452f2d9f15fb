"""The page around the sections: one HTML file without external resources."""

from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup

from sigbit.report.components import environment


@dataclass(frozen=True)
class Section:
    """A titled part of a page; ``lead`` is one paragraph of plain text under the title."""

    title: str
    body: Markup
    lead: str = ""

    @property
    def anchor(self) -> str:
        """The fragment identifier."""
        return "-".join("".join(c if c.isalnum() else " " for c in self.title.lower()).split())


@dataclass(frozen=True)
class Verdict:
    """The first information on a page: the result, and the checks behind it."""

    passed: bool
    text: str


def render(
    title: str, subtitle: str, verdict: Verdict | None, sections: Sequence[Section], footer: str
) -> str:
    """Return the whole HTML document; ``verdict`` is None if nothing was checked."""
    return (
        environment()
        .get_template("page.html.j2")
        .render(title=title, subtitle=subtitle, verdict=verdict, sections=sections, footer=footer)
    )
