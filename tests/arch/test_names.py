"""Names: which are legal, and the legal one nearest to any text."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigbit_hw.arch.config import PRESETS
from sigbit_hw.arch.names import NAME_MAX, check_name, is_name, legal_name, numbered


@pytest.mark.parametrize(
    "name", ["x", "nano", "layer1.0.conv", "_", "a-b_c.d", "0", "x" * NAME_MAX, *PRESETS]
)
def test_legal_names(name: str) -> None:
    assert check_name(name) == name
    assert legal_name(name)[:100] == name[:100]


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", "a..b", "../x", "a/b", "/x", "-x", ".x", "a b", "a\n", "ä", "a\0", "x" * 129,
     "<b>", 5, None, b"x", ["x"]],
)  # fmt: skip
def test_other_names_are_refused(name: object) -> None:
    assert not is_name(name)
    with pytest.raises(ValueError, match=r"a name must be up to 128 letters, digits and \. _ -"):
        check_name(name)


@given(st.text(max_size=300))
def test_any_text_has_a_legal_name(text: str) -> None:
    name = legal_name(text)
    assert is_name(name)
    assert is_name(f"{name}_999999")  # as what is numbered is called
    assert legal_name(name) == name


@given(st.from_regex(re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,60}"), fullmatch=True))
def test_legal_names_stay(name: str) -> None:
    assert legal_name(name) == name


def test_paths_become_names() -> None:
    assert legal_name("/layer1/layer1.0/conv1/Conv") == "layer1.layer1.0.conv1.Conv"
    assert legal_name("input:0") == "input_0"
    assert legal_name("a/../b") == "a.b"


@given(st.sets(st.sampled_from(["a", "a_2", "a_3", "a_5", "b"])))
def test_numbers_make_names_differ(taken: set[str]) -> None:
    """The least number from 2 on that is free; none if the name is."""
    name = numbered("a", taken)
    assert name not in taken
    before = ["a", *(f"a_{n}" for n in range(2, 9))]
    assert set(before[: before.index(name)]) <= taken
