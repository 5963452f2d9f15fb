"""Modules of a design, each as a self-contained text that is independent of its use."""

import re
from dataclasses import dataclass

from sigbit_synthesis.target import MODULE

_PORT = re.compile(r"^  wire (?:width \d+ )?(?:input|output|inout) \d+ +(?:signed )?\S+$", re.M)
_CELL = re.compile(r"^  cell \\(\S+) (?:\\)?(\S+)$", re.M)
_MODULE = re.compile(r"^module \\(\S+)$", re.M)


@dataclass(frozen=True)
class ModuleText:
    """A module.

    Parameters
    ----------
    name : str
        Name in the design.
    text : str
        RTLIL of the module as :data:`~sigbit_synthesis.target.MODULE` and of its submodules as
        black boxes ``child_0``, ``child_1`` ...: identical for identical modules in any place.
    children : tuple of str
        Names of the modules ``child_0``, ``child_1`` ...
    """

    name: str
    text: str
    children: tuple[str, ...]


def split(text: str) -> dict[str, ModuleText]:
    """The modules of a design by name, in the order of its text.

    Parameters
    ----------
    text : str
        RTLIL of :func:`sigbit_hw.gateware.emit.rtlil`, and modules of others that name their
        generator as it does.
    """
    parts = {}
    for part in re.split(r"^(?=attribute \\generator )", text, flags=re.M):
        if found := _MODULE.search(part):
            parts[found[1]] = part
    stubs = {name: "\n".join(_PORT.findall(part)) for name, part in parts.items()}
    return {name: _source(name, part, stubs) for name, part in parts.items()}


def _source(name: str, part: str, stubs: dict[str, str]) -> ModuleText:
    """Return a module with its name and its submodules' names replaced."""
    children = tuple(dict.fromkeys(m[1] for m in _CELL.finditer(part) if m[1] in stubs))
    numbers = {child: k for k, child in enumerate(children)}

    def renamed(match: re.Match[str]) -> str:
        if match[1] not in numbers:
            return match[0]
        return match[0].replace(f"\\{match[1]} ", f"\\child_{numbers[match[1]]} ", 1)

    body = _CELL.sub(renamed, _MODULE.sub(f"module \\\\{MODULE}", part, count=1))
    boxes = [
        f"attribute \\blackbox 1\nmodule \\child_{k}\n{stubs[child]}\nend\n"
        for child, k in numbers.items()
    ]
    return ModuleText(name, "".join([*boxes, body]), children)
