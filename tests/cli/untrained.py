"""The demonstration's digits with a network that nobody trained."""

import numpy as np
import torch
from torch import nn

from sigbit.data import load_digits
from sigbit.flows.demo.training import Trained
from sigbit.quant import QuantSpec, convert, prepare
from sigbit.report.grids import RealHistogram


def untrained() -> Trained:
    """A small network, converted, with what it says of the test split."""
    torch.manual_seed(0)
    digits = load_digits()
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    prepared = prepare(model.double().eval(), QuantSpec(), (digits.train_x[:64].double(),))
    integer = convert(prepared)
    test = digits.test_x.double()
    (port,) = integer.graph.inputs
    says = prepared(test).argmax(1).numpy()
    return Trained(
        graph=integer.graph,
        labels=digits.test_y.numpy(),
        stored=integer.stored(test)[port.name].numpy(),
        pictures=(255 * digits.test_x[:, 0]).to(torch.uint8).numpy(),
        float_predictions=says,
        quantized_predictions=says,
        weights=(RealHistogram.of("0", np.zeros((4, 1, 3, 3)), [-1, 0, 1]),),
    )
