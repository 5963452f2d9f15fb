"""The cycle model: the exact number of cycles that the RTL takes for a Program, without simulation.

It is a second description of the accelerator's control logic, independent of the gateware's. Tests
compare the two: the start and retirement of every instruction, and the run's cycles, are equal.
"""

from sigbit_sim.cycles.predict import Prediction, predict

__all__ = ["Prediction", "predict"]
