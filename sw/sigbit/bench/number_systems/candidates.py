"""What ``sigbit bench number-systems`` compares."""

from sigbit.bench.number_systems.row import Candidate
from sigbit.bench.number_systems.systems import NAMED, SYSTEMS, accelerator, refusal

SHIPPED = "shipped"
"""Number system of the rows of named presets, whose shapes differ."""
PLAIN = "two's complement, by Yosys"
"""Number system of arrays alone, as ``*`` and ``+`` of two's complement give them."""


def candidates() -> list[Candidate]:
    """All number systems in the benchmark's shape, arrays of two's complement beside them, and the
    shipped accelerators."""
    found = []
    for system in SYSTEMS:
        refused = refusal(system)
        config = None if refused else accelerator(system)
        found.append(
            Candidate(system.key, system.name, system.weights, system.acts, config, refused)
        )
    found += [
        Candidate(f"w{s.weights.bits}a{s.acts.bits}-array", PLAIN, s.weights, s.acts)
        for s in SYSTEMS
        if s.name == "integer"
    ]
    found += [Candidate(c.name, SHIPPED, c.weight_format, c.act_format, c) for c in NAMED]
    return found
