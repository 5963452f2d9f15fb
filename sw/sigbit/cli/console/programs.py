"""Display of written Programs."""

from pathlib import Path
from typing import TYPE_CHECKING

from sigbit.cli.console.output import say
from sigbit.report.units import size

if TYPE_CHECKING:
    from sigbit.flows.program_facts import ProgramFacts


def say_program(path: Path | str, facts: "ProgramFacts") -> None:
    """Print the facts about the Program that was written to ``path``."""
    batch = f", {facts.images} images per run" if facts.images > 1 else ""
    say(
        f"wrote {path}: {facts.layers} layers, {facts.macs:,} native MACs, "
        f"{facts.instructions:,} instructions, {size(facts.image_bytes)} of constants, "
        f"{size(facts.memory_bytes)} of memory{batch}, for {facts.arch}"
    )
    host = ", ".join(map(str, facts.host))
    say(f"on the host: {host or 'nothing'}")
    say(f"digest {facts.digest}")
