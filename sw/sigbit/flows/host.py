"""What is left to the host, as flows list it."""

from dataclasses import dataclass

from sigbit_hw.arch.host import HostPart


@dataclass(frozen=True)
class HostOperation:
    """An operation that the host does after the accelerator, and where its user wrote it."""

    function: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    location: str

    def __str__(self) -> str:
        operands = ", ".join(filter(None, self.operands))
        return f"{self.function} of {operands} {self.location}".strip()


def host_operations(part: HostPart) -> tuple[HostOperation, ...]:
    """List the steps of ``part``, in their order."""
    return tuple(HostOperation(s.function, s.operands, s.results, s.source) for s in part.steps)
