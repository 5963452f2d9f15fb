"""What people see of campaigns, and how they end."""

import io
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress as Display

from sigbit.campaigns import Progress
from sigbit.cli.console.campaigns import Bars, PlaceOptions, conclude, duration, watching
from sigbit.errors import CheckFailed, UserError
from sigbit.flows.campaigns.running import CampaignResult, Place


def result(*failed: str, missing: tuple[str, ...] = ()) -> CampaignResult:
    return CampaignResult(rows=(), failed=failed, missing=missing, seconds=1, cpu_seconds=1)


def test_bars_say_what_runs_and_how_long_it_takes() -> None:
    display = Display(console=Console(file=io.StringIO(), force_terminal=True), auto_refresh=False)
    bars = Bars(display, "networks")
    whole, step = display.tasks
    bars.show(Progress(0, 0, 3, ("a on b", "c on d"), None))
    assert (whole.description, whole.completed, whole.total) == ("networks: a on b, c on d", 0, 3)
    bars.tell("compiling", 1, 4)
    assert (step.description, step.completed, step.total, step.visible) == (
        "compiling", 1, 4, True,
    )  # fmt: skip
    bars.show(Progress(2, 1, 3, (), 5400.0))
    assert whole.description == "networks; 1 failed; 1.5 h left"
    assert (whole.completed, step.visible) == (2, False)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (89, "89 s"), (90, "2 min"), (5399, "90 min")]
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


def test_lines_go_to_stdout(capsys: pytest.CaptureFixture[str]) -> None:
    with watching("runs") as watcher:
        watcher.progress(Progress(0, 0, None, ("a",), None))
        watcher.tell("a step", 0, 1)
        watcher.say("a row")
    assert capsys.readouterr() == ("a row\n", "")


def test_options_reach_the_flow() -> None:
    options = PlaceOptions(Path("f"), Path("w"), 3, "tcp://x")
    assert options.place() == Place(Path("f"), Path("w"), 3, "tcp://x")
    assert PlaceOptions().place() == Place()


def test_how_campaigns_end() -> None:
    conclude(result())
    with pytest.raises(CheckFailed, match=r"^a: wrong\nb: worse$"):
        conclude(result("a: wrong", "b: worse", missing=("c",)))
    with pytest.raises(UserError, match=r"^c, d: not run, for the reasons above; --data DIR"):
        conclude(result(missing=("c", "d")))
