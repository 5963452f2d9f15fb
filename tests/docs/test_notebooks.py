"""The notebooks of examples run from top to bottom, and were committed with what they print."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "examples").glob("*.ipynb"))
FIRST = "network_to_accelerator"
"""Notebook of every run."""


@pytest.mark.sim
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "path",
    [
        pytest.param(p, id=p.stem, marks=[] if p.stem == FIRST else pytest.mark.long)
        for p in NOTEBOOKS
    ],
)
def test_notebook(path: Path, tmp_path: Path) -> None:
    committed = nbformat.read(path, as_version=4)
    again = nbformat.from_dict(committed)
    NotebookClient(again, timeout=None, resources={"metadata": {"path": tmp_path}}).execute()
    for before, after in zip(_texts(committed), _texts(again), strict=True):
        assert before.split() == after.split()


def _texts(notebook: nbformat.NotebookNode) -> list[str]:
    """Return what each cell prints, in however many pieces; all of it must not be nothing."""
    found = [
        "".join(
            output.text
            for output in cell.get("outputs", ())
            if output.output_type == "stream" and output.name == "stdout"
        )
        for cell in notebook.cells
    ]
    assert any(found)
    return found
