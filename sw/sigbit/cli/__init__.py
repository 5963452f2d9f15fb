"""The command line: one module per command of ``sigbit``, listed in ``app``.

Modules import their dependencies inside their commands, so that ``sigbit --help`` responds quickly.
"""

import sys


def main() -> None:
    """Entry point of the ``sigbit`` command; exits with 0, 1 (check failed) or 2 (user error)."""
    from sigbit.cli.invocation import invoke

    sys.exit(invoke(sys.argv[1:]))
