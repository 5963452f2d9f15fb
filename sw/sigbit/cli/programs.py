"""Program files that users give or get."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sigbit.cli.output import say, size

if TYPE_CHECKING:
    from sigbit_hw.arch.program import Program


def program_facts(program: "Program") -> dict[str, Any]:
    """What people ask of a Program first, as plain values."""
    return {
        "name": program.name,
        "digest": program.digest,
        "arch": program.config.name,
        "arch_digest": program.config.digest,
        "images": program.images,
        "layers": len(program.layers),
        "macs": sum(layer.macs for layer in program.layers),
        "instructions": len(program.listing),
        "image_bytes": program.image.size,
        "memory_bytes": program.memory_bytes,
        "host": [vars(step) for step in program.host],
    }


def say_program(path: Path | str, facts: dict[str, Any]) -> None:
    """Print :func:`program_facts` of what was written to ``path``."""
    batch = f", {facts['images']} images a run" if facts["images"] > 1 else ""
    say(
        f"wrote {path}: {facts['layers']} layers, {facts['macs']:,} native MACs, "
        f"{facts['instructions']:,} instructions, {size(facts['image_bytes'])} of constants, "
        f"{size(facts['memory_bytes'])} of memory{batch}, for {facts['arch']}"
    )
    host = ", ".join(f"{step['function']} of {step['output']}" for step in facts["host"])
    say(f"on the host: {host or 'nothing'}")
    say(f"digest {facts['digest']}")
