"""One invocation of the command line, from arguments to exit code."""

import os
import sys
from collections.abc import Sequence

from sigbit.cli.console.exits import INTERRUPTED, USER_ERROR, explain


def invoke(arguments: Sequence[str]) -> int:
    """Run the command line on ``arguments`` and return its exit code."""
    try:
        from sigbit.cli.app import app

        app(list(arguments), prog_name="sigbit")
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
