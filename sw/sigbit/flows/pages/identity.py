"""The closing section of every report of a Program."""

from importlib.metadata import version

from sigbit.report import sections
from sigbit.report.page import Section
from sigbit_hw.arch.config import ArchConfig
from sigbit_hw.arch.program import Program

FOOTER = f"sigbit {version('sigbit')}"


def provenance(
    command: str,
    facts: dict[str, str],
    config: ArchConfig | None = None,
    program: Program | None = None,
) -> Section:
    """Return the section on how to reproduce the page, and the inputs it was made from."""
    known = {"sigbit": version("sigbit"), **facts}
    if config is not None:
        known["accelerator"] = f"{config.name}, digest {config.digest}"
    if program is not None:
        known["program"] = f"{program.name}, digest {program.digest}"
    return sections.provenance(known, command)
