"""The command line: ``sigbit demo``, ``compile``, ``inspect``, ``run`` and ``arch``.

Modules import what they need inside their commands, so that ``sigbit --help`` answers at once.
"""

import sys


def main() -> None:
    """Entry point of the ``sigbit`` command; exits 0, 1 (check failed) or 2 (user's mistake)."""
    from sigbit.cli.errors import invoke

    sys.exit(invoke(sys.argv[1:]))
