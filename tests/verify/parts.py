"""All parts of the verification."""

from verify import files, lint, mutated, networks, owners, programs, resets, slaves, unknown
from verify.part import Part

PARTS = (
    Part(networks.PART, "a random network", networks.jobs, 6),
    Part(programs.PART, "a hostile Program", programs.jobs, 4),
    Part(slaves.PART, "a misbehaviour of a slave", slaves.jobs, 45),
    Part(resets.PART, "a soft reset in a run", resets.jobs, 4),
    Part(owners.PART, "a memory between two owners", owners.jobs, 2),
    Part(files.PART, "a file", files.jobs, 24),
    Part(lint.PART, "a reader of an accelerator's Verilog", lint.jobs, 8),
    Part(unknown.PART, "a Program after random initial values, a register", unknown.jobs, 6),
    Part(mutated.PART, "a mutant", mutated.jobs, 2),
)
