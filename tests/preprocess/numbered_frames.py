"""Videos whose frames show their numbers, so that a wrong one is seen; written by the ffmpeg program."""

import json
import subprocess
from bisect import bisect_right
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

WIDTH, HEIGHT, BITS = 176, 144, 8
RATE_HZ, COUNT = 25, 100
_STRIPE = WIDTH // BITS


def draw(number: int) -> np.ndarray:
    """One stripe for each bit, white above black for 1 and black above white for 0."""
    bits = [number >> bit & 1 for bit in range(BITS)]
    upper = np.repeat(bits, _STRIPE) * 255
    return np.concatenate([np.tile(upper, (HEIGHT // 2, 1)), np.tile(255 - upper, (HEIGHT // 2, 1))]).astype(np.uint8)


def number_of(image: Image.Image) -> int:
    """Read the number of a frame; an unreadable one is -1."""
    grey = np.asarray(image.convert("L")).astype(int)
    middle = _STRIPE // 2 + _STRIPE * np.arange(BITS)
    upper, lower = grey[HEIGHT // 4, middle], grey[3 * HEIGHT // 4, middle]
    if np.abs(upper - lower).min() < 60:
        return -1
    return int(sum(int(high) << bit for bit, high in enumerate(upper > lower)))


def run(*command: object, stdin: bytes = b"") -> bytes | None:
    """Return what a program printed; None when it fails."""
    done = subprocess.run([str(word) for word in command], input=stdin, capture_output=True, check=False, timeout=120)
    return done.stdout if done.returncode == 0 else None


def encode(path: Path, options: list[str], filters: str = "null") -> Path | None:
    """Encode the numbered frames; None where ffmpeg lacks the encoder."""
    raw = b"".join(draw(number).tobytes() for number in range(COUNT))
    source = ("-f", "rawvideo", "-pix_fmt", "gray", "-s", f"{WIDTH}x{HEIGHT}", "-r", RATE_HZ, "-i", "-")
    output = ("-vf", f"{filters},format=yuv420p", "-fps_mode", "vfr", *options, path)
    return None if run("ffmpeg", "-v", "error", "-y", *source, *output, stdin=raw) is None else path


def shown_by_ffmpeg(path: Path) -> list[tuple[float, int]]:
    """Return when each frame is shown, counted from the first, and its number, as the ffmpeg program has it."""
    entries = run("ffprobe", "-v", "error", "-select_streams", "v:0", "-show_frames", "-of", "json",
                  "-show_entries", "frame=best_effort_timestamp_time", path)  # fmt: skip
    raw = run("ffmpeg", "-v", "error", "-noautorotate", "-i", path, "-map", "0:v:0", "-fps_mode", "passthrough",
              "-f", "rawvideo", "-pix_fmt", "gray", "-")  # fmt: skip
    frames = np.frombuffer(raw or b"", np.uint8).reshape(-1, HEIGHT, WIDTH)
    numbers = [number_of(Image.fromarray(frame)) for frame in frames]
    times_s = [float(frame.get("best_effort_timestamp_time", "nan")) for frame in json.loads(entries or "{}")["frames"]]
    assert len(times_s) == len(numbers), (len(times_s), len(numbers))
    if not all(one < after for one, after in pairwise(times_s)):  # the container has no times of presentation
        times_s = [number / RATE_HZ for number in range(len(numbers))]
    return [(time_s - times_s[0], number) for time_s, number in zip(times_s, numbers, strict=True)]


def number_at(shown: list[tuple[float, int]], time_s: float) -> int:
    """Return the number of the frame that is on the screen at a time."""
    return shown[max(0, bisect_right([start_s for start_s, _ in shown], time_s + 1e-3) - 1)][1]
