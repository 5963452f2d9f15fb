"""Summary of a Program."""

from dataclasses import dataclass
from typing import Self

from sigbit.flows.host import HostOperation, host_operations
from sigbit_hw.arch.program import Program


@dataclass(frozen=True, kw_only=True)
class ProgramFacts:
    """Sizes and identity of a Program.

    Parameters
    ----------
    arch, arch_digest : str
        Name and digest of the accelerator.
    images : int
        Images per run.
    macs : int
        Native multiply-accumulates per run.
    image_bytes : int
        Constants: weights, parameters and tables.
    memory_bytes : int
        DMA window.
    host : tuple of HostOperation
        Operations left to the host.
    """

    name: str
    digest: str
    arch: str
    arch_digest: str
    images: int
    layers: int
    macs: int
    instructions: int
    image_bytes: int
    memory_bytes: int
    host: tuple[HostOperation, ...]

    @classmethod
    def of(cls, program: Program) -> Self:
        """Return the facts about ``program``."""
        return cls(
            name=program.name,
            digest=program.digest,
            arch=program.config.name,
            arch_digest=program.config.digest,
            images=program.images,
            layers=len(program.layers),
            macs=sum(layer.macs for layer in program.layers),
            instructions=len(program.listing),
            image_bytes=program.image.size,
            memory_bytes=program.memory_bytes,
            host=host_operations(program.host),
        )
