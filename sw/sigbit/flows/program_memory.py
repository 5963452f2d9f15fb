"""The memory of a board for Programs and their data."""

from dataclasses import dataclass

from sigbit_boards import registry

ON_CHIP, SDRAM = "on-chip", "sdram"
"""Memories for Programs."""
PHASE = 90.0
"""Default phase of an SDRAM's clock in degrees: a quarter of its period for commands to arrive
before it, the rest for data to come back."""


@dataclass(frozen=True)
class ProgramMemory:
    """The memory for Programs and their data.

    Parameters
    ----------
    kind : str
        ``on-chip`` or ``sdram``.
    phase : float, optional
        Degrees by which the clock at the SDRAM's pin comes after its controller's, by default
        :data:`PHASE`.
    sweep : bool
        Also write a bitstream for each of :data:`~sigbit.flows.phases.PHASES`, all of one
        placement.

    Raises ``ValueError`` for another kind, and for a phase or a sweep of an on-chip memory.
    """

    kind: str = ON_CHIP
    phase: float | None = None
    sweep: bool = False

    def __post_init__(self) -> None:
        if self.kind not in (ON_CHIP, SDRAM):
            raise ValueError(f"the memory must be {ON_CHIP} or {SDRAM}, not {self.kind!r}")
        if self.kind == ON_CHIP and (self.sweep or self.phase is not None):
            asked = "a sweep of phases" if self.sweep else "a phase"
            raise ValueError(f"{asked} belongs to the memory {SDRAM}, which was not asked for")

    def of(self, board: registry.Board) -> registry.Board:
        """Return ``board`` with this memory. Raises ``ValueError`` if there is no such memory or
        phase."""
        return board if self.degrees is None else board.with_sdram(self.degrees)

    @property
    def degrees(self) -> float | None:
        """The phase; ``None`` for an on-chip memory."""
        if self.kind == ON_CHIP:
            return None
        return PHASE if self.phase is None else self.phase
