"""The handwritten digits of scikit-learn (1,797 real images of 8x8 pixels from the UCI repository),
which are bundled with it."""

import numpy as np
import torch
from sklearn.datasets import load_digits as _load

from sigbit.data.split import Split

PIXEL_MAX = 16
"""Maximum of the images' pixels, which are integers in [0, 16]."""
TEST_IMAGES = 360
"""Number of images in the test split."""
_SPLIT_SEED = 2026


def load_digits() -> Split:
    """1,437 training and 360 test images ``[N, 1, 8, 8]``, pixels scaled to [0, 1].

    The split is one fixed random permutation, the same for every seed of training.
    """
    images, labels = _load(return_X_y=True)
    order = np.random.default_rng(_SPLIT_SEED).permutation(len(labels))
    x = torch.from_numpy(images[order].astype(np.float32) / PIXEL_MAX).view(-1, 1, 8, 8)
    y = torch.from_numpy(labels[order].astype(np.int64))
    test, train = slice(0, TEST_IMAGES), slice(TEST_IMAGES, None)
    return Split("digits", x[train], y[train], x[test], y[test], (0.0, 1.0))
