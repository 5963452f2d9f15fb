"""Data of a run: which splits, and how they fit the network."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from sigbit.data import MissingError
from sigbit.training import TrainingError, load_splits
from sigbit.training.config import DataConfig, ModelConfig

FOLDER = DataConfig("image-folder")


def folder(root: Path, *splits: str) -> Path:
    """Two classes of two images in every split."""
    random = np.random.default_rng(0)
    for split in splits:
        for name in ("hen", "owl"):
            (root / split / name).mkdir(parents=True)
            for number in range(2):
                pixels = random.integers(0, 256, (32, 32, 3), dtype=np.uint8)
                Image.fromarray(pixels).save(root / split / name / f"{number}.png")
    return root


def test_val_stands_in_for_test(tmp_path: Path) -> None:
    found = load_splits(FOLDER, ModelConfig("resnet8"), folder(tmp_path, "train", "val"))
    assert (len(found.train), len(found.test), found.test.classes) == (4, 4, 2)
    for name in ("0.png", "1.png"):
        (tmp_path / "val" / "hen" / name).unlink()
    shutil.copytree(tmp_path / "train", tmp_path / "test")
    assert len(load_splits(FOLDER, ModelConfig("resnet8"), tmp_path).test) == 4


def test_splits_that_are_missing(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match=r"needs test, which is not in .*; val would do too"):
        load_splits(FOLDER, ModelConfig("resnet8"), folder(tmp_path, "train"))
    with pytest.raises(MissingError, match="needs train"):
        load_splits(FOLDER, ModelConfig("resnet8"), folder(tmp_path / "other", "val"))


def test_other_classes(tmp_path: Path) -> None:
    folder(tmp_path, "train", "val")
    (tmp_path / "val" / "owl").rename(tmp_path / "val" / "emu")
    with pytest.raises(TrainingError, match="than train: emu, hen, not hen, owl"):
        load_splits(FOLDER, ModelConfig("resnet8"), tmp_path)


def test_hidden_files_are_none_of_the_data(tmp_path: Path) -> None:
    folder(tmp_path, "train", "test")
    (tmp_path / "train" / ".checkpoints").mkdir()
    (tmp_path / "train" / "hen" / "._0.png").write_bytes(b"resource fork")
    assert len(load_splits(FOLDER, ModelConfig("resnet8"), tmp_path).train) == 4
