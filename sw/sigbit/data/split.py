"""A data set in memory."""

from dataclasses import dataclass

from torch import Tensor


@dataclass(frozen=True)
class Split:
    """Training and test images ``[N, C, H, W]`` (float32, in ``input_range``) with their labels
    ``[N]`` (int64).
    """

    name: str
    train_x: Tensor
    train_y: Tensor
    test_x: Tensor
    test_y: Tensor
    input_range: tuple[float, float]
