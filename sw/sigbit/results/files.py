"""Files of rows: measurements of a benchmark, and their conditions."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sigbit.errors import ResultsError
from sigbit_tools.files import FileError, read_json

Row = Mapping[str, Any]
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class RowFile:
    """The rows of one benchmark.

    Parameters
    ----------
    name : str
        Name of the file, without its suffix.
    rows : tuple of Row
        One per measurement; a row with ``recovered`` true was transcribed from a published page.
    header : mapping
        Facts that apply to all rows: the ``command`` that writes them, their common
        ``configuration``, and for recovered rows a sentence ``recovered`` on their origin. If a row
        is the document of a command: the ``key``, names of the values that distinguish rows, and
        ``without``, names that are omitted.
    """

    name: str
    rows: tuple[Row, ...]
    header: Mapping[str, Any] = field(default_factory=dict)

    @property
    def recovered(self) -> int:
        """Rows that were transcribed rather than measured."""
        return sum(bool(row.get("recovered")) for row in self.rows)

    def with_document(self, document: Row) -> "RowFile":
        """The file with ``document`` in place of the row that has the same key, or at the end."""
        key = self.header.get("key")
        if key is None:
            raise ResultsError(
                f"rows of {self.name} are not documents of a command: they are written by "
                f"{self.header.get('command')}"
            )
        if missing := [name for name in key if name not in document]:
            raise ResultsError(f"a row of {self.name} must have {', '.join(missing)}")

        def place(row: Row) -> tuple[Any, ...]:
            return tuple(row[name] for name in key)

        left_out = self.header.get("without", ())
        kept = {name: value for name, value in document.items() if name not in left_out}
        rows = {place(row): row for row in self.rows} | {place(kept): kept}
        return RowFile(self.name, tuple(rows.values()), self.header)

    def to_json(self) -> dict[str, Any]:
        """Content of the file; without the sentence on recovered rows if there are none."""
        header = {k: v for k, v in self.header.items() if k != "recovered" or self.recovered}
        return {"schema_version": SCHEMA_VERSION, **header, "rows": list(self.rows)}


def read_row_file(path: Path) -> RowFile:
    """Return the rows in a file; raises :class:`~sigbit_tools.files.FileError` for anything
    else."""
    document = read_json(path)
    rows = document.get("rows") if isinstance(document, dict) else None
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise FileError(f'{path} holds no rows: it must be an object with a list "rows" of objects')
    version = document.get("schema_version", SCHEMA_VERSION)
    if version != SCHEMA_VERSION:
        raise FileError(
            f"{path} has schema_version {version!r}; this release reads {SCHEMA_VERSION}"
        )
    header = {k: v for k, v in document.items() if k not in ("schema_version", "rows")}
    return RowFile(path.stem, tuple(rows), header)


@dataclass(frozen=True)
class Results(Mapping[str, RowFile]):
    """All files of a folder, by name."""

    files: Mapping[str, RowFile]

    @classmethod
    def read(cls, folder: Path) -> "Results":
        """Read every ``*.json`` in ``folder``."""
        paths = sorted(folder.glob("*.json"))
        if not paths:
            raise ResultsError(f"{folder} holds no rows: there is no file *.json in it")
        found = cls({path.stem: read_row_file(path) for path in paths})
        for name, file in found.items():
            if failures := [row["failure"] for row in file.rows if "failure" in row]:
                count = len(failures)
                raise ResultsError(
                    f"{count} of the rows of {name} are of jobs that failed ({failures[0]}): "
                    f"repeat them with `{file.header.get('command')}`"
                )
        return found

    def __getitem__(self, name: str) -> RowFile:
        if name not in self.files:
            raise ResultsError(f"there are no rows {name!r}, only {', '.join(self.files)}")
        return self.files[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self.files)

    def __len__(self) -> int:
        return len(self.files)

    def select(self, name: str, **where: object) -> Sequence[Row]:
        """Rows of file ``name`` that have these values; a list stands for any of its values."""
        known = {key for row in self[name].rows for key in row}
        if unknown := set(where) - known:
            raise ResultsError(f"no row of {name} has a key {', '.join(sorted(unknown))}")

        def fits(row: Row) -> bool:
            return all(
                row.get(key) in value if isinstance(value, list) else row.get(key) == value
                for key, value in where.items()
            )

        return [row for row in self[name].rows if fits(row)]

    def one(self, name: str, **where: object) -> Row:
        """The only row of file ``name`` that has these values."""
        found = self.select(name, **where)
        if len(found) != 1:
            values = ", ".join(f"{key}={value!r}" for key, value in where.items())
            raise ResultsError(f"{len(found)} rows of {name} have {values}; there must be one")
        return found[0]
