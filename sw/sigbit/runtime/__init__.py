"""Devices that run a Program, with sessions, layers and comparison."""

from sigbit.runtime.compare import Mismatch, compare
from sigbit.runtime.device import (
    BoardError,
    Device,
    DeviceError,
    Event,
    RunResult,
    check_stored,
    unpack_outputs,
    window_of,
)
from sigbit.runtime.host import own_outputs, results
from sigbit.runtime.layers import LayerCollector
from sigbit.runtime.limits import Check, RunCancelled, RunTimeout, unlimited
from sigbit.runtime.loading import load_program, verified
from sigbit.runtime.session import Session, SessionResult, stored_inputs
from sigbit.runtime.states import KeptStates

__all__ = [
    "BoardError",
    "Check",
    "Device",
    "DeviceError",
    "Event",
    "KeptStates",
    "LayerCollector",
    "Mismatch",
    "RunCancelled",
    "RunResult",
    "RunTimeout",
    "Session",
    "SessionResult",
    "check_stored",
    "compare",
    "load_program",
    "own_outputs",
    "results",
    "stored_inputs",
    "unlimited",
    "unpack_outputs",
    "verified",
    "window_of",
]
