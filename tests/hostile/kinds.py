"""Kinds of files that the product reads, each with valid ones, their reader and crafted ones.

To add a kind, write a :class:`Kind` and list it in ``KINDS`` of one of :data:`MODULES`. The
variable ``HOSTILE_MODULES`` names others.
"""

import importlib
import json
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from sigbit_tools.errors import SigbitError

Rng = np.random.Generator
Document = dict[str, Any]


class Unsound(Exception):
    """A reader took a file that it should have refused; never a documented error."""


@dataclass(frozen=True)
class Codec:
    """The JSON document within a file: how to take it out, and how to put another text in its
    place, checksums made right again."""

    unpack: Callable[[bytes], Document]
    pack: Callable[[bytes, str], bytes]


@dataclass(frozen=True)
class Kind:
    """One kind of file.

    Parameters
    ----------
    name : str
        As the table calls it.
    file : str
        Path of the file in a folder of its own.
    write : callable
        Write a valid file, and what lies beside it, into the folder.
    read : callable
        Open the file as the product does and use what it holds, as far as opening goes.
    errors : tuple of exceptions
        Those that the documentation names.
    exact : bool
        Whether every byte is protected: no damaged file may be taken.
    codec : Codec, optional
        Of the document in the file, whose fields are then mutated too.
    crafted : mapping
        By what is wrong: from the bytes of a valid file to those of one that must be refused.
    """

    name: str
    file: str
    write: Callable[[Path, Rng], None]
    read: Callable[[Path], object]
    errors: tuple[type[BaseException], ...] = (SigbitError,)
    exact: bool = False
    codec: Codec | None = None
    crafted: Mapping[str, Callable[[bytes], bytes]] = field(default_factory=dict)


MODULES = ("programs", "documents", "models", "tensors", "media", "datasets")


@cache
def kinds() -> dict[str, Kind]:
    """All kinds by name."""
    found: dict[str, Kind] = {}
    for module in os.environ.get("HOSTILE_MODULES", " ".join(MODULES)).split():
        for kind in importlib.import_module(f"hostile.{module}").KINDS:
            assert kind.name not in found
            found[kind.name] = kind
    return found


def edited(codec: Codec, change: Callable[[Document], object]) -> Callable[[bytes], bytes]:
    """A crafted file: ``change`` alters the document, in place or by what it returns."""

    def craft(data: bytes) -> bytes:
        document = codec.unpack(data)
        result = change(document)
        return codec.pack(data, json.dumps(document if result is None else result))

    return craft


def text(codec: Codec, change: Callable[[str], str]) -> Callable[[bytes], bytes]:
    """A crafted file whose document's text is changed, as no JSON library would write it."""

    def craft(data: bytes) -> bytes:
        return codec.pack(data, change(json.dumps(codec.unpack(data))))

    return craft


def at(*path: str | int, value: object) -> Callable[[Document], None]:
    """A change: ``value`` stands at ``path``."""

    def change(document: Any) -> None:
        *way, last = path
        for step in way:
            document = document[step]
        document[last] = value

    return change


def without(*path: str | int) -> Callable[[Document], None]:
    """A change: nothing stands at ``path``."""

    def change(document: Any) -> None:
        *way, last = path
        for step in way:
            document = document[step]
        del document[last]

    return change
