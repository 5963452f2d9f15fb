from dataclasses import dataclass
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from sigbit.cli.console.grouped import grouped


@dataclass(frozen=True)
class Network:
    model: Annotated[str, typer.Argument(help="The network.")]
    checkpoint: Annotated[str | None, typer.Option(help="Weights.")] = None


@dataclass(frozen=True)
class Data:
    images: Annotated[int, typer.Option(min=1, help="Images.")] = 8


def test_groups_are_options_of_one_command() -> None:
    seen = []

    def run(network: Network, data: Data, fast: Annotated[bool, typer.Option()] = False) -> None:
        seen.append((network, data, fast))

    app = typer.Typer()
    app.command()(grouped(run))
    result = CliRunner().invoke(app, ["net", "--images", "3", "--fast"])
    assert result.exit_code == 0, result.output
    assert seen == [(Network("net", None), Data(3), True)]
    assert "Weights." in CliRunner().invoke(app, ["--help"]).output
    assert CliRunner().invoke(app, ["net", "--images", "0"]).exit_code == 2
    assert CliRunner().invoke(app, []).exit_code == 2


def test_an_option_belongs_to_one_group() -> None:
    def run(data: Data, images: int) -> None: ...

    with pytest.raises(TypeError, match="two options named 'images'"):
        grouped(run)
