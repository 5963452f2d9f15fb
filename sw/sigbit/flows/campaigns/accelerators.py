"""Synthesis and simulators for the benchmark of number systems."""

from sigbit.bench.number_systems.row import Candidate, Costs, Row
from sigbit.bench.number_systems.systems import System, accelerator
from sigbit.campaigns import Tell
from sigbit.flows.campaigns.random_programs import verify
from sigbit_hw.arch.config import ArchConfig
from sigbit_synthesis import Target, synthesize
from sigbit_synthesis.twos_complement import plain_dot


class Accelerators:
    """Cost and verification of accelerators; all results are cached."""

    def synthesize(self, config: ArchConfig, target: str, progress: Tell) -> Costs:
        """Map with Yosys."""
        report = synthesize(
            config,
            Target(target),
            progress=lambda name, done, of: progress(f"mapping {name}", done, of),
        )
        total = report.total
        return Costs(
            report.array.lut,
            total.lut,
            total.ff,
            total.carry,
            total.dsp,
            total.block_bits,
            report.levels,
            report.carries,
            report.netlist_sha256,
        )

    def array(self, candidate: Candidate, target: str) -> Row:
        """Two's complement, as many bits and lanes as the accelerators of the same widths."""
        weights, acts = candidate.weights, candidate.acts
        like = accelerator(System("integer", weights, acts))
        cells, digest = plain_dot(
            weights.bits, acts.bits, acts.signed, like.ic_lanes, like.acc_bits, Target(target)
        )
        dots = like.pixels * like.oc_lanes
        return {
            "macs": like.macs,
            "acc_bits": like.acc_bits,
            "lut_array": dots * cells.lut,
            "lut_per_mac_array": cells.lut / like.ic_lanes,
            "ff": dots * cells.ff,
            "carry": dots * cells.carry,
            "dsp": dots * cells.dsp,
            "netlist_sha256": digest,
        }

    def verify(self, config: ArchConfig, target: str, progress: Tell) -> str:
        """Run random programs on interpreter and RTL."""
        return verify(config, Target(target), progress)
