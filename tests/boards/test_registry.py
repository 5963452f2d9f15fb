"""Boards by name."""

import sys
from dataclasses import replace
from types import ModuleType

import pytest

import sigbit_boards
from sigbit_boards import registry
from sigbit_boards.ulx3s.build import BOARD


def test_every_folder_with_a_build_is_a_board() -> None:
    assert {"ulx3s", "icepi"} <= set(registry.names())
    for name in registry.names():
        assert registry.load(name).name == name


def test_unknown_board() -> None:
    with pytest.raises(
        ValueError, match="no board 'ulx4': give one of icepi, ulx3s, kr260, kv260, zcu102"
    ):
        registry.load("ulx4")


def test_boards_whose_tools_are_the_vendors() -> None:
    assert registry.projects() == ("kr260", "kv260", "zcu102")
    for name in registry.projects():
        assert registry.project(name).name == name
        with pytest.raises(ValueError, match=f"{name} is built and loaded by its vendor's tools"):
            registry.load(name)


def test_a_folder_that_holds_another_board(tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "build.py").write_text("")
    monkeypatch.setattr(sigbit_boards, "__path__", [*sigbit_boards.__path__, str(tmp_path)])
    module = ModuleType("sigbit_boards.other.build")
    monkeypatch.setitem(sys.modules, "sigbit_boards.other.build", module)
    module.BOARD = BOARD
    assert registry.names() == ("icepi", "other", "ulx3s")
    with pytest.raises(TypeError, match="must be a Board named 'other'"):
        registry.load("other")
    module.BOARD = replace(BOARD, name="other")
    assert registry.load("other") is module.BOARD
