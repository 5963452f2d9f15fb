"""Pages in headless Chromium, driven by its DevTools protocol.

As a script, in a process of its own, because the library that speaks the protocol changes how the
process logs: ``chromium.py PROGRAM PAGE...`` prints the layouts of all pages as JSON.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SCRIPT = Path(__file__).with_name("layout.js").read_text()
WIDTHS = (390, 1280)
SCHEMES = ("light", "dark")
FETCHED = "performance.getEntriesByType('resource').map((entry) => entry.name)"


@dataclass(frozen=True)
class Layout:
    """How a page looks in a viewport ``width`` pixels wide, in a colour scheme.

    ``figures`` counts drawings and ``texts`` pieces of text that are shown, ``dark`` says whether
    the ground is; ``wrong`` says what cannot be read, and ``fetched`` what the page asked for.
    """

    width: int
    scheme: str
    figures: int
    texts: int
    dark: bool
    wrong: list[str]
    fetched: list[str]


def layouts(pages: Iterable[Path], program: str) -> dict[Path, list[Layout]]:
    """The layouts of every page, at every width and in every colour scheme, in the browser
    ``program``."""
    done = subprocess.run(
        [sys.executable, __file__, program, *map(str, pages)],
        capture_output=True,
        text=True,
        check=False,
        timeout=3600,  # a hang, on whatever machine
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    return {Path(page): [Layout(**layout) for layout in seen] for page, seen in found.items()}


async def _all(program: str, pages: list[str]) -> dict[str, list[dict[str, Any]]]:
    import choreographer

    browser = choreographer.Browser(path=program, headless=True, enable_sandbox=False)
    async with browser:
        tab = await browser.create_tab("about:blank")
        await _answer(tab, "Page.enable")
        return {page: await _layouts(tab, page) for page in pages}


async def _layouts(tab: Any, page: str) -> list[dict[str, Any]]:
    loaded = tab.subscribe_once("Page.loadEventFired")
    await _answer(tab, "Page.navigate", url=Path(page).resolve().as_uri())
    await loaded
    found = []
    for width in WIDTHS:
        for scheme in SCHEMES:
            size = {"width": width, "height": 844, "deviceScaleFactor": 1, "mobile": width < 500}
            await _answer(tab, "Emulation.setDeviceMetricsOverride", **size)
            feature = {"name": "prefers-color-scheme", "value": scheme}
            await _answer(tab, "Emulation.setEmulatedMedia", features=[feature])
            layout = await _value(tab, SCRIPT)
            fetched = await _value(tab, FETCHED)
            found.append({"width": width, "scheme": scheme, "fetched": fetched, **layout})
    return found


async def _value(tab: Any, expression: str) -> Any:
    """What an expression gives, as JSON has it."""
    answer = await _answer(tab, "Runtime.evaluate", expression=expression, returnByValue=True)
    assert "exceptionDetails" not in answer, answer["exceptionDetails"]
    return answer["result"]["value"]


async def _answer(tab: Any, command: str, **parameters: Any) -> dict[str, Any]:
    answer = await tab.send_command(command, parameters or None)
    assert "error" not in answer, f"{command}: {answer['error']}"
    result: dict[str, Any] = answer["result"]
    return result


if __name__ == "__main__":
    print(json.dumps(asyncio.run(_all(sys.argv[1], sys.argv[2:]))))
