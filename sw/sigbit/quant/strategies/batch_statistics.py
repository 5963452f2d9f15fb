"""Batch norm with the statistics of the batch for most of the training, then with the running ones.

By default a prepared model keeps the float model's statistics; below four bits quantization shifts
mean and variance so far that it is worth following them. The last part of the run trains with the
statistics that are deployed.
"""

from sigbit.quant.strategies.base import Run, Step, Strategy, check


class BatchStatistics(Strategy):
    """Statistics follow the batches until ``until``.

    Parameters
    ----------
    until : float
        Progress from which the statistics are fixed.
    """

    def __init__(self, until: float = 0.8) -> None:
        super().__init__()
        check(0 < until <= 1, "until", "in (0, 1]", until)
        self.until = until

    def start(self, run: Run) -> None:
        """Let the statistics follow the batches."""
        super().start(run)
        run.model.use_batch_statistics(True)

    def before_step(self, step: Step) -> None:
        """Fix the statistics when ``until`` is reached."""
        self.run.model.use_batch_statistics(step.progress < self.until)

    def finish(self) -> None:
        """Fix the statistics."""
        self.run.model.use_batch_statistics(False)
