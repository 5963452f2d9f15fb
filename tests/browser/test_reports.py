"""Reports can be read on a phone and on a desk, in light and dark: every figure inside the
viewport, no text outside its box, above another one, too small or too pale."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from markupsafe import Markup

from browser.chromium import SCHEMES, WIDTHS, Layout, layouts
from cli.sample_page import sample_page
from cli.untrained import untrained
from sigbit.cli.invocation import invoke
from sigbit.flows.demo import run as demo_run
from sigbit.flows.demo import training
from sigbit.report.components import figure
from sigbit.report.page import Section, render
from sigbit.runtime import Event
from sigbit_hw.arch.isa import Engine, Exec
from sigbit_sim.cycles import predict
from sigbit_sim.interp.device import Interp

BROWSER = "chromium"
pytestmark = [pytest.mark.sim, pytest.mark.slow]

NETS = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.a_stem_with_a_name_that_is_too_long_for_any_figure = nn.Conv2d(1, 8, 3, padding=1)
        self.left = nn.Conv2d(8, 8, 3, padding=1)
        self.right = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.pool = nn.MaxPool2d(2)
        self.head = nn.Linear(8 * 9, 4)

    def forward(self, x):
        x = torch.relu(self.a_stem_with_a_name_that_is_too_long_for_any_figure(x))
        x = self.pool(torch.relu(x + self.right(torch.relu(self.left(x)))))
        return self.head(x.flatten(1))

class Odd(nn.Module):
    def forward(self, x):
        return torch.cumsum(x, 1) + torch.lgamma(x)
"""
NET = ("net.py:Net", "--input", "1x6x6", "--arch", "nano")
PROGRAM = ("quantize", *NET, "--calibrate", "x.npz", "--images", "16")
COMMANDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "check": (0, ("check", *NET)),
    "check without an accelerator": (0, ("check", *NET[:3])),
    "check that refuses": (1, ("check", "net.py:Odd", "--input", "4x4x4")),
    "quantize": (0, (*PROGRAM, "-o", "net.sigbit")),
    "quantize to an integer model": (0, (*PROGRAM, "-o", "net.sbm")),
    "inspect": (0, ("inspect", "net.sigbit")),
    "inspect an integer model": (0, ("inspect", "net.sbm")),
    "run": (0, ("run", "net.sigbit", "one.npy")),
    "run that compares": (0, ("run", "net.sigbit", "one.npy", "--check")),
    "demo": (0, ("demo", "--arch", "nano", "--images", "20", "--device", "interp")),
}
FIGURES = {"check": 18, "quantize": 18, "inspect": 9, "run": 14, "demo": 5}
"""Drawings that these reports have at least."""
BAD = {
    "leaves the viewport": "<svg width='2000' height='9' viewBox='0 0 2000 9' "
    "style='max-width:none'></svg>",
    "text leaves its drawing": "<svg width='90' height='20' viewBox='0 0 90 20' "
    "style='overflow:visible'><text x='80' y='15'>outside</text></svg>",
    "text of": "<svg width='99' height='20' viewBox='0 0 990 200'>"
    "<text x='0' y='99' font-size='20'>small</text></svg>",
    "text over text": "<svg width='99' height='20' viewBox='0 0 99 20'>"
    "<text x='0' y='15'>one</text><text x='4' y='15'>two</text></svg>",
    "contrast": "<p style='color:color-mix(in srgb, var(--surface), var(--ink) 20%)'>pale</p>",
    "text overflows its box": "<p style='width:20px;overflow:hidden;white-space:nowrap'>"
    "too long</p>",
}
"""What must be found, and a part of a page that has it."""


class Timed(Interp):
    """An interpreter with the cycles and the timeline of the cycle model."""

    def run(self, program, *arguments, **options):
        result = super().run(program, *arguments, **options)
        told = predict(program)
        result.cycles = np.full(len(next(iter(result.outputs.values()))), told.cycles)
        result.timeline = [
            Event(Engine.COMPUTE, index, int(told.starts[index]), int(told.retires[index]))
            for index, instr in enumerate(program.listing)
            if isinstance(instr, Exec)
        ]
        return result


@pytest.fixture(scope="module")
def pages(tmp_path_factory) -> dict[str, Path]:
    """The reports of all commands, and a page with one of every part."""
    folder = tmp_path_factory.mktemp("reports")
    (folder / "net.py").write_text(NETS)
    rng = np.random.default_rng(0)
    x = rng.uniform(0, 1, (40, 1, 6, 6)).astype(np.float32)
    np.savez(folder / "x.npz", x=x, y=rng.integers(0, 4, 40))
    np.save(folder / "one.npy", x[:2])
    trained = untrained()
    found = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        patch.setattr(training, "train_digits", lambda *_: trained)
        patch.setattr(demo_run, "open_device", lambda name, config, memory, **_: Timed(config))
        for name, (code, words) in COMMANDS.items():
            found[name] = folder / f"{name.replace(' ', '-')}.html"
            assert invoke([*words, "--report", str(found[name])]) == code, name
    found["every part"] = folder / "parts.html"
    found["every part"].write_text(sample_page(0, "/features/features.0/conv/Conv_output_0"))
    return found


@pytest.fixture(scope="module")
def bad_pages(tmp_path_factory) -> dict[str, Path]:
    """Pages that cannot be read, by what is wrong with them."""
    found = {}
    for number, (complaint, part) in enumerate(BAD.items()):
        found[complaint] = tmp_path_factory.mktemp("bad") / f"{number}.html"
        body = figure(lambda width, part=part: Markup(part))
        found[complaint].write_text(render("Bad", "", None, [Section("Part", body)], ""))
    return found


@pytest.fixture(scope="module")
def seen(pages, bad_pages) -> dict[Path, list[Layout]]:
    """The layouts of all of them; empty without a browser."""
    program = shutil.which(BROWSER)
    return layouts([*pages.values(), *bad_pages.values()], program) if program else {}


@pytest.mark.parametrize("name", [*COMMANDS, "every part"])
def test_a_report_can_be_read(debian, pages, seen, name):
    debian(BROWSER)
    found = seen[pages[name]]
    assert [(f.width, f.scheme) for f in found] == [(w, s) for w in WIDTHS for s in SCHEMES]
    for layout in found:
        assert layout.wrong == [], f"{layout.width} pixels, {layout.scheme}"
        assert layout.fetched == []
        assert layout.dark is (layout.scheme == "dark")
        assert layout.texts > 20
        assert layout.figures >= FIGURES.get(name, 0)


@pytest.mark.parametrize("complaint", BAD)
def test_what_cannot_be_read_is_found(debian, bad_pages, seen, complaint):
    debian(BROWSER)
    for layout in seen[bad_pages[complaint]]:
        assert any(complaint in text for text in layout.wrong), layout


def test_chromium_is_required_where_debian_packages_are() -> None:
    packages = Path(__file__).parents[2] / "debian-packages.txt"
    assert BROWSER in packages.read_text().split()
