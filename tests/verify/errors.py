"""Errors that the accelerator must report: provoked one by one."""

import numpy as np

from sigbit.runtime import DeviceError
from sigbit_sim.rtl.device import BASES, HangError, RtlDevice
from sigbit_sim.rtl.native.model import Hang
from sigbit_sim.verification.faults import FaultCase


def provoke(device: RtlDevice, case: FaultCase, port: int = 0) -> DeviceError:
    """Run `case`, with its faults on `port`, and return the error; the bus is in order
    afterwards."""
    model = device.model
    for fault in case.faults:
        first, last = (BASES[port] + at // device.config.ports for at in (fault.first, fault.last))
        model.fault(first, last, fault.response, write=fault.write, port=port)
    model.hang(Hang(sum(Hang[channel] for channel in case.hang)), port=port)
    inputs = np.ones((1, *case.program.inputs[0].shape), np.int64)
    found: DeviceError | None = None
    try:
        device.run(case.program, inputs)
    except DeviceError as error:
        found = error
    assert found is not None, f"{case.name}: no error"
    assert not isinstance(found, HangError), str(found)
    assert device.model is model
    model.clear_faults()
    model.hang(Hang.NONE, port=port)
    return found
