"""Numbers that a template states itself are found."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigbit.results.prose import marked, plain, typed, typed_numbers

words = st.lists(st.sampled_from(["LUTs", "at", "ResNet-18", "(4,1)", "4x4", "at 4 and 3 bits"]))


@given(words, words, st.floats(0, 1e6))
def test_computed_numbers_are_fine_and_typed_ones_are_not(
    before: list[str], after: list[str], value: float
) -> None:
    shown = f"{value:,.2f}"
    text = " ".join([*before, marked(shown), *after])
    assert typed_numbers(text) == []
    assert plain(text) == " ".join([*before, shown, *after])
    (found,) = typed_numbers(" ".join([*before, "is", shown, "that", *after]))
    assert shown in found


def test_marks_nest() -> None:
    assert typed(f"a {marked(f'b {marked(1)} c')} d") == "a # d"


@pytest.mark.parametrize(
    "text",
    [
        "`mid` has `24` lanes",
        "```\nmake 24\n```",
        "text\n\n    sigbit bench nets --images 200\n",
        "[page](page-2.md#3)",
        "<!-- 24 -->",
        "weights (4,1) on an array of (4, 16, 16, 16), levels (-1, 0, 1)",
        "2 to 4 bits, 4 x 8 bits, 8\nbits",
        "8-bit inputs at 224x224 on DenseNet-121",
    ],
)
def test_names_are_no_figures(text: str) -> None:
    assert typed_numbers(text) == []


@pytest.mark.parametrize("text", ["93 %", "93.3%", "(24)", "24,520", "2.3 to 3.5 times", "≈ -0.07"])
def test_figures_are_found(text: str) -> None:
    assert typed_numbers(text)
