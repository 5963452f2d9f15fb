"""Reader for untrusted files of ``torch.export.save``.

``torch.export.load`` runs code from a file in several ways: pickles in the example inputs, in
weights and in objects, shared libraries, expressions that are evaluated, operators looked up by
name. It therefore never reads the file: the data in it (the graph, and tensors as plain bytes) are
checked and packed into a fresh archive in memory, without example inputs; only that archive is
loaded.
"""

import ast
import io
import json
import math
import re
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch.export import ExportedProgram

from sigbit.frontend.quiet import quiet
from sigbit_tools.archives import open_archive
from sigbit_tools.files import FileError
from sigbit_tools.shown import shown
from sigbit_tools.strict_json import TEXT_MAX, parse_json

WHAT = "a model that torch.export.save wrote"
GRAPH = "models/model.json"
CONFIGS = {
    "data/weights/": "data/weights/model_weights_config.json",
    "data/constants/": "data/constants/model_constants_config.json",
}
"""Documents that describe the tensors, by the folder of the tensors."""

_SAMPLES = "data/sample_inputs/model.pt"
_TENSOR = re.compile(r"(weight|tensor)_\d{1,7}")
_OPERATOR = re.compile(
    r"torch\.ops\.(aten|prims|sigbit|higher_order)\.\w+(\.\w+)?"
    r"|_operator\.(getitem|add|sub|mul|floordiv|truediv|mod|neg|pow|eq|ne|lt|le|gt|ge|and_|or_)"
    r"|math\.(ceil|floor|trunc)|torch\.sym_(int|float|max|min|not|ite)"
)
_SYMBOL = re.compile(r"[su]\d{1,9}")
_FUNCTIONS = frozenset({"Symbol", "Integer", "Add", "Mul", "Max", "Min", "Mod", "FloorDiv"})
_ASSUMPTIONS = frozenset({"positive", "integer", "nonnegative", "nonzero", "finite", "real"})
_KEPT = ("stack_trace", "nn_module_stack")
"""Metadata keys of a node that are read: the source location."""


def load_pt2(path: Path) -> ExportedProgram:
    """Return the exported program in ``path``, without example inputs; raise :class:`FileError` if
    there is none, or if it holds anything but a graph of known operators and plain tensors."""
    with open_archive(path, WHAT) as archive:
        content = _cleaned(archive)
    try:
        with quiet():
            return torch.export.load(_packed(content))
    except Exception as error:  # a wrong graph raises whatever its reader trips over
        text = str(error).strip().splitlines() or [type(error).__name__]
        raise FileError(
            f"{path} is not {WHAT} ({type(error).__name__}: {text[0]}); "
            f"this is torch {torch.__version__}"
        ) from error


def _packed(content: Mapping[str, bytes]) -> io.BytesIO:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, data in content.items():
            archive.writestr(f"model/{name}", data)
    buffer.seek(0)
    return buffer


def _cleaned(archive: zipfile.ZipFile) -> dict[str, bytes]:
    """Return the data entries, checked; raise ``ValueError`` if one is missing, or there are
    none."""
    roots = {name.partition("/")[0] for name in archive.namelist()}
    if len(roots) != 1:
        raise ValueError(f"it has {len(roots)} folders, not one")
    entries = {name.partition("/")[2]: name for name in archive.namelist()}

    def read(name: str, limit: int = TEXT_MAX) -> bytes:
        if name not in entries:
            raise ValueError(f"it lacks {name}")
        if archive.getinfo(entries[name]).file_size > limit:
            raise ValueError(f"{name} holds more than {limit:,} bytes")
        return archive.read(entries[name])

    if read("archive_format", 16) != b"pt2":
        raise ValueError("it is of another format")
    graph = parse_json(read(GRAPH))
    _clean(graph, GRAPH)
    content = {
        "archive_format": b"pt2",
        "archive_version": read("archive_version", 16),
        "byteorder": read("byteorder", 16),
        ".data/version": b"3\n",
        GRAPH: _json(graph),
        _SAMPLES: b"",
    }
    if content["byteorder"] != b"little":
        raise ValueError("its tensors are not in the byte order of this machine")
    for folder, config in CONFIGS.items():
        document = parse_json(read(config))
        for path in _payloads(document, config):
            name = f"{folder}{path}"
            content[name] = read(name, 1 << 40)
        _check_sizes(document, folder, content)
        _clean(document, config)
        content[config] = _json(document)
    allowed = {*content, *_UNUSED}
    if others := sorted(set(entries) - allowed):
        raise ValueError(f"it holds {shown(others[0])}, which is no graph and no plain tensor")
    return content


_UNUSED = (".data/serialization_id", ".format_version", ".storage_alignment")
"""Entries that are neither read nor passed on."""


def _json(document: object) -> bytes:
    return json.dumps(document).encode()


def _payloads(document: Any, where: str) -> list[str]:
    """Names of the files with the tensors that ``document`` lists; none of them pickled."""
    config = document.get("config") if isinstance(document, dict) else None
    if not isinstance(config, dict):
        raise ValueError(f"{where} lists no tensors")
    names = []
    for tensor, payload in config.items():
        if not isinstance(payload, dict) or payload.get("use_pickle") is not False:
            raise ValueError(f"{where}: the tensor {shown(tensor)} is pickled, which may run code")
        name = payload.get("path_name")
        if not isinstance(name, str) or not _TENSOR.fullmatch(name):
            raise ValueError(f"{where}: {shown(name)} is no file of a plain tensor")
        names.append(name)
    return list(dict.fromkeys(names))


def _check_sizes(document: Any, folder: str, content: Mapping[str, bytes]) -> None:
    """Check that every tensor has the size of its shape, or is a part of its file's contents."""
    for tensor, payload in document["config"].items():
        meta = payload.get("tensor_meta")
        sizes = meta.get("sizes") if isinstance(meta, dict) else None
        if not isinstance(sizes, list) or not all(isinstance(s, dict) for s in sizes):
            raise ValueError(f"the tensor {shown(tensor)} has no shape")
        shape = [s.get("as_int") for s in sizes]
        if not all(type(n) is int and 0 <= n < 1 << 48 for n in shape):
            raise ValueError(f"the tensor {shown(tensor)} has the shape {shown(shape)}")
        have = len(content[f"{folder}{payload['path_name']}"])
        if math.prod(shape) > have:  # at least a byte each
            raise ValueError(
                f"the tensor {shown(tensor)} has {math.prod(shape):,} elements in {have:,} bytes"
            )


def _clean(document: Any, where: str) -> None:
    """Check everything in ``document`` that its reader would evaluate or look up, and remove
    entries that are not needed."""
    level = [document]
    while level:
        inner: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                for key, check in _CHECKS.items():
                    if value.get(key) is not None:
                        check(value[key])
                if "guards_code" in value:
                    value["guards_code"] = []
                if isinstance(value.get("metadata"), dict):
                    kept = {k: v for k, v in value["metadata"].items() if k in _KEPT}
                    value["metadata"] = kept
                inner += value.values()
            elif isinstance(value, list):
                inner += value
        level = inner


def _check_operator(target: object) -> None:
    if not isinstance(target, str) or not _OPERATOR.fullmatch(target):
        raise ValueError(f"it calls {shown(target)}, which is no operator of a network")


def _check_expression(text: object) -> None:
    """Allow sums and products of integers and of open sizes only."""
    if not isinstance(text, str) or len(text) > 1000:
        raise ValueError(f"the size {shown(text)} is no expression")
    try:
        tree = ast.parse(text, mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise ValueError(f"the size {shown(text)} is no expression") from error
    for node in ast.walk(tree):
        if not _harmless(node):
            raise ValueError(f"the size {shown(text)} is more than a sum or a product")


def _harmless(node: ast.AST) -> bool:
    if isinstance(node, ast.Call):
        return isinstance(node.func, ast.Name) and node.func.id in _FUNCTIONS
    if isinstance(node, ast.Name):
        return node.id in _FUNCTIONS or _SYMBOL.fullmatch(node.id) is not None
    if isinstance(node, ast.keyword):
        return node.arg in _ASSUMPTIONS
    if isinstance(node, ast.Constant):
        number = isinstance(node.value, int) and abs(node.value) < 1 << 63
        return number or (isinstance(node.value, str) and _SYMBOL.fullmatch(node.value) is not None)
    plain = (ast.Expression, ast.Load, ast.BinOp, ast.UnaryOp, ast.Add, ast.Sub, ast.Mult, ast.USub)
    return isinstance(node, (*plain, ast.FloorDiv, ast.Mod))


def _refuse(value: object) -> None:
    if value not in ({}, []):
        raise ValueError("it holds objects, which may run code")


_CHECKS: Mapping[str, Callable[[object], None]] = {
    "target": _check_operator,
    "as_operator": _check_operator,
    "expr_str": _check_expression,
    "as_custom_obj": _refuse,
    "custom_obj_values": _refuse,
    "custom_obj": _refuse,
}
"""Checks of a document's values, by key."""
