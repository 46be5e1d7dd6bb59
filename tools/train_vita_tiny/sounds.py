"""Rooms that speech is heard in, and sounds that are no speech: mono float32 samples at 16 kHz.

Every sound follows from the random generator it is given.
"""

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]
Floats = NDArray[np.floating]

SAMPLE_RATE_HZ = 16000

_PEAK = 0.98


def add_room(samples: Samples, rng: np.random.Generator) -> Samples:
    """Put speech into a random room: pauses, echo, colour and mostly some noise, at a random level.

    Returns:
        float32 array [m], m ≥ n, at -30 to -10 dB of full scale (less where its peaks would clip).
    """
    lead_in, lead_out = rng.integers(0, int(0.4 * SAMPLE_RATE_HZ), size=2)
    heard = np.pad(samples, (lead_in, lead_out))  # [m]
    if rng.random() < 0.6:
        heard = _reverberate(heard, rng)
    heard = _tilt(heard, rng)
    if rng.random() < 0.75:
        heard = noisy(heard, rng, float(rng.uniform(5, 30)))
    return _at_level(heard, float(rng.uniform(-30, -10)))


def varied(samples: Samples, rng: np.random.Generator) -> Samples:
    """Let another throat say it, and another line carry it: each with some probability.

    Played faster or slower, speech is higher or lower and its formants move along; a telephone passes 300 to 3400 Hz;
    a cheap microphone cuts peaks off.

    Returns:
        float32 array [m] in -1 … 1.
    """
    heard: Floats = samples
    if rng.random() < 0.6:
        heard = _resampled(heard, float(rng.uniform(0.82, 1.22)))
    chance = rng.random()
    if chance < 0.1:
        low_hz, high_hz = float(rng.uniform(200, 400)), float(rng.uniform(3000, 3800))
        heard = _filtered(heard, lambda hz: 1 / (1 + (low_hz / np.maximum(hz, 1)) ** 4) / (1 + (hz / high_hz) ** 12))
    elif chance < 0.25:
        middle_hz, width_hz, gain = rng.uniform(200, 5000), rng.uniform(0.2, 0.8), rng.uniform(-0.7, 2.5)
        heard = _filtered(
            heard, lambda hz: 1 + gain * np.exp(-((np.log(np.maximum(hz, 20) / middle_hz) / width_hz) ** 2))
        )
    if rng.random() < 0.08:
        limit = float(rng.uniform(0.15, 0.6)) * float(np.abs(heard).max(initial=1e-9))
        heard = np.clip(heard, -limit, limit)
    return _within_scale(heard)


def _resampled(samples: Floats, speed: float) -> Floats:
    """Play ``speed`` times as fast."""
    import soxr

    resampled: Floats = soxr.resample(samples, SAMPLE_RATE_HZ, SAMPLE_RATE_HZ / speed, quality="soxr_mq")
    return resampled


def noisy(samples: Floats, rng: np.random.Generator, snr_db: float) -> Samples:
    """Add white, pink or brown noise or mains hum, ``snr_db`` below the speech in mean power.

    Both are turned down together where the sum would clip.
    """
    noise = _MURMURS[int(rng.integers(len(_MURMURS)))](len(samples), rng)  # [n]
    noise = noise * (_rms(samples) / _rms(noise) * 10 ** (-snr_db / 20))
    return _within_scale(samples + noise)


def random_noise_sound(
    rng: np.random.Generator, babble: Sequence[Samples], families: Sequence[str] | None = None
) -> Samples:
    """Draw a sound that is no question, of one of ``families`` (those of training when none are given).

    Returns:
        float32 array [n] of 0.8 to 4 s, -35 to -8 dB of full scale (near silence: -75 to -50).
    """
    chosen = tuple(FAMILIES if families is None else families)
    family = chosen[int(rng.integers(len(chosen)))]
    count = int(rng.uniform(0.8, 4.0) * SAMPLE_RATE_HZ)
    sound = _babble(count, rng, babble) if family == "babble" else _MAKERS[family](count, rng)
    level_db = rng.uniform(-75, -50) if family == "near silence" else rng.uniform(-35, -8)
    return _at_level(sound, float(level_db))


def _rms(samples: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) + 1e-9


def _within_scale(samples: Floats) -> Samples:
    peak = float(np.abs(samples).max(initial=0.0))
    return (samples * min(1.0, _PEAK / max(peak, 1e-9))).astype(np.float32)


def _at_level(samples: Floats, level_db: float) -> Samples:
    return _within_scale(samples * (10 ** (level_db / 20) / _rms(samples)))


def _fast_size(count: int) -> int:
    """Power of two from ``count`` up: a transform of another size can take ten times as long."""
    return 1 << (count - 1).bit_length()


def _filtered(samples: Floats, gain: Callable[[Floats], Floats]) -> Floats:
    size = _fast_size(len(samples))
    spectrum = np.fft.rfft(samples, size)  # [size / 2 + 1]
    frequencies_hz = np.fft.rfftfreq(size, 1 / SAMPLE_RATE_HZ)
    filtered: Floats = np.fft.irfft(spectrum * gain(frequencies_hz), size)[: len(samples)]  # [n]
    return filtered


def _reverberate(samples: Floats, rng: np.random.Generator) -> Floats:
    decay_s = float(rng.uniform(0.05, 0.3))
    times_s = np.arange(int(2 * decay_s * SAMPLE_RATE_HZ)) / SAMPLE_RATE_HZ
    tail = rng.standard_normal(len(times_s)) * np.exp(-6.9 * times_s / decay_s)  # 60 dB down after decay_s
    tail *= rng.uniform(0.1, 0.5) / np.linalg.norm(tail)
    tail[0] = 1.0
    count = len(samples) + len(tail) - 1
    size = _fast_size(count)
    echoed: Floats = np.fft.irfft(np.fft.rfft(samples, size) * np.fft.rfft(tail, size), size)[:count]  # [n + tail - 1]
    return echoed


def _tilt(samples: Floats, rng: np.random.Generator) -> Floats:
    db_per_octave = float(rng.uniform(-2, 2))
    return _filtered(samples, lambda hz: (np.maximum(hz, 60) / 1000) ** (db_per_octave / 6.02))


def _coloured(count: int, rng: np.random.Generator, exponent: float) -> Floats:
    return _filtered(rng.standard_normal(count), lambda hz: np.maximum(hz, 20) ** -exponent)


def _white(count: int, rng: np.random.Generator) -> Floats:
    return rng.standard_normal(count)


def _pink(count: int, rng: np.random.Generator) -> Floats:
    return _coloured(count, rng, 0.5)


def _brown(count: int, rng: np.random.Generator) -> Floats:
    return _coloured(count, rng, 1.0)


def _tone(frequency_hz: float | Floats, count: int, rng: np.random.Generator, harmonics: int) -> Floats:
    cycles = np.cumsum(np.broadcast_to(frequency_hz, count)) / SAMPLE_RATE_HZ  # [n]
    weights = rng.uniform(0.3, 1.0, harmonics) / np.arange(1, harmonics + 1)
    waves = [w * np.sin(2 * np.pi * k * cycles) for k, w in enumerate(weights, start=1)]
    tone: Floats = np.sum(waves, axis=0)  # [n]
    return tone


def _hum(count: int, rng: np.random.Generator) -> Floats:
    mains_hz = float(rng.choice([50.0, 60.0, 100.0, 120.0]))
    return _tone(mains_hz, count, rng, 8) + 0.02 * rng.standard_normal(count)


def _slow(count: int, rng: np.random.Generator, per_second: float) -> Floats:
    """Random curve in 0 … 1 with about ``per_second`` turns."""
    knots = rng.random(max(3, int(count / SAMPLE_RATE_HZ * per_second) + 2))
    curve: Floats = np.interp(np.linspace(0, len(knots) - 1, count), np.arange(len(knots)), knots)  # [n]
    return curve


def _wind(count: int, rng: np.random.Generator) -> Floats:
    exponent = float(rng.uniform(0.6, 1.1))
    return _coloured(count, rng, exponent) * _slow(count, rng, float(rng.uniform(1, 4))) ** 2


def _knocks(count: int, rng: np.random.Generator) -> Floats:
    sound = 1e-3 * rng.standard_normal(count)
    decay_s, pitch_hz = rng.uniform(0.002, 0.04), float(rng.uniform(150, 3000))
    size = min(count, int(6 * decay_s * SAMPLE_RATE_HZ))
    fade = np.exp(-np.arange(size) / (decay_s * SAMPLE_RATE_HZ))
    for start in rng.integers(0, count - size + 1, size=rng.integers(2, 14)):
        hit = rng.standard_normal(size) + 2 * _tone(pitch_hz, size, rng, 2)
        sound[start : start + size] += rng.uniform(0.4, 1.0) * fade * hit
    return sound


def _engine(count: int, rng: np.random.Generator) -> Floats:
    turning_hz = rng.uniform(25, 110) * (0.8 + 0.4 * _slow(count, rng, 1.0))  # [n]
    return _tone(turning_hz, count, rng, 20) + rng.uniform(0.1, 0.6) * _pink(count, rng) * 8


def _notes(count: int, rng: np.random.Generator, voices: int) -> Floats:
    sound = np.zeros(count)
    root_hz, harmonics = float(rng.uniform(130, 520)), int(rng.integers(1, 7))
    scale = np.array([0, 2, 4, 5, 7, 9, 11, 12])
    start = 0
    while start < count:
        size = min(count - start, int(rng.uniform(0.12, 0.7) * SAMPLE_RATE_HZ))
        times_s = np.arange(size) / SAMPLE_RATE_HZ
        envelope = np.minimum(1, times_s / 0.01) * np.exp(-times_s * rng.uniform(1, 6))
        for step in rng.choice(scale, size=voices, replace=False):
            sound[start : start + size] += envelope * _tone(root_hz * 2 ** (step / 12), size, rng, harmonics)
        start += size
    return sound


def _melody(count: int, rng: np.random.Generator) -> Floats:
    return _notes(count, rng, 1)


def _chords(count: int, rng: np.random.Generator) -> Floats:
    return _notes(count, rng, int(rng.integers(2, 5)))


def _siren(count: int, rng: np.random.Generator) -> Floats:
    phase = 2 * np.pi * rng.uniform(0.3, 3.0) * np.arange(count) / SAMPLE_RATE_HZ
    return _tone(rng.uniform(500, 1500) * (1 + rng.uniform(0.1, 0.5) * np.sin(phase)), count, rng, 3)


def _chirps(count: int, rng: np.random.Generator) -> Floats:
    size = int(rng.uniform(0.05, 0.4) * SAMPLE_RATE_HZ)
    from_hz, to_hz = (float(hz) for hz in rng.uniform(300, 4000, size=2))
    once = _tone(np.linspace(from_hz, to_hz, size), size, rng, 1) * np.hanning(size)
    gap = np.zeros(int(rng.uniform(0.02, 0.3) * SAMPLE_RATE_HZ))
    return np.resize(np.concatenate([once, gap]), count) + 1e-3 * rng.standard_normal(count)


def _beeps(count: int, rng: np.random.Generator) -> Floats:
    """Telephones and machines: one or two steady tones, on and off."""
    pair = _tone(float(rng.uniform(350, 2500)), count, rng, 2) + rng.integers(2) * _tone(
        float(rng.uniform(350, 2500)), count, rng, 1
    )
    period_s, share = rng.uniform(0.1, 1.2), rng.uniform(0.2, 0.8)
    on = np.arange(count) / SAMPLE_RATE_HZ % period_s < share * period_s  # [n]
    return pair * on + 1e-3 * rng.standard_normal(count)


def _buzz(count: int, rng: np.random.Generator) -> Floats:
    """Insects and motors: many harmonics of a wandering pitch, coloured by one resonance that stays where it is."""
    pitch_hz = float(rng.uniform(45, 400)) * (0.9 + 0.2 * _slow(count, rng, float(rng.uniform(0.5, 6))))  # [n]
    middle_hz, width_hz = rng.uniform(200, 3000), rng.uniform(100, 1500)
    sound = _tone(pitch_hz, count, rng, 16)
    return _filtered(sound, lambda hz: 0.05 + np.exp(-(((hz - middle_hz) / width_hz) ** 2)))


def _rain(count: int, rng: np.random.Generator) -> Floats:
    """Rain, fire and paper: very many short clicks, coloured."""
    clicks = rng.standard_normal(count) * (rng.random(count) < 10 ** rng.uniform(-2.5, -1))
    middle_hz = rng.uniform(500, 5000)
    return _filtered(clicks, lambda hz: 1 / (1 + ((hz - middle_hz) / 1500) ** 2)) + 1e-3 * rng.standard_normal(count)


def _warble(count: int, rng: np.random.Generator) -> Floats:
    """Birds and whistling: a tone whose pitch and loudness wander quickly."""
    turns = float(rng.uniform(3, 25))
    pitch_hz = rng.uniform(500, 2500) * (1 + rng.uniform(0.1, 0.8) * _slow(count, rng, turns))  # [n]
    return _tone(pitch_hz, count, rng, int(rng.integers(1, 4))) * _slow(count, rng, turns / 2) ** 2


def _mixture(count: int, rng: np.random.Generator) -> Floats:
    """Two of the others at once."""
    makers = [maker for name, maker in _MAKERS.items() if name in FAMILIES and name not in ("mixture", "babble")]
    first, second = (makers[int(i)](count, rng) for i in rng.integers(len(makers), size=2))
    return first / _rms(first) + rng.uniform(0.2, 1.0) * second / _rms(second)


def _babble(count: int, rng: np.random.Generator, babble: Sequence[Samples]) -> Floats:
    if not babble:
        return _pink(count, rng)
    sound = np.zeros(count)
    for _ in range(int(rng.integers(3, 7))):
        said = babble[int(rng.integers(len(babble)))]
        said = said[::-1] if rng.random() < 0.4 else said
        said = np.roll(np.resize(said, count), int(rng.integers(count)))  # [n]
        sound += rng.uniform(0.6, 1.0) * said / _rms(said)
    return sound


_MURMURS = (_white, _pink, _brown, _hum)

_MAKERS: dict[str, Callable[[int, np.random.Generator], Floats]] = {
    "white": _white,
    "pink": _pink,
    "brown": _brown,
    "hum": _hum,
    "knocks": _knocks,
    "wind": _wind,
    "melody": _melody,
    "chords": _chords,
    "siren": _siren,
    "near silence": _pink,
    "beeps": _beeps,
    "buzz": _buzz,
    "rain": _rain,
    "warble": _warble,
    "mixture": _mixture,
    "engine": _engine,
    "chirps": _chirps,
}

HELD_OUT_FAMILIES = ("engine", "chirps")
FAMILIES = (*(name for name in _MAKERS if name not in HELD_OUT_FAMILIES), "babble")
