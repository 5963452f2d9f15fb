"""``sigbit results render``, on a small project."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from sigbit.results.pages import BEGIN, END

PAGE = """# Speed

A step takes {{ row("speed", group="speed").ratio_float|fixed(2) }} times the float step.
"""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Rows of one file, a page, and a README."""
    (tmp_path / "results").mkdir()
    templates = tmp_path / "docs" / "results" / "templates"
    (templates / "more").mkdir(parents=True)
    rows = [{"group": "speed", "ratio_float": 1.17}]
    (tmp_path / "results" / "speed.json").write_text(json.dumps({"rows": rows}))
    (templates / "speed.md.j2").write_text(PAGE)
    (templates / "more" / "page.md.j2").write_text("no figures\n")
    (templates / "readme.md.j2").write_text(PAGE)
    (tmp_path / "README.md").write_text(f"# Project\n\n{BEGIN}\n{END}\n\nThe end.\n")
    return tmp_path


@pytest.fixture
def render(sigbit: Callable[..., Any], project: Path) -> Callable[..., Any]:
    options = ("--rows", "results", "--pages", "docs/results", "--readme", "README.md")
    paths = [o if o.startswith("--") else str(project / o) for o in options]
    return lambda *more: sigbit("results", "render", *paths, *more)


def test_pages_are_written_once(render: Callable[..., Any], project: Path) -> None:
    answer = render("--check")
    assert answer.code == 1
    assert "speed.md" in answer.err
    assert not (project / "docs" / "results" / "speed.md").exists()
    assert render().out.count("wrote") == 3
    page = (project / "docs" / "results" / "speed.md").read_text()
    assert page.endswith("# Speed\n\nA step takes 1.17 times the float step.\n")
    assert "templates/speed.md.j2" in page.splitlines()[0]
    assert (project / "docs" / "results" / "more" / "page.md").exists()
    readme = (project / "README.md").read_text()
    assert readme.startswith("# Project\n")
    assert "takes 1.17 times" in readme
    assert readme.endswith("The end.\n")
    assert "up to date" in render("--check").out
    assert "were up to date" in render().out


def test_a_change_on_any_side_is_noticed(render: Callable[..., Any], project: Path) -> None:
    render()
    for path, old, new in (
        ("results/speed.json", "1.17", "1.18"),
        ("docs/results/speed.md", "1.18", "1.17"),
        ("README.md", "1.18", "1.17"),
        ("docs/results/templates/speed.md.j2", "step takes", "step costs"),
    ):
        text = (project / path).read_text()
        assert old in text
        (project / path).write_text(text.replace(old, new))
        answer = render("--check")
        assert answer.code == 1, path
        assert render().code == render("--check").code == 0


def test_a_page_without_template_goes_and_other_files_stay(
    render: Callable[..., Any], project: Path
) -> None:
    render()
    pages = project / "docs" / "results"
    (pages / "own.md").write_text("written by hand\n")
    (pages / "templates" / "speed.md.j2").unlink()
    assert "speed.md" in render("--check").err
    render()
    assert not (pages / "speed.md").exists()
    assert (pages / "own.md").exists()


def test_mistakes(
    refused: Callable[..., str], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project)
    (project / "docs/results/templates/speed.md.j2").write_text("It takes 3 seconds.\n")
    assert '"It takes 3 seconds."' in refused("results", "render")
    (project / "docs/results/templates/speed.md.j2").write_text(PAGE)
    (project / "README.md").write_text("no marks\n")
    assert "must hold" in refused("results", "render")
    assert "holds no rows" in refused("results", "render", "--rows", "docs")
    assert "no folder" in refused("results", "render", "--pages", "results")
    assert "missing.md" in refused("results", "render", "--readme", "missing.md")


def test_documents_are_added(
    sigbit: Callable[..., Any], refused: Callable[..., str], tmp_path: Path
) -> None:
    rows, document, other = (tmp_path / f"{name}.json" for name in ("rows", "document", "other"))
    rows.write_text(
        json.dumps({"key": ["preset"], "rows": [{"preset": "nano", "recovered": True}]})
    )
    document.write_text(json.dumps({"preset": "nano", "lut": 5}))
    answer = sigbit("results", "add", rows, document)
    assert answer.code == 0, answer
    assert "1 rows, 0 of them transcribed" in answer.out
    assert json.loads(rows.read_text())["rows"] == [{"preset": "nano", "lut": 5}]
    other.write_text("[1]")
    assert "is no document of a command" in refused("results", "add", rows, other)
