"""The temperature of Quantization Networks (arXiv 1911.09464): ``T = T0 * epoch``, from 1 on."""

from sigbit.errors import QuantizationError
from sigbit.quant.quantizers.qn import MAX_TEMPERATURE, QuantizationNetwork
from sigbit.quant.strategies.base import Run, Step, Strategy, check


class Temperature(Strategy):
    """Makes the staircases of ``qn`` quantizers steeper epoch by epoch.

    Parameters
    ----------
    start_temperature : float
        T0: the temperature of the first epoch, which is added in every further one; 5 for residual
        networks, 10 for plain ones in the publication.
    """

    def __init__(self, start_temperature: float = 5.0) -> None:
        super().__init__()
        check(start_temperature > 0, "start_temperature", "positive", start_temperature)
        self.start_temperature = start_temperature

    def start(self, run: Run) -> None:
        """Find the staircases."""
        super().start(run)
        self.staircases = [m for m in run.model.modules() if isinstance(m, QuantizationNetwork)]
        if not self.staircases:
            raise QuantizationError(
                "temperature is for the quantizer 'qn': choose it as a method, or leave this out"
            )

    def before_step(self, step: Step) -> None:
        """Set the epoch's temperature."""
        temperature = min(self.start_temperature * (step.epoch + 1), MAX_TEMPERATURE)
        for staircase in self.staircases:
            staircase.temperature.fill_(temperature)
