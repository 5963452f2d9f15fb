"""Preprocessing of images: what a network is given, written out."""

import numpy as np
import pytest

from sigbit_hw.arch.preprocessing import ImageError, ImagePreprocessing


def test_numbers_of_an_image(rng: np.random.Generator) -> None:
    """(byte / 255 - mean) / std, channels first, in the network's order of colours."""
    images = rng.integers(0, 256, (2, 3, 4, 3)).astype(np.uint8)
    mean, std = np.array([0.5, 0.25, 0.125]), np.array([0.5, 1.0, 2.0])
    plain = ImagePreprocessing((3, 4), tuple(mean), tuple(std))
    expected = ((images / 255 - mean) / std).transpose(0, 3, 1, 2)
    assert plain.shape == (3, 3, 4)
    assert plain(images).dtype == np.float32
    np.testing.assert_allclose(plain(images), expected, rtol=0, atol=1e-6)
    turned = ImagePreprocessing((3, 4), tuple(mean), tuple(std), colours="BGR")
    expected = ((images[..., ::-1] / 255 - mean) / std).transpose(0, 3, 1, 2)
    np.testing.assert_allclose(turned(images), expected, rtol=0, atol=1e-6)


def test_grey_images_and_another_scale() -> None:
    image = np.arange(6, dtype=np.uint8).reshape(1, 2, 3)
    one = ImagePreprocessing((2, 3), (1.0,), (2.0,), scale=1.0)
    assert one(image).tolist() == [[[[-0.5, 0.0, 0.5], [1.0, 1.5, 2.0]]]]


def test_the_centre_is_cut() -> None:
    """An image that already has the side is not resized; an odd rest leaves one more row below."""
    image = np.arange(25, dtype=np.uint8).reshape(1, 5, 5)
    cut = ImagePreprocessing((2, 3), (0.0,), (1.0,), scale=1.0, resize=5)
    assert cut(image).tolist() == [[[[6, 7, 8], [11, 12, 13]]]]
    wide = ImagePreprocessing((1, 4), (0.0,), (1.0,), scale=1.0, resize=5)
    assert wide(image).tolist() == [[[[10, 11, 12, 13]]]]
    high = ImagePreprocessing((4, 1), (0.0,), (1.0,), scale=1.0, resize=5)
    assert high(image).tolist() == [[[[2], [7], [12], [17]]]]
    whole = ImagePreprocessing((5, 5), (0.0,), (1.0,), scale=1.0, resize=5)
    assert (whole(image)[0, 0] == image[0]).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"mean": ()}, "for each channel, not 0 and 1"),
        ({"mean": (0.0, 0.0)}, "for each channel, not 2 and 1"),
        ({"mean": (np.nan,)}, "mean must be finite, std and scale positive"),
        ({"std": (0.0,)}, "std and scale positive"),
        ({"scale": 0.0}, "std and scale positive"),
        ({"scale": -1.0}, "std and scale positive"),
        ({"size": (0, 3)}, r"\(0, 3\) pixels cannot be cut"),
        ({"size": (3, 0)}, r"\(3, 0\) pixels cannot be cut"),
        ({"resize": 2}, "cannot be cut of images of side 2"),
        ({"colours": "BGR"}, "an order of colours needs 3 channels, not 1"),
    ],
)
def test_what_cannot_be(fields: dict[str, object], message: str) -> None:
    plain = {"size": (2, 3), "mean": (0.0,), "std": (1.0,)}
    ImagePreprocessing(**plain)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=message):
        ImagePreprocessing(**plain | fields)  # type: ignore[arg-type]


def test_smallest_legal_values() -> None:
    assert ImagePreprocessing((1, 1), (0.0,), (1e-9,), 1e-9, 1).shape == (1, 1, 1)


@pytest.mark.parametrize(
    ("image", "message"),
    [
        (np.zeros((2, 3), np.int16), "must be bytes"),
        (np.zeros((2, 3, 3), np.uint8), r"must be \[height, width, 1\], not \[2, 3, 3\]"),
        (np.zeros((2, 3, 1, 1), np.uint8), r"must be \[height, width, 1\]"),
        (np.zeros((3, 3), np.uint8), r"must be \(2, 3\) pixels, not \(3, 3\)"),
    ],
)
def test_other_images_are_refused(image: np.ndarray, message: str) -> None:
    with pytest.raises(ImageError, match=message):
        ImagePreprocessing((2, 3), (0.0,), (1.0,))([image])
