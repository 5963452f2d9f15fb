"""Inputs as the networks want them."""

import numpy as np
import pytest

from sigbit import zoo
from sigbit.zoo.preprocessing import FeaturePreprocessing, imagenet, tensorflow
from sigbit_hw.arch.preprocessing import ImageError, ImagePreprocessing


def test_scale_and_layout(rng):
    images = rng.integers(0, 256, (2, 4, 6, 3), dtype=np.uint8)
    prepared = ImagePreprocessing((4, 6), (0.5, 0.25, 0.0), (0.5, 1.0, 2.0))(images)
    assert prepared.shape == (2, 3, 4, 6)
    assert prepared.dtype == np.float32
    real = (images / 255 - (0.5, 0.25, 0.0)) / (0.5, 1.0, 2.0)
    assert np.allclose(prepared, real.transpose(0, 3, 1, 2), atol=1e-6)


def test_gray_images(rng):
    images = rng.integers(0, 17, (3, 8, 8), dtype=np.uint8)
    prepared = zoo.entry("digits").preprocessing(images)
    assert np.array_equal(prepared[:, 0] * 16, images)


def test_tensorflow_range():
    images = np.stack([np.zeros((160, 160, 3), np.uint8), np.full((160, 160, 3), 255, np.uint8)])
    prepared = tensorflow(160)(images)
    assert np.allclose(prepared[0], -1)
    assert np.allclose(prepared[1], 1)


def test_resize_takes_the_centre():
    wide = np.zeros((100, 300, 3), np.uint8)
    wide[:, 100:200] = 200
    for prepare in (tensorflow(64), ImagePreprocessing((32, 48), (0,) * 3, (1,) * 3, resize=64)):
        prepared = prepare([wide])
        assert prepared.shape == (1, 3, *prepare.size)
        assert np.ptp(prepared) == 0


def test_same_size_is_untouched(rng):
    image = rng.integers(0, 256, (256, 256, 3), dtype=np.uint8)
    prepared = imagenet()(image[None])
    cut = image[16:240, 16:240].transpose(2, 0, 1) / 255
    mean = np.array([0.485, 0.456, 0.406]).reshape(3, 1, 1)
    std = np.array([0.229, 0.224, 0.225]).reshape(3, 1, 1)
    assert np.allclose(prepared[0], (cut - mean) / std, atol=1e-5)


def test_features():
    prepare = FeaturePreprocessing((1, 2, 3), scale=2.0, offset=-1.0)
    prepared = prepare(np.arange(6).reshape(1, 2, 3))
    assert prepared.tolist() == [[[[-1, 1, 3], [5, 7, 9]]]]


def test_the_order_of_colours(rng):
    images = rng.integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    how = ImagePreprocessing((4, 4), (1.0, 2.0, 3.0), (1.0, 2.0, 4.0), 1.0, colours="BGR")
    assert (how(images)[:, 0] == images[..., 2] - 1.0).all()  # blue first, with the first mean
    assert (how(images)[:, 2] == (images[..., 0] - 3.0) / 4).all()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"std": (1.0,)}, "a number for each channel, not 3 and 1"),
        ({"std": (1.0, 0.0, 1.0)}, "std and scale positive"),
        ({"mean": (float("nan"),) * 3}, "mean must be finite"),
        ({"resize": 3}, r"\(4, 4\) pixels cannot be cut of images of side 3"),
        ({"mean": (0.0,), "std": (1.0,), "colours": "BGR"}, "needs 3 channels, not 1"),
    ],
)
def test_what_makes_no_sense(changes, message):
    given = {"size": (4, 4), "mean": (0.0,) * 3, "std": (1.0,) * 3} | changes
    with pytest.raises(ValueError, match=message):
        ImagePreprocessing(**given)


def test_errors(rng):
    prepare = ImagePreprocessing((4, 4), (0.0,) * 3, (1.0,) * 3)
    with pytest.raises(ImageError, match="must be bytes"):
        prepare(np.zeros((1, 4, 4, 3)))
    with pytest.raises(ImageError, match=r"must be \[height, width, 3\], not \[4, 4, 1\]"):
        prepare(np.zeros((1, 4, 4), np.uint8))
    with pytest.raises(ImageError, match=r"must be \(4, 4\) pixels, not \(4, 5\)"):
        prepare(np.zeros((1, 4, 5, 3), np.uint8))
    with pytest.raises(zoo.ZooError, match=r"must fill \[2\], not \[3\]"):
        FeaturePreprocessing((2,))(np.zeros((1, 3)))
