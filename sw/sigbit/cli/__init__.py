"""The command line: a module for each command of ``sigbit``, listed in ``app``.

Modules import what they need inside their commands, so that ``sigbit --help`` answers at once.
"""

import sys


def main() -> None:
    """Entry point of the ``sigbit`` command; exits 0, 1 (check failed) or 2 (user's mistake)."""
    from sigbit.cli.invocation import invoke

    sys.exit(invoke(sys.argv[1:]))
