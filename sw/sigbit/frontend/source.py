"""Source locations of a graph's nodes in the user's files."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from torch.fx import Node

_FRAME = re.compile(r'File "(?P<file>[^"]+)", line (?P<line>\d+)')
_TORCH = str(Path(torch.__file__).parent)


@dataclass(frozen=True)
class Origin:
    """The user's view of a node: a name for its result, its operation, its source location.
    Importers of files keep it in ``meta["origin"]``."""

    name: str
    op: str
    location: str


def origin(node: Node) -> Origin:
    """Return the origin of ``node``."""
    known = node.meta.get("origin")
    if isinstance(known, Origin):
        return known
    if node.op == "call_function":
        return Origin(_module_name(node), str(node.target), _location(node))
    return Origin(node.name, node.op, _location(node))


def _location(node: Node) -> str:
    """Return ``file.py:line (module.path)`` of the innermost frame outside torch; empty if
    unknown."""
    frames = [
        m
        for m in _FRAME.finditer(node.meta.get("stack_trace") or "")
        if not m["file"].startswith(_TORCH)
    ]
    where = f"{Path(frames[-1]['file']).name}:{frames[-1]['line']}" if frames else ""
    modules = [path for path, _ in _stack(node).values() if path]
    if not modules:
        return where
    return f"{where} ({modules[-1]})" if where else f"module {modules[-1]}"


def _module_name(node: Node) -> str:
    """Return a readable name for the result of a node: ``layer1.0.conv1`` of a torch module, else
    ``layer1.0.add``."""
    stack = list(_stack(node).values())
    path, kind = stack[-1] if stack else ("", "")
    if path and str(kind).startswith("torch.nn."):
        return path
    target = str(node.target).removeprefix("aten.").split(".")[0].strip("_")
    return f"{path}.{target}" if path else target


def _stack(node: Node) -> Mapping[str, tuple[str, str]]:
    return node.meta.get("nn_module_stack") or {}
