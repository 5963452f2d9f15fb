"""Arrays and archives: read exactly, or refused before anything of their claimed size is made."""

import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from sigbit_tools.archives import open_archive, read_npy, read_npz
from sigbit_tools.files import FileError

ARRAYS = hnp.arrays(
    st.one_of(
        hnp.integer_dtypes(),
        hnp.unsigned_integer_dtypes(),
        hnp.floating_dtypes(),
        hnp.boolean_dtypes(),
        hnp.unicode_string_dtypes(max_len=5),
    ),
    hnp.array_shapes(min_dims=0, max_dims=4, min_side=0, max_side=4),
)  # fmt: skip


@given(array=ARRAYS, by_columns=st.booleans())
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_arrays_come_back(array: np.ndarray, by_columns: bool, tmp_path: Path) -> None:
    array = np.asfortranarray(array) if by_columns else array
    np.save(tmp_path / "x.npy", array)
    np.savez_compressed(tmp_path / "x.npz", x=array, y=np.arange(3))
    for got in (read_npy(tmp_path / "x.npy"), read_npz(tmp_path / "x.npz")["x"]):
        assert got.dtype == array.dtype
        assert got.shape == array.shape
        assert got.tobytes() == array.tobytes()
        assert got.flags.writeable
    assert set(read_npz(tmp_path / "x.npz", "y")) == {"y"}


def test_what_is_no_array(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        read_npy(tmp_path / "absent.npy")
    with pytest.raises(FileError, match="it is not a regular file"):
        read_npy(tmp_path)
    np.savez(tmp_path / "x.npz", x=np.zeros(3))
    with pytest.raises(FileError, match="lacks the array y, z"):
        read_npz(tmp_path / "x.npz", "x", "y", "z")


def test_the_last_byte_counts(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.arange(4))
    data = (tmp_path / "x.npy").read_bytes()
    for wrong in (data[:-1], data + b"\0"):
        (tmp_path / "x.npy").write_bytes(wrong)
        with pytest.raises(FileError, match=r"takes 32 bytes, there are 3[13]"):
            read_npy(tmp_path / "x.npy")


def test_errors_inside_the_block_name_the_file(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("a", b"1")
    with pytest.raises(FileError, match=r"x\.zip is not a bag: .*no item named 'b'"):
        with open_archive(tmp_path / "x.zip", "a bag") as opened:
            opened.read("b")
