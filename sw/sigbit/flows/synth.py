"""Cost of an accelerator on a target, counted before place and route."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from sigbit.flows.progress import Tell, silent
from sigbit.flows.result import Result, Stopwatch, plain
from sigbit.flows.targets import load_target
from sigbit.inputs.accelerators import load_arch
from sigbit_hw.arch.config import ArchConfig
from sigbit_synthesis import Report, Target, synthesize
from sigbit_synthesis.report import Block


@dataclass(frozen=True, kw_only=True)
class Synthesized(Result):
    """An accelerator in the cells of a target; ``report`` has resources and longest paths."""

    report: Report

    def to_json(self) -> dict[str, Any]:
        """Return every figure by name."""
        report = self.report
        return {
            "schema_version": self.schema_version,
            "preset": report.config.name,
            "arch_digest": report.config.digest,
            "target": report.target.value,
            "netlist_sha256": report.netlist_sha256,
            "macs": report.config.macs,
            "lut_per_mac": report.lut_per_mac,
            "lut_per_mac_array": report.lut_per_mac_array,
            "levels": report.levels,
            "carries": report.carries,
            "total": plain(report.total),
            "array": plain(report.array),
            "pooling": plain(report.pooling),
            "paths": plain(report.paths),
            "modules": [
                {
                    "name": m.name,
                    "instances": m.instances,
                    **plain(m.own),
                    "paths": plain(m.paths),
                }
                for m in report.modules
            ],
            "blocks": [
                {"path": path, "instances": count, **plain(block.total)}
                for path, count, block in by_block(report.tree)
            ],
            "seconds": self.seconds,
            "cpu_seconds": self.cpu_seconds,
        }


def synth(
    arch: str | ArchConfig = "nano",
    target: str | Target = Target.XCUP,
    *,
    tell: Tell = silent,
) -> Synthesized:
    """Map the accelerator ``arch`` to the cells of ``target``, each distinct module once.

    Raises :class:`~sigbit.errors.UserError` for an unknown accelerator or target,
    :class:`~sigbit_tools.toolchain.ToolchainError` if Yosys fails.
    """
    watch = Stopwatch()
    config, fabric = load_arch(arch), load_target(target)
    tell(f"elaborating {config.name}")
    report = synthesize(
        config,
        fabric,
        progress=lambda name, done, of: tell(
            f"mapping {config.name} to {fabric.value}: {name}", done, of
        ),
    )
    return Synthesized(report=report, **watch.read())


def by_block(tree: Block) -> Iterator[tuple[str, int, Block]]:
    """Yield all blocks: the path of names, the number of instances in the accelerator, the
    block."""
    stack = [("", 1, tree)]
    while stack:
        path, count, block = stack.pop()
        yield path or block.name, count, block
        for child in sorted(block.children, key=lambda b: b.total.lut * b.instances):
            stack.append((f"{path}/{child.name}".lstrip("/"), count * child.instances, child))
