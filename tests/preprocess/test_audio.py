"""Sound of every kind becomes mono samples at the model's rate."""

from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile

from tests.conftest import ASSETS
from vita_demo.checkpoint.config import AudioConfig
from vita_demo.errors import MediaError
from vita_demo.preprocess.audio import fbank, load_audio
from vita_demo.resources import resource


@pytest.fixture(scope="module")
def config() -> AudioConfig:
    return AudioConfig.from_folder(resource("configs", "vita15", "audio-encoder"))


def tone(rate_hz: int, seconds: float = 0.5) -> np.ndarray:
    return 0.5 * np.sin(2 * np.pi * 440 * np.arange(int(seconds * rate_hz)) / rate_hz)


@pytest.mark.filterwarnings("ignore:'(aifc|audioop|sunau)' is deprecated:DeprecationWarning")
@pytest.mark.parametrize("rate_hz", [8000, 16000, 22050, 44100, 48000])
def test_samples_equal_those_of_librosa(tmp_path: Path, rate_hz: int) -> None:
    path = tmp_path / "x.wav"
    soundfile.write(path, np.stack([tone(rate_hz), 0.2 * tone(rate_hz)], axis=1), rate_hz)
    samples = load_audio(path, 16000)
    assert samples.dtype == np.float32
    assert np.array_equal(samples, librosa.load(path, sr=16000, mono=True)[0])


@pytest.mark.parametrize("name", ["x.flac", "x.ogg", "x.mp3", "x.wav"])
def test_the_common_formats_are_read(tmp_path: Path, name: str) -> None:
    soundfile.write(tmp_path / name, tone(16000), 16000)
    samples = load_audio(tmp_path / name, 16000)
    assert len(samples) == 8000
    assert np.corrcoef(samples[1600:6400], tone(16000)[1600:6400])[0, 1] > 0.99


def test_the_sound_track_of_a_video_is_heard(tmp_path: Path) -> None:
    av = pytest.importorskip("av")
    path = tmp_path / "x.mp4"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        for start in range(0, 16000, 1024):
            block = tone(16000, 1.0)[start : start + 1024].astype(np.float32)
            frame = av.AudioFrame.from_ndarray(block[None], format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 16000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    samples = load_audio(path, 16000)
    assert abs(len(samples) - 16000) < 2500
    assert np.abs(samples).max() == pytest.approx(0.5, abs=0.1)


@pytest.mark.parametrize("content", [b"hello" * 50, (ASSETS / "moving.mp4").read_bytes(), b"RIFF\0\0\0\0WAVE"])
def test_what_holds_no_sound_is_named(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.wav").write_bytes(content)
    with pytest.raises(MediaError, match=r"x\.wav"):
        load_audio(tmp_path / "x.wav", 16000)


def test_a_file_over_the_limit_is_refused_by_its_header(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", tone(16000, 2.0), 16000)
    with pytest.raises(MediaError, match=r"lasts 2\.0 s"):
        load_audio(tmp_path / "x.wav", 16000, max_s=1.0)


def test_samples_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.wav", np.array([0.0, np.nan]), 16000, subtype="FLOAT")
    with pytest.raises(MediaError, match="NaN or infinite"):
        load_audio(tmp_path / "x.wav", 16000)


def test_the_filter_bank_is_the_same_each_time_and_frames_are_counted_as_kaldi_does(config: AudioConfig) -> None:
    samples = tone(16000, 1.0).astype(np.float32)
    first = fbank(samples, config)
    assert first.shape == (98, 80)
    assert np.array_equal(first, fbank(samples, config))
    assert fbank(samples[:399], config).shape == (0, 80)
    assert first.mean(axis=0).argmax() == pytest.approx(15, abs=3)


def test_positions_and_limits_agree_with_the_encoder(config: AudioConfig) -> None:
    assert config.positions(352) == 44
    assert config.positions(6) == 0
    assert config.positions(7) == 1
    subsampled = [len(range(frames)[2::2][2::2]) for frames in (config.max_frames, config.max_frames + 1)]
    assert subsampled == [5000, 5001]
