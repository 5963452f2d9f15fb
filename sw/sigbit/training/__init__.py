"""Training: float twins, quantized networks with any quantizer and strategies, resumable to the
bit, on one machine or many, and sweeps over configurations.

``config`` says what a run is; ``loop`` trains; ``run`` goes from data to the integer model in a
``folder``; ``machine`` is where it runs.
"""

from sigbit.errors import TrainingError
from sigbit.training.config import RunConfig, load_config
from sigbit.training.loop import Loop, Progress, accuracy, predict, train
from sigbit.training.machine import Machine, reproducible
from sigbit.training.run import Options, TrainingRun
from sigbit.training.samples import Splits, load_splits
from sigbit.training.schedule import Schedule
from sigbit.training.trained import TrainedRun, load_run

__all__ = [
    "Loop",
    "Machine",
    "Options",
    "Progress",
    "RunConfig",
    "Schedule",
    "Splits",
    "TrainedRun",
    "TrainingError",
    "TrainingRun",
    "accuracy",
    "load_config",
    "load_run",
    "load_splits",
    "predict",
    "reproducible",
    "train",
]
