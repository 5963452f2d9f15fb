"""All parts of the verification."""

from verify import (
    coverage,
    files,
    lint,
    mutated,
    networks,
    owners,
    plan,
    programs,
    proofs,
    resets,
    slaves,
    unknown,
)
from verify.part import Part

PARTS = (
    Part(networks.PART, "a random network", networks.jobs, 6),
    Part(programs.PART, "a hostile Program", programs.jobs, 4),
    Part(plan.PART, "a Program of the functional plan, an error", plan.jobs, 4),
    Part(slaves.PART, "a misbehaviour of a slave", slaves.jobs, 45),
    Part(resets.PART, "a soft reset in a run", resets.jobs, 4),
    Part(owners.PART, "a memory between two owners", owners.jobs, 2),
    Part(files.PART, "a file", files.jobs, 24),
    Part(lint.PART, "a reader of an accelerator's Verilog", lint.jobs, 8),
    Part(unknown.PART, "a Program after random initial values, a register", unknown.jobs, 6),
    Part(coverage.PART, "a run on a model that counts", coverage.jobs, 1),
    Part(proofs.PART, "a proof, or a fault that a proof refutes", proofs.jobs, 20),
    Part(mutated.PART, "a mutant", mutated.jobs, 20),
)
