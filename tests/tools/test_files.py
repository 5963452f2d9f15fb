"""Folders that commands write to."""

from pathlib import Path

import pytest

from sigbit_tools.files import FileError, make_folder


def test_folders_are_made(tmp_path: Path) -> None:
    for _ in range(2):
        assert make_folder(tmp_path / "a" / "b") == tmp_path / "a" / "b"
        assert (tmp_path / "a" / "b").is_dir()


@pytest.mark.parametrize("name", ["file", "file/below"])
def test_where_a_file_is(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(FileError, match=f"cannot make the folder {tmp_path}/{name}: "):
        make_folder(tmp_path / name)
