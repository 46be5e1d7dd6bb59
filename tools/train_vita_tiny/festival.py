"""Speech by festival, which the exam alone uses: a synthesizer that training has never heard."""

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tools.train_vita_tiny.voices import SAMPLE_RATE_HZ, Samples
from vita_demo.errors import VitaDemoError

FESTIVAL_VOICES = ("kal_diphone", "ked_diphone", "cmu_us_slt_arctic_hts")
_MISSING = (
    "festival or a voice of it is missing; the exam needs them: "
    "apt-get install festival festvox-kallpc16k festvox-kdlpc16k festvox-us-slt-hts"
)


def speak_festival(items: Sequence[tuple[str, str]]) -> list[Samples]:
    """Say texts, each with a voice, in one run of the program.

    Returns:
        float32 arrays [n] in -1 … 1 at 16 kHz.

    Raises:
        VitaDemoError: when festival or a voice is missing.
    """
    import soundfile
    import soxr

    with tempfile.TemporaryDirectory() as folder:
        lines = []
        for number, (text, voice) in enumerate(items):
            said = text.replace("\\", " ").replace('"', " ")
            lines.append(f"(voice_{voice})")
            lines.append(f'(utt.save.wave (utt.synth (Utterance Text "{said}")) "{folder}/{number}.wav" \'riff)')
        script = Path(folder) / "say.scm"
        script.write_text("\n".join(lines), encoding="utf-8")
        try:
            subprocess.run(["festival", "-b", str(script)], capture_output=True, check=True)
            read = [soundfile.read(f"{folder}/{number}.wav", dtype="float32") for number in range(len(items))]
        except (OSError, subprocess.CalledProcessError, soundfile.LibsndfileError) as error:
            raise VitaDemoError(_MISSING) from error
    return [
        np.clip(soxr.resample(samples, rate_hz, SAMPLE_RATE_HZ, quality="soxr_hq"), -1, 1) for samples, rate_hz in read
    ]
