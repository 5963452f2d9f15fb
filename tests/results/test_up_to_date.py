"""The results pages, their figures and the README are what the committed rows give."""

from pathlib import Path

from sigbit.results.files import Results
from sigbit.results.pages import Renderer
from sigbit.results.site import TEMPLATES, Site

ROOT = Path(__file__).resolve().parents[2]
ROWS, PAGES, README = ROOT / "results", ROOT / "docs" / "results", ROOT / "README.md"


def test_pages_and_readme_are_up_to_date() -> None:
    stale = Site(ROWS, PAGES, README).stale()
    assert not stale, f"run sigbit results render: {stale} are not what the rows give"


def test_the_same_rows_give_the_same_bytes() -> None:
    results = Results.read(ROWS)
    first, second = (Renderer(results, PAGES / TEMPLATES).render() for _ in range(2))
    assert first == second
