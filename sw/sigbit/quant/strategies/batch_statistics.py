"""Batch norm with the batch's statistics for most of the training, then with the running ones.

A prepared model keeps the float model's statistics by default; below four bits quantization shifts
mean and variance so far that following them is worth it. The last part of the run trains with the
statistics that are deployed.
"""

from sigbit.quant.strategies.base import Run, Step, Strategy, check


class BatchStatistics(Strategy):
    """Statistics follow the batches until ``until``.

    Parameters
    ----------
    until : float
        Progress from which on they stay as they are.
    """

    def __init__(self, until: float = 0.8) -> None:
        super().__init__()
        check(0 < until <= 1, "until", "in (0, 1]", until)
        self.until = until

    def start(self, run: Run) -> None:
        """Follow the batches."""
        super().start(run)
        run.model.use_batch_statistics(True)

    def before_step(self, step: Step) -> None:
        """Stop following in time."""
        self.run.model.use_batch_statistics(step.progress < self.until)

    def finish(self) -> None:
        """The statistics stay."""
        self.run.model.use_batch_statistics(False)
