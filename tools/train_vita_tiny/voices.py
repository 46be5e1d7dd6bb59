"""Synthesized speech of many speakers, by espeak-ng: mono samples at 16 kHz.

Knows who speaks and how; what is said and where belongs to the questions and to the sounds.
"""

import re
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context

import numpy as np
from numpy.typing import NDArray

from tools.train_vita_tiny.espeak import MISSING, VOLUME, Espeak
from vita_demo.errors import VitaDemoError

Samples = NDArray[np.float32]

SAMPLE_RATE_HZ = 16000

# Names of voice files: "en" is the British voice, whose language "en-gb" would sound the same with every variant.
ACCENTS = {
    "en": (
        "en-us",
        "en-us-nyc",
        "en",
        "en-gb-x-rp",
        "en-gb-scotland",
        "en-gb-x-gbclan",
        "en-gb-x-gbcwmd",
        "en-029",
    ),
    "zh": ("cmn-Latn-pinyin",),
}

# Variants of espeak-ng 1.51.  Left out: whisper, whisperf, announcer and Demonic, whose voiced frames are hardly
# periodic (autocorrelation 0.3 to 0.6, the others 0.7 to 1); steph, steph2, steph3, anika, anikaRobot and robosoft5,
# nearly pure tones (spectral centroid under 320 Hz); croak, grandpa, robots, RicishayMax and Tweaky, odd by intent;
# Jacky, antonio and iven, which clip; klatt to klatt6, benjamin, caleb, iven3, iven4, fast and Mr serious, whose level
# and spectrum are much like another's.
TRAINING_SPEAKERS = (
    *("f1", "f2", "f4", "f5", "Alicia", "aunty", "belinda", "grandma", "shelby", "zac"),
    *("m1", "m2", "m3", "m4", "m6", "m7", "Alex", "AnxiousAndy", "Denis", "Diogo", "Henrique", "Hugo"),
    *("Marco", "Mario", "Michael", "Mike", "Storm", "adam", "boris", "david", "ed", "edward"),
    *("edward2", "gustave", "iven2", "john", "kaukovalta", "marcelo", "max", "michel", "miguel", "norbert"),
    *("pedro", "rob", "sandro", "travis", "victor"),
)
HELD_OUT_SPEAKERS = (
    *("f3", "linda", "Andrea", "Annie"),
    *("m5", "m8", "Andy", "Gene", "Gene2", "Lee", "Nguyen", "pablo", "paul", "quincy", "robert"),
)

_WAV_HEADER_BYTES = 44
_NO_TONE = re.compile(r"[ˈˌ\d]|ɜ$|\(\w+\)")
_SILENCE = 0.002


@dataclass(frozen=True)
class Voice:
    """One way to speak: espeak-ng's voice and variant ("en-us+f3"), words a minute, and pitch from 0 to 99."""

    name: str
    speed_wpm: int
    pitch: int


def random_voice(rng: np.random.Generator, speakers: Sequence[str], language: str = "en") -> Voice:
    """Draw a speaker, an accent of ``language`` ("en" or "zh"), a speed and a pitch.

    Raises:
        VitaDemoError: when there is no accent of that language.
    """
    if language not in ACCENTS:
        raise VitaDemoError(f"no voices for language {language!r}; give one of {', '.join(ACCENTS)}")
    accents = ACCENTS[language]
    accent, speaker = accents[int(rng.integers(len(accents)))], speakers[int(rng.integers(len(speakers)))]
    return Voice(f"{accent}+{speaker}", int(rng.integers(120, 201)), int(rng.integers(20, 81)))


def pronounced(text: str) -> str:
    """Write Chinese in pinyin: espeak-ng ships without a dictionary of its characters and would name them."""
    if not is_chinese(text):
        return text
    from pypinyin import Style, lazy_pinyin

    return " ".join(lazy_pinyin(text, style=Style.TONE3, neutral_tone_with_five=True))


def is_chinese(text: str) -> bool:
    """Say whether there are Chinese characters in ``text``."""
    return any("\u4e00" <= character <= "\u9fff" for character in text)


def phonemes(text: str) -> tuple[str, ...]:
    """Return the phonemes of a text as an American, or a Mandarin, speaker says them, without stress and tone."""
    if not text:
        return ()
    voice = "cmn-latn-pinyin" if is_chinese(text) else "en-us"
    options = ["-q", "--ipa", "--sep=_", "-v", voice, "--", pronounced(text)]
    written = subprocess.run(["espeak-ng", *options], capture_output=True, check=True).stdout.decode()
    return tuple(phoneme for part in re.split(r"[_\s]+", written) if (phoneme := _NO_TONE.sub("", part)))


def speak(text: str, voice: Voice) -> Samples:
    """Say ``text``, less the silence around it.

    Returns:
        float32 array [n] in -1 … 1 at 16 kHz.

    Raises:
        VitaDemoError: when espeak-ng is not installed, or has no such voice, or has nothing to say.
    """
    options = ["-v", voice.name, "-s", str(voice.speed_wpm), "-p", str(voice.pitch), "-a", str(VOLUME), "-b", "1"]
    try:
        run = subprocess.run(["espeak-ng", *options, "--stdout", "--", text], capture_output=True, check=True)
    except FileNotFoundError as error:
        raise VitaDemoError(MISSING) from error
    except subprocess.CalledProcessError as error:
        raise VitaDemoError(f"espeak-ng has no voice {voice.name}; see espeak-ng --voices") from error
    rate_hz = int.from_bytes(run.stdout[24:28], "little")
    return _samples(run.stdout[_WAV_HEADER_BYTES:], rate_hz, text)


def speak_many(items: Sequence[tuple[str, Voice]], processes: int = 2) -> list[Samples]:
    """Say many texts at once, several times faster than ``speak``; in English equal to it, sample by sample.

    Raises:
        VitaDemoError: as ``speak``.
    """
    # Spawned, because each utterance forks: a fork of this process would copy the page tables of all it has loaded.
    with get_context("spawn").Pool(processes, _load) as pool:
        return pool.map(_speak, items, chunksize=max(1, min(64, len(items) // (4 * processes))))


_espeak: list[Espeak | VitaDemoError] = []


def _load() -> None:
    # An error in a pool's initializer would start workers for ever, so it waits for the first text.
    try:
        _espeak.append(Espeak())
    except VitaDemoError as error:
        _espeak.append(error)


def _speak(item: tuple[str, Voice]) -> Samples:
    espeak = _espeak[0]
    if isinstance(espeak, VitaDemoError):
        raise espeak
    text, voice = item
    return _samples(espeak.pure_pcm(pronounced(text), voice.name, voice.speed_wpm, voice.pitch), espeak.rate_hz, text)


def _samples(pcm: bytes, rate_hz: int, text: str) -> Samples:
    import soxr

    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768  # [n]
    loud = np.flatnonzero(np.abs(samples) > _SILENCE)
    if not len(loud):
        raise VitaDemoError(f"espeak-ng has nothing to say for {text!r}; give it words")
    spoken: Samples = soxr.resample(samples[loud[0] : loud[-1] + 1], rate_hz, SAMPLE_RATE_HZ, quality="soxr_hq")
    return np.clip(spoken, -1, 1)
