"""Stochastic precision, a reconstruction from the abstract of Zhuang et al., TPAMI 2021 (arXiv
1908.04680): in every step random parts of the network are quantized while the others compute with
real numbers. None of the publication's numbers are claimed.

A unit (a residual block or a layer) is quantized, weights and results, with probability p, which
rises linearly from ``start_probability`` to 1 and stays there for the rest of training. With p = 1,
and in evaluation always, the network is the plain quantized one.
"""

from typing import Any, Literal, get_args

import torch
from torch import Tensor

from sigbit.quant.layers.layer import QuantLayer
from sigbit.quant.prepared import PreparedModel
from sigbit.quant.strategies.base import Randomness, Run, Step, Strategy, check
from sigbit.quant.strategies.relaxed import RealOutput, RealWeights, Switch, attach, detach

Unit = Literal["block", "layer"]
"""Granularity of the draws: the layers up to and including one that adds several tensors; one layer
with trained weights and those that follow it up to the next."""


def units(model: PreparedModel, unit: Unit) -> list[list[QuantLayer]]:
    """The layers of each unit; layers that share weights are in the same unit."""
    found: list[list[QuantLayer]] = [[]]
    home: dict[int, list[QuantLayer]] = {}
    for layer in model.layers:
        if not isinstance(layer, QuantLayer):
            continue
        weighted = layer.weight_quantizer is not None
        if unit == "layer" and weighted and found[-1]:
            found.append([])
        place = home.setdefault(id(layer.weight_quantizer), found[-1]) if weighted else found[-1]
        place.append(layer)
        if unit == "block" and len(layer.sources) > 1:
            found.append([])
    return [u for u in found if u]


class StochasticPrecision(Strategy):
    """Random parts of the network in full precision.

    Parameters
    ----------
    start_probability : float
        Probability that a unit is quantized in the first step.
    until : float
        Progress at which the probability reaches 1.
    unit : "block" or "layer"
        Granularity of the draws.
    """

    def __init__(
        self, start_probability: float = 0.5, *, until: float = 0.75, unit: Unit = "block"
    ) -> None:
        super().__init__()
        check(0 <= start_probability <= 1, "start_probability", "in [0, 1]", start_probability)
        check(0 < until <= 1, "until", "in (0, 1]", until)
        check(unit in get_args(Unit), "unit", f"in {get_args(Unit)}", unit)
        self.start_probability, self.until, self.unit = start_probability, until, unit
        self.switches: list[tuple[Switch, ...]] = []

    def start(self, run: Run) -> None:
        """Find the units."""
        super().start(run)
        self.random = Randomness(run.seed, torch.device("cpu"))
        for members in units(run.model, self.unit):
            switches = (RealWeights(training_only=True), RealOutput(training_only=True))
            for switch in switches:
                attach(members, switch)
            self.switches.append(switches)

    def probability(self, progress: float) -> float:
        """The probability of quantization at ``progress``."""
        rest = max(0.0, 1 - progress / self.until)
        return 1 - (1 - self.start_probability) * rest

    def before_step(self, step: Step) -> None:
        """Draw the units."""
        draws = torch.rand(len(self.switches), generator=self.random.generator)
        real = (draws >= self.probability(step.progress)).tolist()
        for switches, on in zip(self.switches, real, strict=True):
            for switch in switches:
                switch.on = on

    def finish(self) -> None:
        """Quantize everything."""
        for switches in self.switches:
            for switch in switches:
                detach(self.run.model, switch)

    def get_extra_state(self) -> dict[str, Tensor]:
        """Return the state of the random number generator."""
        return {"random": self.random.state}

    def set_extra_state(self, state: Any) -> None:
        """Restore the state of the random number generator."""
        self.random.state = state["random"]
