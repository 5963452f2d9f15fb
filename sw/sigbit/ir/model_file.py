"""Files of integer models (``.sbm``): the result of quantization and the input of every later step.

A :mod:`~sigbit_hw.arch.container` of the integers of all weights, parameters and tables, and the
JSON document of :mod:`~sigbit.ir.model_schema` with the rest: graph, scales, names, axes. Saving
and loading are exact inverses, and equal models give equal files. Files may be untrusted: all
contents are checked before use, and no code in a file can run.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import ValidationError

from sigbit.ir.arrays import Ints, narrow
from sigbit.ir.constants import digest
from sigbit.ir.integer import GraphError, IntegerGraph
from sigbit.ir.model_schema import SCHEMA_VERSION, Document, document_of
from sigbit_hw.arch import container
from sigbit_hw.arch.host_schema import PREFIX, host_document
from sigbit_tools.files import FileError, replacing

_KIND = "integer-model"
_LONGEST = 300
"""Maximum number of characters of the reason for refusing a file."""


def save_model(graph: IntegerGraph, path: str | Path) -> str:
    """Write ``graph`` to ``path`` atomically; return its digest."""
    text, arrays = _content(graph)
    with replacing(Path(path)) as file:
        file.write(container.encode(_KIND, text, arrays))
    return container.digest(text, arrays)


def load_model(path: str | Path) -> IntegerGraph:
    """Return the graph in a file of :func:`save_model`; raise :class:`FileError` with the
    defect."""
    path = Path(path)
    text, arrays = container.decode(path, _KIND)
    try:
        graph = _graph(text, arrays)
        if not graph.outputs:
            raise GraphError("graph: there is no output")
        return graph
    except (_Refused, GraphError, ValueError) as error:
        reason = " ".join(str(error).split())
        reason = reason if len(reason) <= _LONGEST else f"{reason[:_LONGEST]} …"
        raise FileError(f"{path}: not a valid integer model: {reason}") from None


def model_digest(graph: IntegerGraph) -> str:
    """Return the SHA-256 (hex) of the model, as stored in its file; equal models have equal
    digests."""
    return container.digest(*_content(graph))


class _Refused(Exception):
    """Raised for a file with invalid contents."""


def _content(graph: IntegerGraph) -> tuple[str, dict[str, NDArray[Any]]]:
    """Return document and arrays; equal arrays are stored once, in their narrowest type."""
    arrays: dict[str, NDArray[Any]] = {}
    names: dict[bytes, str] = {}

    def keep(name: str, values: Ints) -> str:
        kept = names.setdefault(digest(values), name)
        if kept == name:
            arrays[name] = narrow(values)
        return kept

    document = document_of(graph, keep)
    return container.to_json(document), arrays | host_document(graph.host)[1]


def _graph(text: str, stored: dict[str, NDArray[Any]]) -> IntegerGraph:
    document = _document(text)
    constants = {n: stored.pop(n) for n in sorted(stored) if n.startswith(PREFIX)}
    for name, array in stored.items():
        if array.dtype.kind != "i":
            raise _Refused(f"array {name!r} must hold signed integers, not {array.dtype}")
    arrays = _Arrays((name, array.astype(np.int64)) for name, array in stored.items())
    graph = document.graph(arrays, constants)
    if unused := sorted(arrays.keys() - arrays.used):
        raise _Refused(f"no node uses the array {unused[0]!r}")
    return graph


class _Arrays(dict[str, Ints]):
    """Arrays by name; records which arrays are used."""

    def __init__(self, *items: Any) -> None:
        super().__init__(*items)
        self.used: set[str] = set()

    def __getitem__(self, name: str) -> Ints:
        if name not in self:
            raise _Refused(f"there is no array {name!r}")
        self.used.add(name)
        return super().__getitem__(name)


def _document(text: str) -> Document:
    """Return the document, checked for version and validity."""
    try:
        version = json.loads(text).get("schema_version")
    except (ValueError, AttributeError, RecursionError):
        raise _Refused("its document is not a JSON object") from None
    if version != SCHEMA_VERSION:
        raise _Refused(
            f"schema version {version!r}, this sigbit reads {SCHEMA_VERSION}: make the file again "
            "with this version, or update sigbit"
        )
    try:
        return Document.model_validate_json(text)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"])) or "document"
        value = repr(first["input"])
        given = "" if first["type"] in ("missing", "json_invalid") else f", not {value[:60]}"
        raise _Refused(f"{where}: {first['msg']}{given}") from None
