"""Candidates of ``sigbit bench number-systems``."""

from sigbit.bench.number_systems.row import Candidate
from sigbit.bench.number_systems.systems import NAMED, SYSTEMS, System, accelerator, of_format
from sigbit.plugins import FORMATS

SHIPPED = "shipped"
"""Number system of the rows of named presets, which have different shapes."""
PLAIN = "two's complement, by Yosys"
"""Number system of the arrays in plain two's complement, with ``*`` and ``+``."""


def candidates() -> list[Candidate]:
    """All number systems in the benchmark's shape, including those of plugins; two's-complement
    arrays for comparison; and the shipped accelerators."""
    own = [system for name, form in FORMATS.items() for system in of_format(name, form)]
    found = [_candidate(system) for system in (*SYSTEMS, *own)]
    found += [
        Candidate(f"w{s.weights.bits}a{s.acts.bits}-array", PLAIN, s.weights, s.acts)
        for s in SYSTEMS
        if s.name == "integer"
    ]
    found += [Candidate(c.name, SHIPPED, c.weight_format, c.act_format, c) for c in NAMED]
    return found


def _candidate(system: System) -> Candidate:
    try:
        config, refused = accelerator(system), None
    except ValueError as error:
        config, refused = None, str(error).removeprefix(f"{system.key}: ")
    return Candidate(system.key, system.name, system.weights, system.acts, config, refused)
