"""Synthesized speech of many speakers, by espeak-ng and flite: mono samples at 16 kHz.

Knows who speaks and how; what is said and where belongs to the questions and to the sounds.  A third synthesizer,
festival, is left to the exam.
"""

import re
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

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

FLITE = "flite/"
FLITE_SPEAKERS = tuple(FLITE + name for name in ("awb", "kal", "kal16", "rms", "slt"))
FLITE_MISSING = "flite is not installed; the speech to train on needs it: apt-get install flite"
# Of the English speech.
_FLITE_SHARE = 0.45
_FLITE_WPM = 165  # about how fast its speakers are when nothing is stretched

_WAV_HEADER_BYTES = 44
_NO_TONE = re.compile(r"[ˈˌ\d]|ɜ$|\(\w+\)")
_SILENCE = 0.002


@dataclass(frozen=True)
class Voice:
    """One way to speak.

    Attributes:
        name: espeak-ng's voice and variant ("en-us+f3"), or flite's speaker ("flite/rms").
        speed_wpm: words a minute.
        pitch: espeak-ng's, from 0 to 99.
    """

    name: str
    speed_wpm: int
    pitch: int


def random_voice(rng: np.random.Generator, speakers: Sequence[str], language: str = "en") -> Voice:
    """Draw a speaker, an accent of ``language`` ("en" or "zh"), a speed and a pitch.

    Speakers of flite, which have accents of their own and no Chinese, are drawn in a fixed share where there are some.

    Raises:
        VitaDemoError: when there is no accent of that language.
    """
    if language not in ACCENTS:
        raise VitaDemoError(f"no voices for language {language!r}; give one of {', '.join(ACCENTS)}")
    flite = [speaker for speaker in speakers if speaker.startswith(FLITE)]
    speakers = [speaker for speaker in speakers if not speaker.startswith(FLITE)]
    speed_wpm, pitch = int(rng.integers(120, 201)), int(rng.integers(20, 81))
    if flite and language == "en" and (rng.random() < _FLITE_SHARE or not speakers):
        return Voice(flite[int(rng.integers(len(flite)))], speed_wpm, pitch)
    accents = ACCENTS[language]
    accent, speaker = accents[int(rng.integers(len(accents)))], speakers[int(rng.integers(len(speakers)))]
    return Voice(f"{accent}+{speaker}", speed_wpm, pitch)


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
        VitaDemoError: when the synthesizer is not installed, or has no such voice, or has nothing to say.
    """
    if voice.name.startswith(FLITE):
        return _speak_flite(text, voice)
    options = ["-v", voice.name, "-s", str(voice.speed_wpm), "-p", str(voice.pitch), "-a", str(VOLUME), "-b", "1"]
    try:
        run = subprocess.run(["espeak-ng", *options, "--stdout", "--", text], capture_output=True, check=True)
    except FileNotFoundError as error:
        raise VitaDemoError(MISSING) from error
    except subprocess.CalledProcessError as error:
        raise VitaDemoError(f"espeak-ng has no voice {voice.name}; see espeak-ng --voices") from error
    rate_hz = int.from_bytes(run.stdout[24:28], "little")
    return _samples(run.stdout[_WAV_HEADER_BYTES:], rate_hz, text)


def _speak_flite(text: str, voice: Voice) -> Samples:
    # A voice that it does not have flite says in another, without a word.
    if voice.name not in FLITE_SPEAKERS:
        raise VitaDemoError(f"flite has no voice {voice.name.removeprefix(FLITE)}; see flite -lv")
    stretch = ["--setf", f"duration_stretch={_FLITE_WPM / voice.speed_wpm:.3f}"]
    with tempfile.NamedTemporaryFile(suffix=".wav") as file:
        options = ["-voice", voice.name.removeprefix(FLITE), *stretch, "-t", text, "-o", file.name]
        try:
            subprocess.run(["flite", *options], capture_output=True, check=True)
        except FileNotFoundError as error:
            raise VitaDemoError(FLITE_MISSING) from error
        wav = Path(file.name).read_bytes()
    return _samples(wav[_WAV_HEADER_BYTES:], int.from_bytes(wav[24:28], "little"), text)


def speak_many(items: Sequence[tuple[str, Voice]], processes: int = 2) -> list[Samples]:
    """Say many texts at once, several times faster than ``speak``; in English equal to it, sample by sample.

    Raises:
        VitaDemoError: as ``speak``.
    """
    # Spawned, because each utterance forks: a fork of this process would copy the page tables of all it has loaded.
    with get_context("spawn").Pool(processes, _load) as pool:
        return pool.map(_speak, items, chunksize=max(1, min(64, len(items) // (4 * processes))))


def speak_here(items: Sequence[tuple[str, Voice]]) -> list[Samples]:
    """Say many texts in this process, which should have loaded little: see ``speak_many``.

    Raises:
        VitaDemoError: as ``speak``.
    """
    if not _espeak:
        _load()
    return [_speak(item) for item in items]


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
    if voice.name.startswith(FLITE):
        return _speak_flite(text, voice)
    return _samples(espeak.pure_pcm(pronounced(text), voice.name, voice.speed_wpm, voice.pitch), espeak.rate_hz, text)


def _samples(pcm: bytes, rate_hz: int, text: str) -> Samples:
    import soxr

    samples = np.frombuffer(pcm, "<i2").astype(np.float32) / 32768  # [n]
    loud = np.flatnonzero(np.abs(samples) > _SILENCE)
    if not len(loud):
        raise VitaDemoError(f"there is nothing to say for {text!r}; give it words")
    spoken: Samples = soxr.resample(samples[loud[0] : loud[-1] + 1], rate_hz, SAMPLE_RATE_HZ, quality="soxr_hq")
    return np.clip(spoken, -1, 1)
