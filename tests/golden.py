"""The reference cases: which media each was computed from."""

from pathlib import Path

import numpy as np

DATA = Path(__file__).parent / "data"

CASES = {
    "text": {},
    "image_square": {"image_paths": ["square.png"]},
    "image_wide": {"image_paths": ["wide.png"]},
    "image_tall": {"image_paths": ["tall.png"]},
    "image_small": {"image_paths": ["small.png"]},
    "audio_short": {"audio_path": "short.wav"},
    "audio_long": {"audio_path": "long.wav"},
    "image_audio": {"image_paths": ["wide.png"], "audio_path": "short.wav"},
    "frames": {"video_path": "frames"},
    "frames_audio": {"video_path": "frames", "audio_path": "long.wav"},
}
REAL_CASES = {
    "logo": {"image_paths": ["vita_newlog.jpg"]},
    "logo_audio": {"image_paths": ["vita_newlog.jpg"], "audio_path": "q1.wav"},
    "noise": {"audio_path": "q2.wav"},
    "video": {"video_path": "demo_1.mp4"},
}


def load_golden(name: str) -> dict[str, np.ndarray]:
    folder = "golden7" if name in CASES else "golden7_media"
    with np.load(DATA / folder / f"{name}.npz") as file:
        return dict(file)


def golden_request(name: str, media: Path):
    """The request of a case, with its question."""
    from vita_demo.request import Request

    case = {**CASES, **REAL_CASES}[name]
    paths = {
        key: tuple(media / file for file in value) if isinstance(value, list) else media / value
        for key, value in case.items()
    }
    return Request(question=str(load_golden(name)["question"]), **paths)
