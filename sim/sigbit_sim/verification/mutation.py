"""Planting of faults in gateware: a function of a module runs with an edited body.

The edit replaces the function's code object, so that everything that imported the function or its
class sees the fault, and nothing has to be imported again.
"""

import importlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import CodeType, FunctionType, ModuleType


def _compiled(source: str, module: ModuleType) -> dict[str, CodeType]:
    """Code of the module's functions and methods by qualified name, inner functions excluded."""
    found: dict[str, CodeType] = {}

    def visit(code: CodeType) -> None:
        for constant in code.co_consts:
            if isinstance(constant, CodeType):
                if constant.co_flags & 2:  # CO_NEWLOCALS: a function, else the body of a class
                    found[constant.co_qualname] = constant
                else:
                    visit(constant)

    visit(compile(source, str(module.__file__), "exec", dont_inherit=True))
    return found


def _function(module: ModuleType, qualname: str) -> FunctionType:
    member: object = module
    for name in qualname.split("."):
        member = vars(member)[name]
    member = member.fget if isinstance(member, property) else member
    assert isinstance(member, FunctionType)
    return member


@contextmanager
def planted(name: str, old: str, new: str) -> Iterator[None]:
    """Context in which module ``name`` has ``new`` where its source says ``old``.

    Raises ``LookupError`` unless ``old`` occurs exactly once, in exactly one function or method:
    otherwise the module has changed, and the edit must be adapted.
    """
    module = importlib.import_module(name)
    source = Path(str(module.__file__)).read_text(encoding="utf-8")
    if source.count(old) != 1:
        raise LookupError(
            f"{name} must contain {old!r} once, not {source.count(old)} times: "
            "adapt the planted fault to the new source"
        )
    before, after = _compiled(source, module), _compiled(source.replace(old, new), module)
    changed = [qualname for qualname, code in after.items() if before.get(qualname) != code]
    if len(changed) != 1:
        raise LookupError(
            f"replacing {old!r} by {new!r} in {name} must change one function, not "
            f"{changed}: edit the body of a function, on one line"
        )
    function = _function(module, changed[0])
    original, function.__code__ = function.__code__, after[changed[0]]
    try:
        yield
    finally:
        function.__code__ = original
