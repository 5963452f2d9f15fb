"""Pages rendered from rows: Markdown and figures, the same bytes for the same rows."""

import traceback
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from jinja2 import (
    Environment,
    FileSystemLoader,
    StrictUndefined,
    TemplateError,
    TemplateSyntaxError,
    nodes,
)
from jinja2 import TemplateNotFound as NotFound

from sigbit.errors import ResultsError
from sigbit.results.catalogue import PLOTS
from sigbit.results.context import FILTERS, Context
from sigbit.results.files import Results
from sigbit.results.prose import marked, plain, typed_numbers

SUFFIX = ".md.j2"
BLOCK = "readme"
"""Template of the block in the README, which is not a page of its own."""
MARK = "<!-- Rendered by `sigbit results render`"
"""First line of every rendered page."""
BEGIN, END = "<!-- results: begin; rendered by `sigbit results render` -->", "<!-- results: end -->"
"""Markers around the block in the README."""


@dataclass(frozen=True)
class Rendered:
    """Result of rendering a folder of templates.

    Parameters
    ----------
    files : mapping
        Contents of pages and figures, by path below the folder of the pages.
    block : str
        Text of the block in the README.
    """

    files: Mapping[str, bytes]
    block: str


class Renderer:
    """Renders the templates of a folder.

    Parameters
    ----------
    results : Results
        All rows.
    templates : Path
        Folder of templates; ``networks.md.j2`` is rendered to ``networks.md``, and subfolders to
        subfolders.
    """

    def __init__(self, results: Results, templates: Path) -> None:
        self._results, self._templates = results, templates
        self._environment = Environment(
            loader=FileSystemLoader(templates),
            autoescape=False,
            undefined=StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
            keep_trailing_newline=True,
            finalize=marked,
            extensions=["jinja2.ext.do"],
        )
        self._environment.globals |= {**Context(results).names(), "plot": self._plot}
        self._environment.filters |= FILTERS
        self._drawn: dict[str, bytes] = {}
        self._up = ""

    def render(self) -> Rendered:
        """Render all pages, their figures, and the block."""
        self._drawn = {}
        found = [n for n in self._environment.list_templates() if n.endswith(SUFFIX)]
        texts = {name: self.page(name) for name in (n.removesuffix(SUFFIX) for n in found)}
        block = texts.pop(BLOCK, "")
        files = {f"{name}.md": (self._head(name) + text).encode() for name, text in texts.items()}
        return Rendered(files | self._drawn, block)

    def page(self, name: str) -> str:
        """Render one page; raises :class:`~sigbit.errors.ResultsError` if its template uses data
        that are not in the rows, or states a number itself."""
        try:
            self._refuse_constants(name)
            self._up = "../" * name.count("/")
            text = self._environment.get_template(name + SUFFIX).render()
        except NotFound as error:
            raise ResultsError(f"there is no template {error}") from error
        except (TemplateError, ResultsError, LookupError, TypeError, ValueError) as error:
            raise ResultsError(f"{self._place(name, error)}: {error}") from error
        if numbers := typed_numbers(text):
            raise ResultsError(
                f"{name} states numbers that come from no row: "
                + "; ".join(f'"{n}"' for n in numbers)
            )
        return plain(text)

    def _place(self, name: str, error: Exception) -> str:
        """Template and line in which ``error`` occurred."""
        frames = traceback.extract_tb(error.__traceback__)
        lines = [f.lineno for f in frames if f.filename.endswith(f"{name}{SUFFIX}")]
        line = getattr(error, "lineno", None) or next(iter(reversed(lines)), None)
        return f"{name}, line {line}" if line else name

    def _refuse_constants(self, name: str) -> None:
        """Refuse numbers in expressions, which are equivalent to numbers in the text."""
        loader, environment = self._environment.loader, self._environment
        assert loader is not None
        source, _, _ = loader.get_source(environment, name + SUFFIX)
        for output in environment.parse(source).find_all(nodes.Output):
            for value in output.nodes:
                if isinstance(value, nodes.Const):
                    raise TemplateSyntaxError(
                        f"{value.value!r} is a constant; what stands in {{{{ }}}} must be computed "
                        "from rows",
                        value.lineno,
                    )

    def _head(self, name: str) -> str:
        template = f"{self._templates.name}/{name}{SUFFIX}"
        return f"{MARK}: edit {template} or the rows, not this file. -->\n\n"

    def _plot(self, name: str, alt: str) -> str:
        """Draw a figure of the catalogue beside the pages."""
        if name not in PLOTS:
            raise ResultsError(f"there is no figure {name!r}, only {', '.join(PLOTS)}")
        file = f"{name}.svg"
        if file not in self._drawn:
            plot = PLOTS[name]
            rows = [row for f in plot.files for row in self._results[f].rows]
            self._drawn[file] = plot.draw(rows)
        return f"![{alt}]({self._up}{file})"


def with_block(readme: str, block: str) -> str:
    """``readme`` with ``block`` between its markers."""
    before, begin, rest = readme.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end or BEGIN in rest:
        raise ResultsError(f"the README must hold {BEGIN} and after it {END}, once")
    return f"{before}{BEGIN}\n\n{block.strip()}\n\n{END}{after}"
