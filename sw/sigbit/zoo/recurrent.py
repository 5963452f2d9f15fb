"""Sequence classifiers: stacked LSTM or GRU layers and a linear layer on the last state."""

from typing import Literal, get_args

from torch import Tensor, nn

from sigbit.errors import ZooError

Cell = Literal["lstm", "gru"]
"""Kind of recurrent cell."""


class SequenceClassifier(nn.Module):
    """``linear(state after the last step)``.

    Parameters
    ----------
    cell : "lstm" or "gru"
        Kind of recurrent cell.
    features : int
        Values per step of the input.
    classes : int
        Outputs.
    hidden : int
        Width of the state of every layer.
    layers : int
        Number of stacked recurrent layers.

    ``[N, T, features]`` to logits ``[N, classes]``.
    """

    def __init__(
        self,
        cell: Cell = "lstm",
        features: int = 20,
        classes: int = 10,
        *,
        hidden: int = 64,
        layers: int = 1,
    ) -> None:
        super().__init__()
        if cell not in get_args(Cell):
            raise ZooError(f"cell must be one of {', '.join(get_args(Cell))}, not {cell!r}")
        kind = nn.LSTM if cell == "lstm" else nn.GRU
        self.rnn: nn.LSTM | nn.GRU = kind(features, hidden, layers, batch_first=True)
        self.classifier = nn.Linear(hidden, classes)

    def forward(self, x: Tensor) -> Tensor:
        states, _ = self.rnn(x)
        return self.classifier(states[:, -1])
