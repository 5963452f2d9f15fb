"""One invocation of the command line, from arguments to exit code."""

import os
import sys
from collections.abc import Sequence

from sigbit.cli.console.command_line import remember
from sigbit.cli.console.exits import INTERRUPTED, USER_ERROR, explain
from sigbit.cli.console.output import leave_stdout


def plugins_first(arguments: Sequence[str]) -> list[str]:
    """Return ``arguments`` with every ``--plugin FILE`` before the command, at any position."""
    first: list[str] = []
    rest: list[str] = []
    words = iter(arguments)
    for word in words:
        if word == "--":
            rest += [word, *words]
        elif word == "--plugin":
            first += [word, *(value for value in [next(words, None)] if value is not None)]
        elif word.startswith("--plugin="):
            first.append(word)
        else:
            rest.append(word)
    return first + rest


def invoke(arguments: Sequence[str]) -> int:
    """Run the command line on ``arguments`` and return its exit code."""
    leave_stdout(False)
    remember(arguments)
    try:
        from sigbit.cli.app import app

        app(plugins_first(arguments), prog_name="sigbit")
    except SystemExit as stop:
        if stop.code == INTERRUPTED:  # typer's answer to Ctrl-C
            print("interrupted", file=sys.stderr)
        return stop.code if isinstance(stop.code, int) else 0 if stop.code is None else USER_ERROR
    except KeyboardInterrupt:
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except Exception as error:
        told = explain(error)
        if told is None or os.environ.get("SIGBIT_DEBUG"):
            raise
        print(told[0], file=sys.stderr)
        return told[1]
    return 0
