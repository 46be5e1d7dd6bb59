"""Sound files to log-mel filter banks, as Kaldi computes them.

Knows samples and frames; the encoder's normalization (CMVN) belongs to the model, whose weights hold it.
"""

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vita_demo.checkpoint.config import AudioConfig
from vita_demo.errors import MediaError, UnknownFormatError
from vita_demo.preprocess.decoder import RefusedError, ask_decoder
from vita_demo.preprocess.sound_file import FOREVER_S, read_sound_file

Samples = NDArray[np.float32]

_PLAIN = {b"RIFF", b"fLaC", b"OggS"}
_RATES_HZ = (1_000, 1_000_000)
_MAX_LEVEL = 1e6
"""Samples lie in -1 … 1, or up to 32768 where somebody forgot to scale; more is garbage and overflows later."""


def load_audio(path: Path, sample_rate_hz: int, max_s: float = float("inf")) -> Samples:
    """Read a sound file, or a video's sound track, as mono samples at ``sample_rate_hz``: the mean of its channels.

    libsndfile reads what it knows, FFmpeg the rest, and soxr resamples, as in ``librosa.load``.  All but the plainest
    formats are read in the decoding process: FFmpeg may hang, and libsndfile's reader of MP3 writes to stderr.

    Returns:
        float32 array [n] in -1 … 1.

    Raises:
        MediaError: when there is no sound to read (``UnknownFormatError``), or it is longer than ``max_s`` seconds.
    """
    with path.open("rb") as file:
        is_plain = file.read(4) in _PLAIN
    known = read_sound_file(os.fsencode(path), max_s) if is_plain else None
    mono, rate_hz, duration_s = known or _ask_decoder(path, max_s)
    if duration_s > max_s:
        raise MediaError(f"audio {path} lasts {duration_s:.1f} s, over the model's {max_s:.0f} s; cut it shorter")
    if not _RATES_HZ[0] <= rate_hz <= _RATES_HZ[1]:
        raise MediaError(f"audio {path} has {rate_hz:,} samples a second; convert it to 16,000")
    level = float(np.abs(mono).max(initial=0.0))
    if not level <= _MAX_LEVEL:
        raise MediaError(f"audio {path} holds NaN or infinite samples, or up to {level:g}; convert it to 16-bit WAV")
    return _resample(mono, rate_hz, sample_rate_hz)


def _ask_decoder(path: Path, max_s: float) -> tuple[Samples, int, float]:
    try:
        (reply,) = ask_decoder("sound", path, max_s=min(max_s, FOREVER_S))
    except RefusedError as error:
        if error.why == "no_track":
            raise UnknownFormatError(f"audio {path} has no sound track; give a sound file") from error
        advice = "give a WAV, FLAC, MP3 or OGG file, or a video with a sound track"
        if error.why == "unknown":
            raise UnknownFormatError(f"audio {path} cannot be decoded ({error}); {advice}") from error
        raise MediaError(f"audio {path} is damaged ({error}); {advice}") from error
    return np.frombuffer(reply.content, np.float32), reply.fields["rate_hz"], reply.fields["duration_s"]


def _resample(samples: Samples, from_hz: int, to_hz: int) -> Samples:
    if from_hz == to_hz:
        return samples
    import soxr

    resampled: Samples = soxr.resample(samples, from_hz, to_hz, quality="soxr_hq")
    return resampled


def fbank(samples: Samples, config: AudioConfig) -> NDArray[np.float32]:
    """Compute the log-mel filter bank of mono samples in -1 … 1.

    Kaldi's recipe: povey window, pre-emphasis 0.97, samples scaled to 16 bit; no dither, so that the result is
    deterministic.

    Returns:
        float32 array [frames, mel bins]; frames may be 0.
    """
    import kaldi_native_fbank

    options = kaldi_native_fbank.FbankOptions()
    options.frame_opts.samp_freq = config.sample_rate_hz
    options.frame_opts.frame_length_ms = config.frame_length_ms
    options.frame_opts.frame_shift_ms = config.frame_shift_ms
    options.frame_opts.dither = 0.0
    options.mel_opts.num_bins = config.num_mel_bins
    computer = kaldi_native_fbank.OnlineFbank(options)
    computer.accept_waveform(config.sample_rate_hz, samples * 32768.0)
    computer.input_finished()
    frames = [computer.get_frame(i) for i in range(computer.num_frames_ready)]
    return np.array(frames, dtype=np.float32).reshape(-1, config.num_mel_bins)  # [frames, mel bins]
