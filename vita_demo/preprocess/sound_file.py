"""Sound files that libsndfile reads: the mean of their channels."""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

FOREVER_S = 1e6
"""Headers of streams that were never ended say such lengths."""
_BLOCK_SAMPLES = 1 << 18
_MAX_CHANNELS = 64

Samples = NDArray[np.float32]


def read_sound_file(path: bytes, max_s: float) -> tuple[Samples, int, float] | None:
    """Read samples [n], their rate and the file's length; None for what FFmpeg may know better.

    That is an unknown format, a damaged file, and a header without samples or with a senseless number of channels.
    """
    import soundfile

    try:
        with soundfile.SoundFile(path) as file:
            rate_hz = file.samplerate
            if rate_hz <= 0 or not 0 < file.channels <= _MAX_CHANNELS:
                return None
            mono = _mono(file, max_s)
            decoded_s, said_s = len(mono) / rate_hz, file.frames / rate_hz
    except (soundfile.SoundFileError, ValueError):
        return None
    longer = decoded_s > max_s and said_s < FOREVER_S
    return (mono, rate_hz, max(decoded_s, said_s) if longer else decoded_s) if len(mono) else None


def _mono(file: Any, max_s: float) -> Samples:
    """Read until the end, or a block beyond ``max_s``, whatever the header says of the length."""

    def blocks() -> Iterator[Samples]:
        count = 0
        while count <= max_s * file.samplerate:
            block = file.read(_BLOCK_SAMPLES // file.channels, dtype="float32", always_2d=True)  # [n, channels]
            if not len(block):
                return
            count += len(block)
            yield block.mean(axis=1)  # [n]

    return np.concatenate([*blocks(), np.zeros(0, np.float32)])  # [n]
