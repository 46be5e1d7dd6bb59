"""A sound track: every sample that is decoded, and none that is not."""

from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vita_demo.preprocess.decoding.container import Beat, best_stream, decode, open_container, packets_of
from vita_demo.preprocess.decoding.refusal import Refusal
from vita_demo.preprocess.sound_file import read_sound_file


class _Track:
    """The mean of a track's channels, as it is decoded.

    Attributes:
        rate_hz: samples per second; those of the first frame, to which others are resampled.
    """

    def __init__(self) -> None:
        self.rate_hz = 0
        self._blocks: list[NDArray[np.float32]] = []
        self._count = 0
        self._layout: tuple[Any, ...] = ()
        self._resampler: Any = None

    @property
    def duration_s(self) -> float:
        """How much was decoded."""
        return self._count / self.rate_hz if self.rate_hz else 0.0

    def add(self, frame: Any) -> None:
        """Take a decoded frame; the format may differ from the one before."""
        import av

        layout = (frame.format.name, frame.layout.name, frame.sample_rate)
        if layout != self._layout:
            self.rate_hz = self.rate_hz or frame.sample_rate
            self._resampler = av.AudioResampler("fltp", frame.layout, self.rate_hz)
            self._layout = layout
        for planar in self._resampler.resample(frame):
            mono = planar.to_ndarray().mean(axis=0)  # [n]
            self._blocks.append(mono)
            self._count += len(mono)

    def samples(self) -> NDArray[np.float32]:
        """Return float32 [n]."""
        return np.concatenate(self._blocks) if self._blocks else np.zeros(0, np.float32)  # [n]


def read_sound(path: bytes, max_s: float, beat: Beat) -> tuple[NDArray[np.float32], int, float]:
    """Read a file's sound track, by libsndfile if it can, and stop when there is more than ``max_s`` seconds of it.

    Returns:
        samples, float32 [n] in -1 … 1; their number per second; and the track's length in seconds.

    Raises:
        Refusal: when there is none.
    """
    known = read_sound_file(path, max_s)
    if known is not None:
        return known
    track = _Track()
    with open_container(path) as container:
        stream = best_stream(container, "audio")
        said_s = float(stream.duration * stream.time_base) if stream.duration else 0.0
        for packet in chain(packets_of(container, stream, beat), [None]):
            for frame in decode(stream, packet):
                track.add(frame)
            if track.duration_s > max_s:
                return track.samples(), track.rate_hz, max(said_s, track.duration_s)
    if not track.duration_s:
        raise Refusal("damaged", "no sample of its sound can be decoded")
    return track.samples(), track.rate_hz, track.duration_s
