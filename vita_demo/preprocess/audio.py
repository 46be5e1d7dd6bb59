"""Sound files to log-mel filter banks, as Kaldi computes them.

Knows samples and frames; the encoder's normalization (CMVN) belongs to the model, whose weights hold it.
"""

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from vita_demo.checkpoint.config import AudioConfig
from vita_demo.errors import MediaError, UnknownFormatError
from vita_demo.preprocess.quiet import quiet_decord

Samples = NDArray[np.float32]


def load_audio(path: Path, sample_rate_hz: int, max_s: float = float("inf")) -> Samples:
    """Read a sound file, or a video's sound track, as mono samples at ``sample_rate_hz``.

    libsndfile and soxr are used directly, as ``librosa.load`` uses them, which saves 1.5 s of imports.  decord reads
    the sound tracks of videos, and librosa the formats that neither can read.

    Returns:
        float32 array [n] in -1 … 1.

    Raises:
        MediaError: when there is no sound to read (``UnknownFormatError``), or it is longer than ``max_s`` seconds.
    """
    import soundfile

    try:
        duration_s = soundfile.info(str(path)).duration
        if duration_s > max_s:
            raise MediaError(f"audio {path} lasts {duration_s:.1f} s, over the model's {max_s:.0f} s; cut it shorter")
        samples, rate_hz = soundfile.read(str(path), dtype="float32", always_2d=True)  # [n, channels]
    except soundfile.LibsndfileError:
        samples, rate_hz = _load_unusual(path, sample_rate_hz)  # [n, 1]
    mono = samples.mean(axis=1)  # [n]
    if not np.isfinite(mono).all():
        raise MediaError(f"audio {path} holds NaN or infinite samples; convert it to 16-bit WAV")
    return _resample(mono, rate_hz, sample_rate_hz)


def _load_unusual(path: Path, sample_rate_hz: int) -> tuple[Samples, int]:
    try:
        with quiet_decord() as decord:
            track = decord.AudioReader(str(path), ctx=decord.cpu(0), sample_rate=sample_rate_hz, mono=True)
        return track[:].asnumpy().T, sample_rate_hz  # [n, 1]
    except decord.DECORDError as decord_error:
        import audioread
        import librosa

        try:
            with warnings.catch_warnings():
                # librosa warns before it tries audioread, and audioread of modules that Python deprecates.
                warnings.simplefilter("ignore")
                samples, rate_hz = librosa.load(path, sr=None, mono=True)
        except (audioread.DecodeError, OSError, EOFError):
            raise UnknownFormatError(
                f"audio {path} cannot be decoded; give a WAV, FLAC, MP3 or OGG file, or a video with a sound track"
            ) from decord_error
        return samples[:, None], int(rate_hz)  # [n, 1]


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
