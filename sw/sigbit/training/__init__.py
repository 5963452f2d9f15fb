"""Training: float twins, quantized networks with any quantizer and strategies, resumable bit for
bit, on one or many machines, and sweeps over configurations.

``config`` describes a run; ``loop`` trains; ``run`` leads from data to the integer model in a
``folder``; ``machine`` is the environment of the run.
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
