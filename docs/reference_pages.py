"""Reference pages from the code: the commands with their options, and the Python interface."""

import html
import inspect
import re
from pathlib import Path

import typer
from typer.cli import get_docs_for_click

import sigbit
from sigbit.cli.app import app


def write(folder: Path) -> None:
    """Write ``commands.md`` and ``interface.md`` into ``folder``, if they change."""
    folder.mkdir(exist_ok=True)
    for name, text in (("commands", commands()), ("interface", interface())):
        path = folder / f"{name}.md"
        if not path.exists() or path.read_text() != text:
            path.write_text(text)


def commands() -> str:
    """Return every command and option as Markdown."""
    command = typer.main.get_command(app)
    text = get_docs_for_click(obj=command, ctx=typer.Context(command), name="sigbit")
    text = re.sub(r"^# `sigbit`$", "# Commands", text, count=1, flags=re.M)
    return _as_code(html.unescape(text))


def interface() -> str:
    """Return the public interface as directives for autodoc."""
    lines = ["# Interface", "", "Everything that `import sigbit` offers, from its docstrings.", ""]
    for name in sorted(sigbit.__all__, key=str.lower):
        directive = _directive(getattr(sigbit, name))
        if directive:
            lines += [f"## {name}", "", "```{eval-rst}", f".. {directive}:: sigbit.{name}"]
            lines += ["   :members:"] if directive == "autoclass" else []
            lines += ["```", ""]
    return "\n".join(lines)


def _directive(value: object) -> str | None:
    if inspect.isclass(value):
        return "autoexception" if issubclass(value, BaseException) else "autoclass"
    return "autofunction" if callable(value) else None


def _as_code(text: str) -> str:
    """Keep ranges and names of types in options from being read as HTML or emphasis."""
    return re.sub(r"\[([^\[\]`]*[<>*][^\[\]`]*)\]", r"`[\1]`", text)
