import json
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import numpy as np
import pytest

from sigbit.flows.result import Result, Stopwatch, plain


class Fabric(StrEnum):
    XCUP = "xcup"


@dataclass(frozen=True)
class Layer:
    name: str
    codes: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Found(Result):
    schema_version = 3
    layers: tuple[Layer, ...]
    file: Path
    fabric: Fabric
    nothing: None = None


def test_a_result_is_a_json_document() -> None:
    found = Found(
        layers=(Layer("conv", np.arange(3, dtype=np.int8)),),
        file=Path("net.sigbit"),
        fabric=Fabric.XCUP,
        **Stopwatch().read(),
    )
    document = found.to_json()
    assert next(iter(document)) == "schema_version"
    assert json.loads(json.dumps(document)) == document
    assert document["schema_version"] == 3
    assert document["layers"] == [{"name": "conv", "codes": [0, 1, 2]}]
    assert (document["file"], document["fabric"], document["nothing"]) == (
        "net.sigbit",
        "xcup",
        None,
    )
    assert isinstance(document["seconds"], float)
    assert isinstance(document["cpu_seconds"], float)


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="set is not a JSON value"):
        plain({"a": [{1, 2}]})
