"""The files of a project that are rendered from its rows."""

from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from sigbit.results.files import Results
from sigbit.results.pages import MARK, Renderer, with_block
from sigbit_tools.files import FileError, replacing

TEMPLATES = "templates"
"""Name of the folder of templates within the folder of pages."""


class Site:
    """Pages, figures, and the README with its block.

    Parameters
    ----------
    rows, pages, readme : Path
        Folders of rows and of pages, and the README.
    """

    def __init__(self, rows: Path, pages: Path, readme: Path) -> None:
        self._rows, self._pages, self._readme = rows, pages, readme

    @cached_property
    def files(self) -> Mapping[Path, bytes]:
        """Required content of every file."""
        templates = self._pages / TEMPLATES
        if not templates.is_dir():
            raise FileError(f"{templates} is no folder: it must hold the templates of the pages")
        rendered = Renderer(Results.read(self._rows), templates).render()
        files = {self._pages / name: content for name, content in rendered.files.items()}
        readme = with_block(self._readme.read_text(encoding="utf-8"), rendered.block)
        return {**files, self._readme: readme.encode()}

    @cached_property
    def _left_over(self) -> list[Path]:
        """Pages that were rendered from templates that no longer exist."""
        return [
            path
            for path in sorted(self._pages.rglob("*.md"))
            if path not in self.files and path.read_bytes().startswith(MARK.encode())
        ]

    def stale(self) -> list[Path]:
        """Files that differ from the rendered ones, are missing, or should not exist."""
        differing = [
            path
            for path, content in self.files.items()
            if not path.exists() or path.read_bytes() != content
        ]
        return differing + self._left_over

    def write(self) -> None:
        """Write the files that differ, and remove those that should not exist."""
        for path in self.stale():
            if path in self.files:
                path.parent.mkdir(parents=True, exist_ok=True)
                with replacing(path) as file:
                    file.write(self.files[path])
            else:
                path.unlink()
