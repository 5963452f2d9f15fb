"""The cycle model: how many cycles the RTL takes for a Program, exactly, without simulating it.

A second description of the accelerator's control, independent of the gateware's and compared with
it by the tests: every instruction's start and retirement, and the run's cycles, are equal.
"""

from sigbit_sim.cycles.predict import Prediction, predict

__all__ = ["Prediction", "predict"]
