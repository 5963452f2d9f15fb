"""JSON that has one meaning, or is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sigbit_tools.strict_json import DEPTH_MAX, TEXT_MAX, check_depth, parse_json

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=20,
)


@given(JSON)
def test_documents_come_back(document: object) -> None:
    assert parse_json(json.dumps(document)) == document
    assert parse_json(json.dumps(document).encode()) == document


@given(st.text(max_size=50))
def test_any_text_is_a_document_or_an_error(text: str) -> None:
    try:
        document = parse_json(text)
    except ValueError:
        return
    assert json.loads(text) == document


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "line 1, column 1: Expecting value"),
        ('{"a": 1,\n}', "line 2, column 1"),
        ('{"a": 1, "a": 2}', "the key 'a' occurs twice"),
        ('{"x": {"a": 1, "a": 1}}', "the key 'a' occurs twice"),
        ("NaN", "numbers must be finite, not NaN"),
        ("[-Infinity]", "numbers must be finite, not -Infinity"),
        ("9" * 401, "numbers must have at most 400 digits, not 401"),
        ("[" * 65 + "]" * 65, "at most 64 levels deep"),
        ("[" * 200_000, "at most 64 levels deep"),
        ('{"a":' * 100_000 + "1" + "}" * 100_000, "at most 64 levels deep"),
        (b'"\xff"', "it is not UTF-8 text"),
    ],
    ids=lambda value: str(value)[:20],
)
def test_what_has_no_one_meaning_is_refused(text: str | bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_json(text)


def test_sizes() -> None:
    assert parse_json("9" * 400) == int("9" * 400)
    document: object = 1
    for _ in range(DEPTH_MAX):
        document = [document]
    check_depth(document)
    with pytest.raises(ValueError, match="at most 64 levels deep"):
        check_depth([document])
    with pytest.raises(ValueError, match="at most 64 MiB"):
        parse_json(" " * (TEXT_MAX + 1))
