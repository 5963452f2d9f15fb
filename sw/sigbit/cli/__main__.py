"""``python -m sigbit.cli``."""

from sigbit.cli import main

main()
