"""Depths and latencies of the control logic that determine its timing.

The gateware is built with them, the cycle model calculates with them, and the compiler's proofs
about tokens rely on them.
"""

IN_FLIGHT = 8
"""Signalling instructions that an engine may have accepted and not finished."""

EXECS_IN_FLIGHT = 4
"""EXECs that may be issued and not yet retired."""

QUEUE_AHEAD = 2
"""Instructions of an engine that may have left its queue without having taken their tokens or
started."""

SETTLE = 8
"""Cycles without any change after which the machine is considered stalled."""

FETCH_AHEAD = 4
"""Instruction bursts that the prefetch buffer holds."""

LOAD_AHEAD = 4
"""Instructions between the front and the back end of LOAD."""

READ_AHEAD = 16
"""Reads of slots that STORE may request before they are packed into beats."""

READ_LATENCY = 3
"""Cycles from a read of the banks for STORE until the activation memory delivers the slots."""

CHECK_LATENCY = 2
"""Cycles in which a transfer is checked against the DMA window."""

WRITES_MAX = 15
"""Write bursts that may be waiting for their response."""

BURSTS_AHEAD = 2
"""Whole write bursts by which one port may lag behind another."""
