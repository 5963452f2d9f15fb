"""Documents against schemas: one line that names the place, what is allowed and what is given."""

from typing import Annotated

import pytest
from pydantic import AfterValidator, Field

from sigbit_hw.arch.documents import Schema, validated
from sigbit_hw.arch.host_schema import HostInputDocument, Source


def even(value: int) -> int:
    if value % 2:
        raise ValueError(f"{value} is odd")
    return value


class Inner(Schema):
    scale: Annotated[float, Field(strict=True, allow_inf_nan=False)] = 1.0


class Outer(Schema):
    count: Annotated[int, Field(strict=True, ge=1, le=4), AfterValidator(even)]
    inners: tuple[Inner, ...] = ()
    pair: Annotated[tuple[int, ...], Field(min_length=2, max_length=2)] = (0, 0)
    some: Annotated[tuple[int, ...], Field(min_length=1)] = (0,)
    names: dict[str, Annotated[str, Field(strict=True)]] = {}
    flag: Annotated[bool, Field(strict=True)] = False


def test_a_legal_document() -> None:
    document = {"count": 2, "inners": [{"scale": 0.5}, {}], "pair": [1, 2], "names": {"a b": "c"}}
    found = validated(Outer, document)
    assert [inner.scale for inner in found.inners] == [0.5, 1.0]
    assert (found.pair, found.names) == ((1, 2), {"a b": "c"})


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"count": ...}, "count is missing"),
        ({"other": 5}, "other is unknown: there is no such key"),
        ({"inners": [{}, {"scale": "x"}]}, "inners[1].scale must be a number, not 'x'"),
        ({"inners": [{"scale": float("inf")}]}, "inners[0].scale must be a finite number, not inf"),
        ({"inners": [5]}, "inners[0] must be an object, not 5"),
        ({"inners": 5}, "inners must be a list, not 5"),
        ({"names": 5}, "names must be an object, not 5"),
        ({"names": {"a b": 5}}, "names['a b'] must be text, not 5"),
        ({"flag": 1}, "flag must be true or false, not 1"),
        ({"count": 2.5}, "count must be a whole number, not 2.5"),
        ({"count": 0}, "count must be greater than or equal to 1, not 0"),
        ({"count": 5}, "count must be less than or equal to 4, not 5"),
        ({"count": 3}, "count: 3 is odd"),
        ({"pair": [1]}, "pair must have at least 2 items, not [1]"),
        ({"pair": [1, 2, 3]}, "pair must have at most 2 items, not [1, 2, 3]"),
        ({"some": []}, "some must have at least 1 items, not []"),
        ({"count": 3, "flag": 1}, "count: 3 is odd (and 1 more)"),
    ],
)
def test_one_line_says_what_is_wrong(change: dict[str, object], text: str) -> None:
    document = {"count": 2} | change
    document = {key: value for key, value in document.items() if value is not ...}
    with pytest.raises(ValueError) as error:
        validated(Outer, document)
    assert str(error.value) == text


def test_a_document_that_is_no_object() -> None:
    with pytest.raises(ValueError, match=r"^it must be an object, not \[\]$"):
        validated(Outer, [])


@pytest.mark.parametrize(
    ("shape", "legal"),
    [
        ([1], True), ([1 << 31], True), ([1, 2, 3], True),
        ([0], False), ([(1 << 31) + 1], False), ([], False), ([1, 2, 3, 4], False), ([1.0], False),
    ],
)  # fmt: skip
def test_sides_of_a_result(shape: list[float], legal: bool) -> None:
    document = {"name": "x", "output": "y", "shape": shape}
    if legal:
        assert validated(HostInputDocument, document).shape == tuple(shape)
    else:
        with pytest.raises(ValueError, match="shape"):
            validated(HostInputDocument, document)


def test_sources_are_printable_lines() -> None:
    class Where(Schema):
        source: Source

    assert validated(Where, {"source": "x" * 4096}).source
    for text in ("x" * 4097, "a\nb", "a\x1bb"):
        with pytest.raises(ValueError, match="source"):
            validated(Where, {"source": text})
