"""Write the sample picture, clip and sounds in assets/, from fixed seeds.

    python -m tools.make_samples

Needs the program espeak-ng and the package av.  The voice is one that vita-tiny was not trained on.
"""

import wave
from dataclasses import replace
from pathlib import Path

import numpy as np

from tools.train_vita_tiny.clips import Clip, random_clip, write_video
from tools.train_vita_tiny.painting import draw
from tools.train_vita_tiny.scenes import Scene, random_scene
from tools.train_vita_tiny.sounds import SAMPLE_RATE_HZ, noisy, random_noise_sound
from tools.train_vita_tiny.voices import Samples, Voice, speak

ASSETS = Path(__file__).resolve().parent.parent / "assets"
QUESTION, NOISY_QUESTION = "How many shapes are there?", "Where is the star?"
VOICE = Voice("en-us+m5", 150, 50)


def sample_scene() -> Scene:
    """Draw a circle, a square and a large star, each of another size, and colour them on a light blue ground.

    Of fourteen seeds vita-tiny describes three in every word rightly; this is the first of them.
    """
    rng = np.random.default_rng(1)
    tints = {"circle": ("red", (214, 38, 40)), "square": ("blue", (40, 90, 215)), "star": ("yellow", (250, 215, 40))}
    while True:
        scene = random_scene(rng, 3, (640, 480))
        sizes = {shape.kind: shape.size for shape in scene.shapes}
        if set(sizes) != set(tints) or len(set(sizes.values())) < 3 or sizes["star"] != "large":
            continue
        if not any(shape.stroke for shape in scene.shapes):
            coloured = [
                replace(shape, colour=tints[shape.kind][0], tint=tints[shape.kind][1]) for shape in scene.shapes
            ]
            return replace(scene, shapes=tuple(coloured), ground="light blue", tint=(176, 214, 240))


def sample_clip() -> Clip:
    """Draw clips until a red circle moves to the right past other shapes, and colour it and them on a white ground."""
    rng = np.random.default_rng(2)
    while True:
        clip = random_clip(rng, "moves")
        if clip.before is None or clip.after is None or clip.event.direction != "right" or len(clip.start.shapes) < 2:
            continue
        if (clip.before.colour, clip.before.kind) == ("red", "circle") and clip.before.size != "small":
            break
    before, after = (replace(shape, tint=(214, 38, 40), stroke=0.0) for shape in (clip.before, clip.after))
    tints = (("blue", (40, 90, 215)), ("green", (40, 150, 70)))
    others = (shape for shape in clip.start.shapes if shape is not clip.before)
    coloured = [
        replace(shape, colour=name, tint=tint, stroke=0.0) for shape, (name, tint) in zip(others, tints, strict=False)
    ]
    start = replace(clip.start, shapes=(*coloured, before), ground="white", tint=(245, 245, 245))
    return replace(clip, start=start, before=before, after=after)


def write_sound(path: Path, samples: Samples) -> None:
    """Write mono samples in -1 … 1 as 16-bit WAV."""
    with wave.open(str(path), "wb") as file:
        file.setparams((1, 2, SAMPLE_RATE_HZ, 0, "NONE", ""))
        file.writeframes((samples * 32767).astype("<i2").tobytes())


def main() -> None:
    """Write everything."""
    draw(replace(sample_scene(), seed=7)).save(ASSETS / "scene.png", optimize=True)
    write_video(sample_clip(), ASSETS / "moving.mp4")
    rng = np.random.default_rng(3)
    write_sound(ASSETS / "question.wav", np.pad(speak(QUESTION, VOICE), 4000))
    write_sound(ASSETS / "noisy_question.wav", noisy(np.pad(speak(NOISY_QUESTION, VOICE), 4000), rng, snr_db=8))
    write_sound(ASSETS / "noise.wav", random_noise_sound(rng, (), ("knocks",)))


if __name__ == "__main__":
    main()
