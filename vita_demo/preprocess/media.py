"""All media of a request as arrays for the encoders."""

import os
import pickle
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import cached_property
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from vita_demo.checkpoint.config import AudioConfig, VitaConfig
from vita_demo.errors import MediaError, UnknownFormatError
from vita_demo.files.object_store import ObjectPath
from vita_demo.preprocess.audio import fbank, load_audio
from vita_demo.preprocess.decoder import PICTURE_LIMIT_S, RefusedError, ask_process
from vita_demo.preprocess.image import MAX_TILES, choose_grid, fit_frame, load_image, tile_image
from vita_demo.preprocess.video import load_frames
from vita_demo.request import Request

Modality = Literal["text", "image", "video"]


@dataclass(frozen=True)
class Media:
    """The media of a request.

    Attributes:
        modality: "image" or "video" for what is in ``tiles``; "text" without any.
        tiles: uint8 array [N, S, S, 3] of picture tiles or video frames; None without them.
        fbank: float32 array [frames, mel bins]; None without sound.
        frames: number of video frames in ``tiles``; 0 for pictures.
        notes: one line per file that says how much of it is used.
        read_s: seconds that reading took.
    """

    modality: Modality = "text"
    tiles: NDArray[np.uint8] | None = None
    fbank: NDArray[np.float32] | None = None
    frames: int = 0
    notes: tuple[str, ...] = ()
    read_s: float = 0.0

    @cached_property
    def tile_digests(self) -> tuple[bytes, ...]:
        """One for each tile, by which equal ones are known."""
        return () if self.tiles is None else tuple(_digest(tile) for tile in self.tiles)

    @cached_property
    def sound_digest(self) -> bytes:
        """The same for the sound; empty without one."""
        return b"" if self.fbank is None else _digest(self.fbank)


def load_media(
    request: Request, config: VitaConfig, clock: Callable[[], float] = time.perf_counter, *, isolated: bool = False
) -> Media:
    """Read every file of ``request``.

    Args:
        request: what to read.
        config: of the model that will see it.
        clock: for ``Media.read_s``.
        isolated: let the decoding process do it all, so that no file can end, hang or swell this process.  Otherwise
            pictures, WAV, FLAC and OGG are read here, which saves that process's start.  Only that process fetches
            the files of an ``ObjectPath``.

    Raises:
        MediaError: when a file cannot be read or does not fit the model.
    """
    start = clock()
    media = _ask_process(request, config) if isolated and request.paths else _load(request, config)
    return replace(media, read_s=clock() - start)


def _load(request: Request, config: VitaConfig) -> Media:
    notes: list[str] = []
    modality: Modality = "text"
    tiles, features, frames = None, None, 0
    if request.image_paths:
        modality = "image"
        tiles = np.concatenate([_load_picture(path, config, notes) for path in request.image_paths])  # [N, S, S, 3]
    elif request.video_path is not None:
        modality = "video"
        tiles = _load_video(request.video_path, request, config, notes)
        frames = len(tiles)
    if request.audio_path is not None:
        features = _load_sound(request.audio_path, config.audio, notes)
    return Media(modality, tiles, features, frames, tuple(notes))


def _ask_process(request: Request, config: VitaConfig) -> Media:
    content = pickle.dumps((request, config)).hex()
    question = {"kind": "media", "content": content, "folder": os.fsencode(Path.cwd()).hex()}
    named = " or ".join(map(str, request.paths))
    elsewhere = any(isinstance(path, ObjectPath) for path in request.paths)
    try:
        # The copies are removed here, since that process may be ended at any moment.
        with TemporaryDirectory(prefix="vita-demo-") if elsewhere else nullcontext("") as copies:
            question["copies"] = os.fsencode(copies).hex()
            parts = {reply.kind: reply for reply in ask_process(question, named, PICTURE_LIMIT_S)}
    except RefusedError as error:
        kind = UnknownFormatError if error.why == UnknownFormatError.__name__ else MediaError
        raise kind(str(error)) from error

    def array(kind: str, dtype: Any) -> Any:
        if kind not in parts:
            return None
        return np.frombuffer(parts[kind].content, dtype).reshape(parts[kind].fields["shape"]).copy()

    said = parts["notes"].fields
    tiles, features = array("tiles", np.uint8), array("fbank", np.float32)  # [N, S, S, 3], [frames, mel bins]
    return Media(said["modality"], tiles, features, said["frames"], tuple(said["notes"]))


def _digest(values: NDArray[Any]) -> bytes:
    return blake2b(np.ascontiguousarray(values).data, digest_size=16).digest()


def _load_picture(path: Path, config: VitaConfig, notes: list[str]) -> NDArray[np.uint8]:
    image = load_image(path)
    grid = columns, rows = choose_grid(*image.size, config.vision.image_size)
    note = f"image {path.name}: {image.width} × {image.height} pixels in {columns} × {rows} tiles"
    ratio = max(image.size) / min(image.size)
    if ratio > MAX_TILES:
        note += f"; its sides are 1 to {ratio:.0f}, so the model sees it squeezed: crop it to see more"
    elif max(image.size) < config.vision.patch_size:
        note += "; it is smaller than one patch, so there is little to see: give a larger one"
    notes.append(note)
    return tile_image(image, config.vision.image_size, grid)


def _load_video(path: Path, request: Request, config: VitaConfig, notes: list[str]) -> NDArray[np.uint8]:
    frames = load_frames(path, request.fps, request.max_frames, request.start_s, request.end_s)
    span = f", from {frames.times_s[0]:.1f} s to {frames.times_s[-1]:.1f} s" if frames.times_s else ""
    notes.append(f"video {path.name}: used {len(frames.images)} of {frames.total} frames{span}")
    return np.stack(
        [fit_frame(image, config.vision.image_size, config.pad_colour) for image in frames.images]
    )  # [N, S, S, 3]


def _load_sound(path: Path, config: AudioConfig, notes: list[str]) -> NDArray[np.float32]:
    samples = load_audio(path, config.sample_rate_hz, config.max_s)
    features = fbank(samples, config)  # [frames, mel bins]
    duration_s = len(samples) / config.sample_rate_hz
    positions = sound_positions(path, duration_s, len(features), config)
    notes.append(f"audio {path.name}: {duration_s:.1f} s in {positions} positions")
    return features


def sound_positions(path: Path, duration_s: float, frames: int, config: AudioConfig) -> int:
    """Return the language-model positions of a sound of ``frames`` filter-bank frames.

    Raises:
        MediaError: when it is too short or too long for the encoder.
    """
    positions = config.positions(frames)
    if positions == 0:
        raise MediaError(
            f"audio {path} lasts {duration_s:.3f} s, too short to hear; give at least {config.min_s:.3f} s"
        )
    if frames > config.max_frames:
        raise MediaError(
            f"audio {path} lasts {duration_s:.1f} s, over the model's {config.max_s:.0f} s; cut it shorter"
        )
    return positions
