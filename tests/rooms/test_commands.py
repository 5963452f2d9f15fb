"""Commands are options, one call of a flow, a table."""

import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer

import sigbit.cli.commands
from sigbit.cli.app import app

ROOT = Path(__file__).parents[2]
LINES = 120
MODULES = sorted(Path(sigbit.cli.commands.__path__[0]).rglob("*.py"))


def _homes(commands: typer.Typer) -> Iterator[str]:
    for command in commands.registered_commands:
        assert command.callback is not None
        yield command.callback.__module__
    for group in commands.registered_groups:
        assert group.typer_instance is not None
        yield from _homes(group.typer_instance)


@pytest.mark.parametrize("module", MODULES, ids=lambda path: path.stem)
def test_short(module: Path) -> None:
    count = len(module.read_text().splitlines())
    assert count <= LINES, f"{module.name} has {count} lines: move what is not options to a flow"


def test_every_command_is_in_their_room() -> None:
    homes = set(_homes(app))
    assert len(homes) >= 12
    assert all(home.startswith("sigbit.cli.commands.") for home in homes)


def test_lint_holds_their_complexity() -> None:
    """Ruff's limits apply to flows and commands; only other folders are exempt."""
    lint = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["ruff"]["lint"]
    assert lint["mccabe"]["max-complexity"] <= 12
    assert lint["pylint"]["max-args"] <= 8
    assert {"C901", "PLR0913"} <= set(lint["select"])
    exempt = {
        pattern
        for pattern, rules in lint["per-file-ignores"].items()
        if {"C901", "PLR0913"} & set(rules)
    }
    assert exempt == {"!sw/sigbit/{cli,flows}/**"}
