"""Jobs with the plugins of the process that started their campaign."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from sigbit.campaigns import Job, Row, Tell
from sigbit.errors import UserError
from sigbit.plugins import load_installed, load_plugin, loaded


def with_plugins(jobs: Sequence[Job]) -> list[Job]:
    """Return ``jobs`` that load the plugins of this process first, wherever they run. The keys of
    their results include the plugins' contents."""
    found = loaded()
    if not found:
        return list(jobs)
    return [
        replace(
            job,
            function=f"{__name__}:run",
            parameters={
                "function": job.function,
                "parameters": job.parameters,
                "plugins": sorted(found.values()),
            },
            settings={"settings": job.settings, "names": found},
        )
        for job in jobs
    ]


def run(
    function: str,
    parameters: dict[str, Any],
    plugins: list[str],
    settings: dict[str, Any],
    names: dict[str, str],
    tell: Tell,
) -> list[Row]:
    """Load plugins, then call a job's own function.

    Raises :class:`~sigbit.errors.UserError` if a plugin is missing or differs.
    """
    load_installed()
    for name in names:
        if name.endswith(".py"):
            load_plugin(Path(name))
    here = loaded()
    for name, digest in names.items():
        if here.get(name) != digest:
            raise UserError(
                f"plugin {name}: this worker has another or none: install the same on all machines"
            )
    return Job("", function, parameters, settings).run(tell)
