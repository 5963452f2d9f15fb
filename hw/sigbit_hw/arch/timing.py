"""Depths and latencies of the machine's control, on which its timing depends.

The gateware is built with them, the cycle model calculates with them, and the compiler's proofs
about tokens rely on them.
"""

IN_FLIGHT = 8
"""Signalling instructions that an engine may have taken in and not finished."""

EXECS_IN_FLIGHT = 4
"""EXECs that may be issued and not retired."""

QUEUE_AHEAD = 2
"""Instructions of an engine that may have left its queue without having taken their tokens or
started."""

SETTLE = 8
"""Cycles without any change after which the machine is taken to stand still."""

FETCH_AHEAD = 4
"""Bursts of instructions that the prefetch buffer holds."""

LOAD_AHEAD = 4
"""Instructions between the front and the back end of LOAD."""

READ_AHEAD = 16
"""Reads of slots that STORE may request before they are packed into beats."""

READ_LATENCY = 3
"""Cycles from a read of the banks for STORE until the activation memory gives the slots."""

CHECK_LATENCY = 2
"""Cycles in which a transfer is checked against the DMA window."""

WRITES_MAX = 15
"""Write bursts that may await their response."""

BURSTS_AHEAD = 2
"""Whole write bursts that a port may be behind another."""
