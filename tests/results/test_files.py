"""Files of rows: read, written, refused."""

import json
from pathlib import Path

import pytest

from sigbit.errors import ResultsError, UserError
from sigbit.flows.campaigns.running import Benchmark, RowBook
from sigbit.results.files import Results, RowFile, read_row_file
from sigbit_tools.files import FileError

ROWS = Path(__file__).resolve().parents[2] / "results"


def book(path: Path, *identity: str) -> RowBook:
    """The rows of a benchmark in a file."""
    return RowBook(Benchmark("sigbit bench", identity, str, order=lambda row: 0), path)


def test_committed_rows_say_where_they_come_from() -> None:
    results = Results.read(ROWS)
    for name, file in results.items():
        assert "command" in file.header, name
        assert ("recovered" in file.header) == bool(file.recovered), name
        for row in file.rows:
            measured = not row.get("recovered") and name != "goals"
            assert not measured or {"seconds", "cpu_seconds"} <= set(row), (name, row)


def test_a_file_is_written_as_it_was_read(tmp_path: Path) -> None:
    for path in ROWS.glob("*.json"):
        copy = tmp_path / path.name
        file = read_row_file(path)
        book(copy).add([dict(row) for row in file.rows])
        assert read_row_file(copy).rows == file.rows
        assert file.to_json() == json.loads(path.read_text(encoding="utf-8"))


def test_headers_stay_and_the_sentence_on_transcribed_rows_goes_with_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    header = {"command": "c", "recovered": "from a table", "configuration": {"latency": 40}}
    path.write_text(json.dumps(RowFile("rows", ({"a": 1, "recovered": True},), header).to_json()))
    rows = book(path, "a")
    rows.add([{"a": 2}])
    assert read_row_file(path).header == header
    rows.add([{"a": 1}])
    assert read_row_file(path).header == {"command": "c", "configuration": {"latency": 40}}
    assert read_row_file(path).rows == ({"a": 2}, {"a": 1})
    book(tmp_path / "new.json", "a").add([{"a": 2}])
    assert read_row_file(tmp_path / "new.json").header == {"command": "sigbit bench"}


def test_rows_of_jobs_that_failed_are_no_results(tmp_path: Path) -> None:
    book(tmp_path / "nets.json", "a").add([{"a": 2}, {"a": 1, "failure": "no memory"}])
    with pytest.raises(ResultsError, match=r"1 of the rows of nets .* failed \(no memory\)"):
        Results.read(tmp_path)


def test_a_document_becomes_a_row() -> None:
    file = RowFile(
        "synthesis",
        ({"preset": "a", "lut": 1}, {"preset": "b", "lut": 2}),
        {"key": ["preset"], "without": ["modules"]},
    )
    again = file.with_document({"preset": "a", "lut": 3, "modules": [1]})
    assert again.rows == ({"preset": "a", "lut": 3}, {"preset": "b", "lut": 2})
    assert again.header == file.header
    assert again.with_document({"preset": "c"}).rows[-1] == {"preset": "c"}
    with pytest.raises(ResultsError, match="must have preset"):
        file.with_document({"lut": 3})
    with pytest.raises(ResultsError, match="written by sigbit bench nets"):
        RowFile("networks", (), {"command": "sigbit bench nets"}).with_document({"preset": "a"})


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("[]", "holds no rows"),
        ('{"rows": {}}', "holds no rows"),
        ('{"rows": [1]}', "holds no rows"),
        ('{"schema_version": 9, "rows": []}', "has schema_version 9; this release reads 1"),
        ("{", "is not JSON"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "rows.json"
    path.write_text(text)
    with pytest.raises(FileError, match=said):
        read_row_file(path)
    with pytest.raises(UserError, match="holds no rows of this benchmark"):
        book(path)


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="there is no file"):
        Results.read(tmp_path)
