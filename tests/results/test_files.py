"""Files of rows: read, written, refused."""

import json
from pathlib import Path

import pytest

from sigbit.cli.console.files import write_rows
from sigbit.errors import ResultsError
from sigbit.results.files import Results, RowFile, read_row_file
from sigbit_tools.files import FileError

ROWS = Path(__file__).resolve().parents[2] / "results"


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
        write_rows(copy, "sigbit", [dict(row) for row in file.rows])
        assert read_row_file(copy).rows == file.rows
        assert file.to_json() == json.loads(path.read_text(encoding="utf-8"))


def test_headers_stay_and_the_sentence_on_transcribed_rows_goes_with_them(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    header = {"command": "c", "recovered": "from a table", "configuration": {"latency": 40}}
    path.write_text(json.dumps(RowFile("rows", ({"a": 1, "recovered": True},), header).to_json()))
    write_rows(path, "other", [{"a": 1, "recovered": True}, {"a": 2}])
    assert read_row_file(path).header == header
    write_rows(path, "other", [{"a": 2}])
    assert read_row_file(path).header == {"command": "c", "configuration": {"latency": 40}}
    write_rows(tmp_path / "new.json", "other", [{"a": 2}])
    assert read_row_file(tmp_path / "new.json").header == {"command": "other"}


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


def test_an_empty_folder_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ResultsError, match="there is no file"):
        Results.read(tmp_path)
