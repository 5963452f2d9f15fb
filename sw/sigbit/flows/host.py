"""The host's operations, as listed by flows."""

from dataclasses import dataclass

from sigbit_hw.arch.host import HostPart


@dataclass(frozen=True)
class HostOperation:
    """An operation that the host executes after the accelerator, and its location in the user's
    source."""

    function: str
    operands: tuple[str, ...]
    results: tuple[str, ...]
    location: str

    def __str__(self) -> str:
        operands = ", ".join(filter(None, self.operands))
        return f"{self.function} of {operands} {self.location}".strip()


def host_operations(part: HostPart) -> tuple[HostOperation, ...]:
    """List the steps of ``part`` in order."""
    return tuple(HostOperation(s.function, s.operands, s.results, s.source) for s in part.steps)
