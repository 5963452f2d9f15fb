"""``sigbit bench imports``: evaluation of the importers by third-party tests."""

from enum import StrEnum
from typing import Annotated

import typer

from sigbit.cli.console.files import write_json
from sigbit.cli.console.options import Json
from sigbit.cli.console.output import show_table
from sigbit.cli.console.telling import telling
from sigbit.errors import CheckFailed

SHOWN = 25
"""Maximum number of refused operators that are printed; the JSON has all."""


class Suite(StrEnum):
    """Origin of the tests."""

    ONNX = "onnx"
    TORCH = "torch"
    DEPLOYED = "deployed"


def imports(
    suite: Annotated[
        list[Suite] | None, typer.Option(help="A suite; repeatable. [default: all]")
    ] = None,
    json: Json = None,
) -> None:
    """Import the tests that come with ONNX and PyTorch, and compare what their networks compute.

    A case is right, or refused with a reason; one that is wrong or crashes fails the command.
    PyTorch's operators take minutes.
    """
    from sigbit.flows.imports import SUITES, judge_imports

    with telling() as tell:
        found = judge_imports([s.value for s in suite] if suite else SUITES, tell=tell)
    show_table(
        "Imports",
        ["suite", "total", "right", "refused", "waived", "wrong", "crash"],
        [(r.suite, r.total, r.right, r.refused, r.waived, r.wrong, r.crash) for r in found.rows],
        " >>>>>>",
    )
    show_table(
        "Refused most often",
        ["suite", "operator", "cases", "mostly because"],
        [(r.suite, r.operator, r.count, r.reason) for r in found.refused[:SHOWN]],
        "  >",
    )
    write_json(json, found)
    if found.faults:
        worst = [(f.suite, f.case, f.verdict.value, f.reason) for f in found.faults]
        show_table("At fault", ["suite", "case", "verdict", "why"], worst)
        count = len(found.faults)
        cases = "1 case is" if count == 1 else f"{count} cases are"
        raise CheckFailed(f"{cases} imported wrong, or a crash of the importer")
