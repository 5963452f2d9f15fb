"""The extra that provides a module that is not installed."""

import re
from importlib import metadata

_DISTRIBUTIONS = {"brevitas": "brevitas", "serial": "pyserial", "sklearn": "scikit-learn"}
"""Distributions whose names differ from their modules' by more than the word separator."""
_REQUIREMENT = re.compile(r"""^([\w.-]+).*;\s*extra\s*==\s*["']([\w-]+)["']$""")
_FOR_DEVELOPERS = "test"


def extra_of(module: str) -> str | None:
    """Return the extra that installs ``module``, or None if no extra of sigbit does.

    Of several extras it is the smallest one, so that nobody is told to install the test tools for a
    simulation. There is none if sigbit itself is not installed.
    """
    top = module.partition(".")[0]
    wanted = _DISTRIBUTIONS.get(top, top).replace("_", "-").lower()
    extras: dict[str, set[str]] = {}
    try:
        required = metadata.requires("sigbit") or ()
    except metadata.PackageNotFoundError:
        return None
    for requirement in required:
        if found := _REQUIREMENT.match(requirement):
            name = found[1].replace("_", "-").lower()
            extras.setdefault(found[2], set()).add(name)
    having = [extra for extra, names in extras.items() if wanted in names]
    return min(having, key=lambda e: (e == _FOR_DEVELOPERS, len(extras[e])), default=None)


def remedy(error: ModuleNotFoundError) -> str | None:
    """Return one line that explains how to install the module that ``error`` misses, or None if it
    belongs to no extra."""
    extra = extra_of(error.name or "")
    if extra is None:
        return None
    return f"{error.name} is not installed; it comes with an extra: pip install 'sigbit[{extra}]'"
