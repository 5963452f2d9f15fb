"""Spoken digits and keywords as features: log-mel frames, and ready-made cepstral coefficients."""

import struct
import wave
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from sigbit.data.arrays import read_npz
from sigbit.data.dataset import Dataset
from sigbit.data.files import Files
from sigbit.errors import DataError

RATE = 8000
"""Sampling rate of the spoken digits in samples per second."""
WINDOW, HOP, BANDS, FRAMES = 256, 160, 20, 50
"""Samples in a frame, samples from frame to frame, mel bands, frames in an utterance (1 s)."""
_FLOOR = 1e-6
_TEST_TAKES = 5
"""Takes 0 to 4 of every speaker and digit form the test split, according to the authors' rule."""

KEYWORDS = (
    "down", "go", "left", "no", "off", "on", "right", "stop", "up", "yes", "silence", "unknown",
)  # fmt: skip


def mel_filters() -> NDArray[np.float64]:
    """Triangles over the bins of the spectrum, equally spaced in mel: ``[BANDS, WINDOW // 2 + 1]``.

    ``mel(f) = 2595 log10(1 + f / 700)``.
    """
    top = 2595 * np.log10(1 + RATE / 2 / 700)
    corners = 700 * (10 ** (np.linspace(0, top, BANDS + 2) / 2595) - 1)
    bins = np.arange(WINDOW // 2 + 1) * RATE / WINDOW
    left, peak, right = corners[:-2, None], corners[1:-1, None], corners[2:, None]
    rising, falling = (bins - left) / (peak - left), (right - bins) / (right - peak)
    return np.clip(np.minimum(rising, falling), 0, None)


def log_mel(samples: NDArray[np.int16]) -> NDArray[np.float32]:
    """``log(energy + 1e-6)`` of one utterance at 8 kHz: ``[FRAMES, BANDS]``.

    Longer utterances keep their first second; shorter ones get silence in front, so that the last
    frame is the end of the word.
    """
    length = FRAMES * HOP
    signal = np.zeros(length + WINDOW - HOP)
    kept = samples[:length].astype(np.float64) / 32768
    signal[length - len(kept) : length] = kept
    frames = np.lib.stride_tricks.sliding_window_view(signal, WINDOW)[::HOP]
    power = np.abs(np.fft.rfft(frames * np.hanning(WINDOW))) ** 2
    return np.log(power @ mel_filters().T + _FLOOR).astype(np.float32)


def _read_wave(path: Path) -> NDArray[np.int16]:
    try:
        with wave.open(str(path), "rb") as recording:
            form = (recording.getnchannels(), recording.getsampwidth(), recording.getframerate())
            content = recording.readframes(recording.getnframes())
    except (wave.Error, EOFError, ValueError, RuntimeError, struct.error) as error:
        raise DataError(f"{path} is not a wave file: {str(error) or 'it is cut short'}") from error
    if len(content) % 2:
        raise DataError(f"{path} is not a wave file: it ends within a sample")
    if form != (1, 2, RATE):
        raise DataError(
            f"{path} must be mono, 16 bit, {RATE} Hz, not {form[0]} channels, {8 * form[1]} bit, "
            f"{form[2]} Hz"
        )
    return np.frombuffer(content, "<i2").astype(np.int16)


def _recordings(
    folder: Path,
) -> tuple[list[NDArray[np.int16]], NDArray[np.int64], NDArray[np.int64]]:
    sounds, digits, takes = [], [], []
    for path in sorted(folder.glob("*.wav")):
        parts = path.stem.split("_")
        if len(parts) != 3 or not (parts[0].isdigit() and parts[2].isdigit()):
            raise DataError(f"{path} must be named DIGIT_SPEAKER_TAKE.wav")
        sounds.append(_read_wave(path))
        digits.append(int(parts[0]))
        takes.append(int(parts[2]))
    return sounds, np.array(digits, np.int64), np.array(takes, np.int64)


def load_spoken_digits(files: Files, split: str) -> Dataset:
    """Free Spoken Digit Dataset as log-mel frames ``[N, 50, 20]``: 2,700 to train, 300 to test.

    Read from the authors' folder ``recordings`` of wave files, or from ``fsdd_8khz_int16.npz``.
    """
    source = files.require("recordings", "fsdd_8khz_int16.npz")
    if source.is_dir():
        sounds, digits, takes = _recordings(source)
    else:
        pcm, offsets, digits, takes = read_npz(source, "pcm", "offsets", "digit", "index")
        if any(a.ndim != 1 or a.dtype.kind not in "iu" for a in (pcm, offsets, digits, takes)):
            raise DataError(f"{source}: every array must have one dimension and whole numbers")
        sounds = np.split(pcm, offsets[1:-1])
        if not len(sounds) == len(digits) == len(takes):
            raise DataError(
                f"{source} has {len(sounds)} recordings, {len(digits)} digits, {len(takes)} takes"
            )
    chosen = np.flatnonzero((takes < _TEST_TAKES) == (split == "test"))
    features = [log_mel(sounds[i]) for i in chosen]
    inputs = np.stack(features) if features else np.zeros((0, FRAMES, BANDS), np.float32)
    labels = digits[chosen].astype(np.int64)
    return Dataset("Free Spoken Digits", split, inputs, labels, tuple("0123456789"))


def load_keywords(files: Files, split: str) -> Dataset:
    """MLPerf Tiny's keyword test set: 1,000 utterances of 49 frames with 10 coefficients, int8.

    ``real = 0.5847029 * (q - 83)``: the network ``ds_cnn`` of the zoo does this itself.
    """
    path = files.require("kws01_mfcc_int8.npz")
    inputs, labels = read_npz(path, "x", "y")
    if inputs.shape[1:] != (49, 10) or inputs.dtype != np.int8:
        raise DataError(f"{path}: x must be int8 [N, 49, 10], not {inputs.dtype} {inputs.shape}")
    classes = labels.astype(np.int64)
    return Dataset("Speech Commands (MLPerf Tiny)", split, inputs, classes, KEYWORDS)
