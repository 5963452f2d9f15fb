"""Progress bars of flows."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from sigbit.cli.console.telling import Telling, telling


@pytest.fixture
def bar() -> Progress:
    return Progress(console=Console(file=io.StringIO(), force_terminal=True), auto_refresh=False)


def _shown(bar: Progress) -> list[tuple[str, float, float | None]]:
    return [(t.description, t.completed, t.total) for t in bar.tasks]


def test_a_line_is_a_bar(bar: Progress) -> None:
    tell = Telling(bar)
    tell("importing")
    assert _shown(bar) == [("importing", 0, None)]
    tell("testing", 8, 24)
    tell("testing", 16, 24)
    assert _shown(bar) == [("testing", 16, 24)]
    tell("building", line="rtl")
    assert _shown(bar) == [("testing", 16, 24), ("building", 0, None)]
    tell("built", 1, 1, line="rtl")
    assert _shown(bar) == [("testing", 16, 24)]
    tell("testing", 24, 24)
    assert _shown(bar) == [("testing", 24, 24)]  # the main line stays


def test_times_start_anew_with_the_work(bar: Progress) -> None:
    clock = 0.0
    bar.get_time = lambda: clock
    tell = Telling(bar)
    tell("float", 1, 10)
    clock = 100.0
    tell("float", 2, 10)
    assert bar.tasks[0].elapsed == 100
    tell("quantized", 1, 10)
    assert bar.tasks[0].elapsed == 0
    clock = 150.0
    tell("quantized", 2, 10)
    assert bar.tasks[0].elapsed == 50
    tell("testing", 2, 11)
    assert bar.tasks[0].elapsed == 0


def test_notes_stay_in_pipes(capsys: pytest.CaptureFixture[str]) -> None:
    with telling() as tell:
        tell("training", 1, 2)
        tell.note("training: 1.0 s [not markup]")
    out, err = capsys.readouterr()
    assert (out, err) == ("", "training: 1.0 s [not markup]\n")
