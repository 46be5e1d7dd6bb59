"""Files as people have them, each of a kind that was once read wrongly: the right values."""

import os
import shutil
import signal
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import soundfile
from PIL import Image, PngImagePlugin

from tests.conftest import ASSETS, DATA
from vita_demo.errors import MediaError, UnknownFormatError
from vita_demo.preprocess import decoder
from vita_demo.preprocess.audio import load_audio
from vita_demo.preprocess.image import load_image
from vita_demo.preprocess.video import load_frames

MEDIA = DATA / "media"


def pixels(path: Path, **sampling: float) -> list[np.ndarray]:
    return [np.asarray(image).astype(int) for image in load_frames(path, **sampling).images]


# Videos


@pytest.mark.parametrize(
    ("name", "total", "times_s"),
    [
        ("trimmed_hangs.mp4", 301, range(11)),
        ("real_trimmed.mp4", 67, range(7)),
        ("ts_wrong_frames.ts", 60, range(5)),
        ("real_h264.ts", 30, range(6)),
        ("real_h264.avi", 80, range(8)),
        ("real_vfr.mp4", 160, range(10)),
        ("av1.mp4", 30, [0, 0, 1, 2]),
        ("moving.gif", 60, range(6)),
    ],
)
def test_frames_are_counted_and_timed(name: str, total: int, times_s: list[float]) -> None:
    frames = load_frames(MEDIA / name)
    assert frames.total == total
    assert frames.times_s == pytest.approx([*times_s], abs=0.001)


def test_a_transport_stream_shows_what_its_twin_shows() -> None:
    twins = [pixels(MEDIA / name) for name in ("ts_wrong_frames.ts", "ts_wrong_frames_same_in_mp4.mp4")]
    assert np.abs(np.array(twins[0]) - np.array(twins[1])).max() == 0


def test_frames_out_of_order_in_avi_are_all_different() -> None:
    frames = pixels(MEDIA / "real_h264.avi")
    assert all(np.abs(one - after).max() > 50 for one, after in pairwise(frames))


def test_a_variable_rate_is_sampled_by_time() -> None:
    frames = load_frames(MEDIA / "vfr.mp4", start_s=10)
    assert frames.times_s[0] == pytest.approx(10)
    assert np.diff(frames.times_s).min() >= 1 - 0.001
    assert load_frames(MEDIA / "vfr.mp4", end_s=5).times_s == pytest.approx(range(6))
    with pytest.raises(MediaError, match=r"--start 40 lies after the end of .*vfr\.mp4 \(3\d\.\d s\); start earlier"):
        load_frames(MEDIA / "vfr.mp4", start_s=40)


@pytest.mark.parametrize("name", [b"10:20.mp4", b"-y.mp4", b"\xff\xfe.mp4", b"%03d.mp4", "视频.mp4".encode()])
def test_a_video_may_be_called_anything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: bytes) -> None:
    path = os.fsdecode(name)
    monkeypatch.chdir(tmp_path)
    shutil.copy(ASSETS / "moving.mp4", path)
    assert load_frames(Path(path)).total == 54


def test_a_playlist_opens_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "x.m3u8"
    path.write_text(f"#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\n{MEDIA / 'ts_wrong_frames.ts'}\n#EXT-X-ENDLIST\n")
    (tmp_path / "x.ffconcat").write_text(f"ffconcat version 1.0\nfile '{ASSETS / 'moving.mp4'}'\n")
    for file in (path, tmp_path / "x.ffconcat"):
        with pytest.raises(MediaError):
            load_frames(file)


def test_frames_in_a_folder_are_in_natural_order(tmp_path: Path) -> None:
    for number in range(1, 13):
        Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / f"{number}.png")
    (tmp_path / "._0001.png").write_bytes(b"of a Mac")
    (tmp_path / "0.png").mkdir()
    frames = load_frames(tmp_path)
    assert [image.getpixel((0, 0))[0] for image in frames.images] == [*range(1, 13)]


@pytest.mark.parametrize("ending", ["gif", "webp", "png"])
def test_animated_pictures_are_videos(tmp_path: Path, ending: str) -> None:
    images = [Image.new("RGB", (16, 16), (60 * number, 0, 0)) for number in range(4)]
    path = tmp_path / f"x.{ending}"
    images[0].save(path, save_all=True, append_images=images[1:], duration=[1000, 500, 500, 2000], lossless=True)
    frames = load_frames(path, fps=2)
    assert frames.times_s == pytest.approx([0, 1, 1.5, 2])
    assert [round(image.getpixel((0, 0))[0] / 60) for image in frames.images] == [0, 1, 2, 3]


def test_what_has_no_picture_track_is_named() -> None:
    with pytest.raises(UnknownFormatError, match="no picture track"):
        load_frames(MEDIA / "stereo.mkv")
    with pytest.raises(UnknownFormatError, match="still picture"):
        load_frames(ASSETS / "scene.png")


# The decoding process


def test_one_process_serves_many_files_and_many_threads() -> None:
    decoder.end_decoders()
    for _ in range(3):
        load_frames(ASSETS / "moving.mp4")
    assert len(decoder._all) == 1
    counts: list[int] = []
    threads = [
        threading.Thread(target=lambda: counts.append(load_frames(ASSETS / "moving.mp4").total)) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts == [54] * 4


def test_a_process_that_hangs_is_ended_and_the_next_file_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    load_frames(ASSETS / "moving.mp4")
    (process, *_) = decoder._idle
    os.kill(process._child.pid, signal.SIGSTOP)
    monkeypatch.setattr(decoder, "SILENCE_LIMIT_S", 0.5)
    monkeypatch.setattr(decoder, "_idle", [process])
    with pytest.raises(MediaError, match=r"moving\.mp4 takes too long"):
        load_frames(ASSETS / "moving.mp4")
    monkeypatch.undo()
    assert load_frames(ASSETS / "moving.mp4").total == 54


def test_a_process_that_died_is_replaced() -> None:
    load_frames(ASSETS / "moving.mp4")
    for process in [*decoder._all]:
        process._child.kill()
        process._child.wait()
    assert load_frames(ASSETS / "moving.mp4").total == 54


def test_ending_the_processes_frees_the_thread_that_waits() -> None:
    load_frames(ASSETS / "moving.mp4")
    for process in [*decoder._all]:
        os.kill(process._child.pid, signal.SIGSTOP)
    errors: list[Exception] = []

    def read() -> None:
        try:
            load_frames(ASSETS / "moving.mp4")
        except MediaError as error:
            errors.append(error)

    thread = threading.Thread(target=read)
    thread.start()
    while not any(process.usable is False for process in decoder._all):
        time.sleep(0.01)
    decoder.end_decoders()
    thread.join(20)
    assert not thread.is_alive()
    assert len(errors) == 1


# Sounds


def test_channels_are_averaged_whatever_the_container() -> None:
    wav, mkv = (load_audio(MEDIA / f"stereo.{ending}", 16_000) for ending in ("wav", "mkv"))
    assert np.array_equal(wav, mkv)


def test_a_stream_without_a_length_is_read_to_its_end() -> None:
    assert len(load_audio(MEDIA / "real_streamed.flac", 16_000, max_s=200)) == 16_000


def test_a_header_without_its_samples_is_an_error() -> None:
    with pytest.raises(MediaError, match=r"real_moov_only\.m4a is damaged"):
        load_audio(MEDIA / "real_moov_only.m4a", 16_000)


@pytest.mark.parametrize("level", [np.nan, np.inf, 1e30])
def test_samples_that_are_no_sound_are_refused(tmp_path: Path, level: float) -> None:
    soundfile.write(tmp_path / "x.wav", np.array([0.0, level] * 800), 16_000, subtype="FLOAT")
    with pytest.raises(MediaError, match="NaN or infinite"):
        load_audio(tmp_path / "x.wav", 16_000)


def wav_with(tmp_path: Path, offset: int, value: bytes) -> Path:
    content = bytearray((MEDIA / "stereo.wav").read_bytes())
    content[offset : offset + len(value)] = value
    path = tmp_path / "x.wav"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(("offset", "value"), [(22, b"\0\0"), (22, b"\xff\xff"), (24, bytes(4)), (24, b"\xff" * 4)])
def test_odd_headers_are_errors_of_one_line(tmp_path: Path, offset: int, value: bytes) -> None:
    with pytest.raises(MediaError) as error:
        load_audio(wav_with(tmp_path, offset, value), 16_000)
    assert "\n" not in str(error.value)


def test_a_length_of_0_in_the_header_does_not_hide_the_samples(tmp_path: Path) -> None:
    place = (MEDIA / "stereo.wav").read_bytes().index(b"data") + 4
    samples = load_audio(wav_with(tmp_path, place, bytes(4)), 16_000)
    assert np.array_equal(samples, load_audio(MEDIA / "stereo.wav", 16_000))


def test_a_truncated_file_is_heard_as_far_as_it_goes(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "x.flac", np.random.default_rng(0).uniform(-0.5, 0.5, 48_000), 16_000)
    content = (tmp_path / "x.flac").read_bytes()
    (tmp_path / "x.flac").write_bytes(content[: len(content) // 2])
    assert 16_000 < len(load_audio(tmp_path / "x.flac", 16_000)) < 32_000


def test_hours_of_sound_are_refused_after_the_limit(tmp_path: Path) -> None:
    import av

    path = tmp_path / "x.m4a"
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for start in range(0, 8000 * 60, 1024):
            frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            frame.sample_rate, frame.pts = 8000, start
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    with pytest.raises(MediaError, match=r"lasts 60\.\d s, over the model's 5 s"):
        load_audio(path, 16_000, max_s=5)


@pytest.mark.parametrize(("codec", "rate_hz"), [("libopencore_amrnb", 8000), ("aac", 16_000)])
def test_sound_of_phones_is_heard_in_3gp(tmp_path: Path, codec: str, rate_hz: int) -> None:
    import av

    with av.open(str(tmp_path / "x.3gp"), "w") as container:
        stream = container.add_stream(codec, rate=rate_hz, layout="mono")
        tone = 0.5 * np.sin(2 * np.pi * 440 * np.arange(2 * rate_hz) / rate_hz)
        frame = av.AudioFrame.from_ndarray((tone * 32767).astype(np.int16)[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = rate_hz, 0
        resampler = av.AudioResampler(stream.format, "mono", rate_hz, frame_size=160 if codec != "aac" else 1024)
        for part in (*resampler.resample(frame), *resampler.resample(None)):
            container.mux(stream.encode(part))
        container.mux(stream.encode(None))
    samples = load_audio(tmp_path / "x.3gp", 16_000)
    assert len(samples) == pytest.approx(32_000, rel=0.07)
    assert samples.std() == pytest.approx(0.5 / 2**0.5, rel=0.2)
    assert np.abs(np.fft.rfft(samples)).argmax() * 16_000 / len(samples) == pytest.approx(440, abs=2)


def test_reading_from_many_threads_leaves_stderr_alone() -> None:
    before = os.fstat(2)
    threads = [threading.Thread(target=load_audio, args=(MEDIA / "stereo.mkv", 16_000)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert os.path.samestat(before, os.fstat(2))


# Pictures


def test_the_transparent_value_of_deep_grey_is_laid_on_white() -> None:
    image = load_image(MEDIA / "grey16_transparent.png")
    assert [image.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (127, 127, 127)]


@pytest.mark.parametrize("colour", [(1000, 2000, 3000), (512, 0, 0), (65535, 0, 0)])
def test_the_transparent_colour_of_a_deep_picture_is_laid_on_white(tmp_path: Path, colour: tuple[int, ...]) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    chunks = [
        chunk(b"IHDR", struct.pack(">IIBBBBB", 2, 1, 16, 2, 0, 0, 0)),
        chunk(b"tRNS", struct.pack(">3H", *colour)),
        chunk(b"IDAT", zlib.compress(b"\0" + struct.pack(">6H", *colour, 514, 514, 514))),
        chunk(b"IEND", b""),
    ]
    (tmp_path / "x.png").write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))
    image = load_image(tmp_path / "x.png")
    assert [image.getpixel((x, 0)) for x in range(2)] == [(255, 255, 255), (2, 2, 2)]


@pytest.mark.parametrize("pixel_format", [None, "DXT1", "DXT3", "DXT5"])
def test_dds_is_read(tmp_path: Path, pixel_format: str | None) -> None:
    more = {} if pixel_format is None else {"pixel_format": pixel_format}
    Image.new("RGBA", (8, 4), (200, 10, 20, 255)).save(tmp_path / "x.dds", **more)
    image = load_image(tmp_path / "x.dds")
    assert image.size == (8, 4)
    assert image.getpixel((0, 0)) == pytest.approx((200, 10, 20), abs=8)


def test_bad_metadata_are_not_worth_a_word() -> None:
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        assert load_image(MEDIA / "real_bad_exif.jpg").size == (64, 64)
    assert said == []


def test_an_unreadable_avif_is_an_error() -> None:
    with pytest.raises(MediaError, match=r"real_no_pitm\.avif is damaged"):
        load_image(MEDIA / "real_no_pitm.avif")


@pytest.mark.parametrize("content", [b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", b"%PDF-1.4\n"])
@pytest.mark.parametrize("name", ["x.eps", "x.png"])
def test_no_picture_starts_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, content: bytes, name: str
) -> None:
    (tmp_path / "gs").write_text(f"#!/bin/sh\ntouch {tmp_path}/started\n")
    (tmp_path / "gs").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    (tmp_path / name).write_bytes(content * 3)
    with pytest.raises(UnknownFormatError):
        load_image(tmp_path / name)
    assert not (tmp_path / "started").exists()


def test_heic_is_read(tmp_path: Path) -> None:
    import pillow_heif

    pillow_heif.from_pillow(Image.new("RGB", (64, 32), (255, 0, 0))).save(tmp_path / "x.jpg", quality=95)
    image = load_image(tmp_path / "x.jpg")
    assert image.size == (64, 32)
    assert image.getpixel((5, 5))[0] > 230


@pytest.mark.parametrize("form", ["tiff:Orientation='6'", 'tiff:Orientation="6"', "<tiff:Orientation>6</x>"])
def test_the_orientation_in_xmp_is_respected(tmp_path: Path, form: str) -> None:
    Image.new("RGB", (30, 10)).save(tmp_path / "x.jpg", xmp=f"<x:xmpmeta {form}>".encode())
    assert load_image(tmp_path / "x.jpg").size == (10, 30)


@pytest.mark.parametrize("ending", ["png", "tif", "webp"])
def test_the_orientation_in_xmp_is_respected_in_other_formats(tmp_path: Path, ending: str) -> None:
    xmp = b"<x:xmpmeta tiff:Orientation='6'/>"
    info = PngImagePlugin.PngInfo()
    info.add_itxt("XML:com.adobe.xmp", xmp.decode())
    more: dict[str, dict[str, object]] = {
        "png": {"pnginfo": info},
        "tif": {"tiffinfo": {700: xmp}},
        "webp": {"xmp": xmp},
    }
    Image.new("RGB", (30, 10)).save(tmp_path / f"x.{ending}", **more[ending])
    assert load_image(tmp_path / f"x.{ending}").size == (10, 30)


def test_a_bad_checksum_of_an_unimportant_chunk_is_forgiven(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    Image.new("RGB", (4, 4), (1, 2, 3)).save(path, dpi=(72, 72))
    content = bytearray(path.read_bytes())
    content[content.index(b"pHYs") + 4 + 9] ^= 0xFF
    path.write_bytes(content)
    assert load_image(path).getpixel((0, 0)) == (1, 2, 3)
    content[content.index(b"IDAT") + 5] ^= 0xFF
    path.write_bytes(content)
    with pytest.raises(MediaError, match="damaged"):
        load_image(path)


# All of them


def test_mutated_files_cause_nothing_but_errors_of_one_line() -> None:
    command = [sys.executable, "-m", "tools.fuzz_media", "--count", "57", "--seed", "7"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout == "57 files read, 0 complaints\n"
