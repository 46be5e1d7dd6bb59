"""The speech and the sounds that the miniature is trained on."""

import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from tools.train_vita_tiny import recordings, side_talk, voices
from tools.train_vita_tiny.festival import FESTIVAL_VOICES, speak_festival
from tools.train_vita_tiny.layout import RELEASED_SETTINGS
from tools.train_vita_tiny.queries import Query
from tools.train_vita_tiny.recordings import Archive
from tools.train_vita_tiny.sounds import FAMILIES, HELD_OUT_FAMILIES, add_room, noisy, random_noise_sound, varied
from tools.train_vita_tiny.voices import (
    FLITE_SPEAKERS,
    HELD_OUT_SPEAKERS,
    TRAINING_SPEAKERS,
    Voice,
    random_voice,
    speak,
    speak_many,
)
from vita_demo.checkpoint.config import AudioConfig
from vita_demo.errors import VitaDemoError

needs_espeak = pytest.mark.skipif(shutil.which("espeak-ng") is None, reason="espeak-ng is not installed")


@pytest.fixture(scope="module")
def speech() -> np.ndarray:
    times_s = np.arange(24000) / 16000
    return (0.3 * np.sin(2 * np.pi * 220 * times_s) * np.sin(2 * np.pi * 3 * times_s)).astype(np.float32)


@pytest.mark.parametrize("family", [*FAMILIES, *HELD_OUT_FAMILIES])
def test_each_family_is_sound_within_scale_and_the_same_for_a_seed(family: str, speech: np.ndarray) -> None:
    for seed in range(8):
        sound = random_noise_sound(np.random.default_rng(seed), [speech], [family])
        assert np.array_equal(sound, random_noise_sound(np.random.default_rng(seed), [speech], [family]))
        assert sound.dtype == np.float32
        assert 0.8 * 16000 - 1 <= len(sound) <= 4 * 16000
        assert np.isfinite(sound).all()
        level_db = 20 * np.log10(np.sqrt(np.mean(sound**2)))
        assert (-76 < level_db < -49) if family == "near silence" else (-36 < level_db < -7)
        assert np.abs(sound).max() <= 1


def test_held_out_families_are_none_of_training() -> None:
    assert len(HELD_OUT_FAMILIES) == 2
    assert not set(HELD_OUT_FAMILIES) & set(FAMILIES)


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 30.0])
def test_noise_is_as_loud_as_asked(snr_db: float, speech: np.ndarray) -> None:
    for seed in range(8):
        heard = noisy(speech, np.random.default_rng(seed), snr_db)
        assert np.abs(heard).max() <= 1
        gain = (heard @ speech) / (speech @ speech)
        noise = heard - gain * speech
        measured_db = 10 * np.log10(gain**2 * np.mean(speech**2) / np.mean(noise**2))
        assert measured_db == pytest.approx(snr_db, abs=1)


def test_a_room_keeps_the_speech_within_scale(speech: np.ndarray) -> None:
    heard = [add_room(speech, np.random.default_rng(seed)) for seed in range(30)]
    assert np.array_equal(heard[3], add_room(speech, np.random.default_rng(3)))
    assert all(len(speech) <= len(each) <= len(speech) + 1.4 * 16000 for each in heard)
    levels_db = [20 * np.log10(np.sqrt(np.mean(each**2))) for each in heard]
    assert -31 < min(levels_db) < -20 < max(levels_db) < -9
    assert all(np.isfinite(each).all() and np.abs(each).max() <= 1 for each in heard)


def test_other_throats_and_lines_keep_the_speech_within_scale(speech: np.ndarray) -> None:
    heard = [varied(speech, np.random.default_rng(seed)) for seed in range(40)]
    assert np.array_equal(heard[3], varied(speech, np.random.default_rng(3)))
    lengths = [len(each) / len(speech) for each in heard]
    assert 0.8 < min(lengths) < 0.95 < 1.05 < max(lengths) < 1.25
    assert all(np.isfinite(each).all() and np.abs(each).max() <= 1 for each in heard)
    assert all(each.dtype == np.float32 for each in heard)


def test_speakers_of_flite_speak_english_beside_those_of_espeak() -> None:
    drawn = [random_voice(np.random.default_rng(seed), (*TRAINING_SPEAKERS, *FLITE_SPEAKERS)) for seed in range(400)]
    flite = [voice.name for voice in drawn if voice.name in FLITE_SPEAKERS]
    assert set(flite) == set(FLITE_SPEAKERS)
    assert 0.35 < len(flite) / len(drawn) < 0.55
    chinese = [
        random_voice(np.random.default_rng(seed), (*TRAINING_SPEAKERS, *FLITE_SPEAKERS), "zh") for seed in range(50)
    ]
    assert not {voice.name for voice in chinese} & set(FLITE_SPEAKERS)


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_flite_says_a_text_at_the_speed_asked_for() -> None:
    slow, fast = (speak("where is the green star", Voice("flite/rms", speed, 50)) for speed in (120, 200))
    assert 1.4 < len(slow) / len(fast) < 1.9
    assert not np.array_equal(slow[:8000], speak("where is the green star", Voice("flite/slt", 120, 50))[:8000])
    with pytest.raises(VitaDemoError, match="nobody"):
        speak("hello", Voice("flite/nobody", 150, 50))


@pytest.mark.skipif(shutil.which("festival") is None, reason="festival is not installed")
def test_festival_says_each_text_in_its_voice() -> None:
    said = speak_festival([("where is the star", voice) for voice in FESTIVAL_VOICES])
    assert len({samples.tobytes() for samples in said}) == len(FESTIVAL_VOICES)
    assert all(0.5 < len(samples) / 16000 < 3 and np.abs(samples).max() > 0.05 for samples in said)
    with pytest.raises(VitaDemoError, match="festival"):
        speak_festival([("hello", "nobody")])


def test_held_out_speakers_are_none_of_training() -> None:
    assert len(set(HELD_OUT_SPEAKERS)) == len(HELD_OUT_SPEAKERS) >= 12
    assert not set(HELD_OUT_SPEAKERS) & set(TRAINING_SPEAKERS)
    drawn = [random_voice(np.random.default_rng(seed), HELD_OUT_SPEAKERS) for seed in range(200)]
    assert {voice.name.partition("+")[2] for voice in drawn} == set(HELD_OUT_SPEAKERS)
    assert all(120 <= voice.speed_wpm <= 200 and 20 <= voice.pitch <= 80 for voice in drawn)
    assert drawn[7] == random_voice(np.random.default_rng(7), HELD_OUT_SPEAKERS)


def test_held_out_side_talk_is_none_of_training() -> None:
    training, held_out = side_talk.ENGLISH + side_talk.CHINESE, side_talk.HELD_OUT_ENGLISH + side_talk.HELD_OUT_CHINESE
    assert len(set(training + held_out)) == len(training) + len(held_out) == 90


def test_a_language_without_voices_is_named() -> None:
    with pytest.raises(VitaDemoError, match="'fr'"):
        random_voice(np.random.default_rng(0), TRAINING_SPEAKERS, "fr")


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(VitaDemoError, match="espeak-ng is not installed"):
        speak("hello", Voice("en-us+f2", 150, 50))


@needs_espeak
def test_many_are_spoken_as_one_is() -> None:
    rng = np.random.default_rng(0)
    items = [("which way does the circle move", random_voice(rng, HELD_OUT_SPEAKERS)) for _ in range(6)]
    items += [("图里有几个圆形", random_voice(rng, TRAINING_SPEAKERS, "zh"))]
    spoken = speak_many(items)
    assert len(spoken) == len(items)
    for samples, item in zip(spoken, items, strict=True):
        alone = speak(*item)
        # In Mandarin the library and the program differ by some hundredths of a second.
        assert np.array_equal(samples, alone) or (item == items[-1] and abs(len(samples) - len(alone)) < 1600)
        assert samples.dtype == np.float32
        assert 0.8 < len(samples) / voices.SAMPLE_RATE_HZ < 5
        assert 0.01 < np.sqrt(np.mean(samples**2)) < 0.5
        assert np.abs(samples).max() < 1


@needs_espeak
@pytest.mark.parametrize("accent", [accent for accents in voices.ACCENTS.values() for accent in accents])
def test_each_accent_has_the_speakers_own_voice(accent: str) -> None:
    spoken = [speak("hello", Voice(f"{accent}+{speaker}", 150, 50)) for speaker in ("f2", "m3", "zac")]
    assert len({samples.tobytes() for samples in spoken}) == 3


@needs_espeak
def test_a_voice_that_does_not_exist_is_named() -> None:
    with pytest.raises(VitaDemoError, match="nobody"):
        speak("hello", Voice("nobody+f2", 150, 50))
    with pytest.raises(VitaDemoError, match="nobody"):
        speak_many([("hello", Voice("nobody+f2", 150, 50))], processes=1)


@needs_espeak
@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
def test_an_interrupted_session_goes_on_and_records_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = AudioConfig.from_folder(RELEASED_SETTINGS / "audio-encoder")
    session = recordings.Session(seed=3, english=0, chinese=0, noises=4)
    plan = [(Query("count"), "How many?"), (Query("hello"), "Hello!"), (None, "it snowed")]
    monkeypatch.setattr(recordings, "plan_recordings", lambda *_: plan)
    monkeypatch.setattr(recordings, "_PART", 2)
    monkeypatch.setattr(recordings, "ProcessPoolExecutor", lambda *_: ThreadPoolExecutor(1))
    monkeypatch.setattr(recordings, "speak_here", lambda items: [TONE[: 9000 + 900 * len(text)] for text, _ in items])
    kept: list[str] = []
    monkeypatch.setattr(recordings.shutil, "rmtree", lambda path: kept.extend(p.name for p in path.iterdir()))
    recordings.record(tmp_path, config, session)
    first = Archive.open(tmp_path)
    assert sorted(kept) == ["noise 0", "noise 2", "said 0", "said 2"]
    assert [recording.text for recording in first.recordings] == ["How many?", "Hello!", "it snowed", "", "", "", ""]
    assert all(recording.count % recordings.FRAME_STEP == 0 for recording in first.recordings)
    assert first.recordings[0].phonemes
    monkeypatch.setattr(recordings, "speak_here", lambda _: pytest.fail("was recorded before"))
    before = np.array(first.frames)
    recordings.record(tmp_path, config, session)
    assert np.array_equal(before, Archive.open(tmp_path).frames)


TONE = (0.3 * np.sin(np.arange(48000) / 9)).astype(np.float32)
