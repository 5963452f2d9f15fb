"""Cost of a change of the gateware: LUTs, flip-flops and cycles before and after it.

``python tests/results/before_after.py BEFORE AFTER --presets nano,mid --json FILE`` checks both
commits out and runs their own commands; synthesis of modules that are known costs nothing.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
NETS = ("resnet8", "resnet18")
TARGET = "xcup"
COMMAND = "python tests/results/before_after.py BEFORE AFTER --presets NAMES --json FILE"
DOES_NOT_FIT = 1
"""Exit code of a check whose network does not fit the accelerator."""
ROOMS = ("hw", "sw", "sim", "boards")


def git(*arguments: str) -> str:
    found = subprocess.run(["git", "-C", ROOT, *arguments], check=True, stdout=subprocess.PIPE)
    return found.stdout.decode().strip()


def sigbit(checkout: Path, *arguments: str) -> dict[str, Any]:
    """The JSON document of a command of the commit that is checked out."""
    path = os.pathsep.join(str(checkout / room) for room in ROOMS)
    result = checkout / "result.json"
    command = [sys.executable, "-m", "sigbit.cli", *arguments, "--json", result]
    environment = {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, check=False, env=environment, stdout=sys.stderr)
    if done.returncode not in (0, DOES_NOT_FIT):
        raise SystemExit(f"{command} failed")
    document: dict[str, Any] = json.loads(result.read_text())
    return document


def measured(checkout: Path, preset: str) -> dict[str, Any]:
    """Cells of a preset, and predicted cycles of networks on it."""
    synthesized = sigbit(checkout, "synth", "--arch", preset, "--target", TARGET)
    checked = {net: sigbit(checkout, "check", f"zoo:{net}", "--arch", preset) for net in NETS}
    documents = (synthesized, *checked.values())
    return {
        **{k: synthesized["total"][k] for k in ("lut", "ff", "carry", "dsp", "blocks")},
        "macs": synthesized["macs"],
        "netlist_sha256": synthesized["netlist_sha256"],
        "cycles": {
            net: found["accelerator"]["cycles"]
            for net, found in checked.items()
            if found["supported"]
        },
        **{k: sum(d[k] for d in documents) for k in ("seconds", "cpu_seconds")},
    }


def row_of(preset: str, sides: Mapping[str, Path]) -> dict[str, Any]:
    """A preset, before and after the change."""
    before, after = (measured(checkout, preset) for checkout in sides.values())
    macs = before.pop("macs"), after.pop("macs")
    assert macs[0] == macs[1]
    cycles = (after["cycles"][net] / before["cycles"][net] - 1 for net in before["cycles"])
    return {
        "preset": preset,
        "target": TARGET,
        "macs": macs[0],
        "lut_growth": after["lut"] / before["lut"] - 1,
        "cycles_growth": max(cycles),
        **{k: before.pop(k) + after.pop(k) for k in ("seconds", "cpu_seconds")},
        "before": before,
        "after": after,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--presets", required=True)
    parser.add_argument("--json", type=Path, required=True)
    given = parser.parse_args()
    commits = {side: git("rev-parse", getattr(given, side)) for side in ("before", "after")}
    rows: list[dict[str, Any]] = []
    with TemporaryDirectory() as folder:
        sides = {side: Path(folder) / side for side in commits}
        try:
            for side, commit in commits.items():
                git("worktree", "add", "--quiet", "--detach", str(sides[side]), commit)
            for preset in given.presets.split(","):
                rows.append(row_of(preset, sides))
                document = {
                    "schema_version": 1,
                    "command": COMMAND,
                    "configuration": commits,
                    "rows": rows,
                }
                given.json.write_text(json.dumps(document, indent=2) + "\n")
        finally:
            for checkout in sides.values():
                git("worktree", "remove", "--force", str(checkout))


if __name__ == "__main__":
    main()
