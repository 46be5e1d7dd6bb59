"""Preprocesses files as for a question, without the model's weights, and counts their positions.

The kind of a file is determined by decoding it, not by its name.
"""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.errors import MediaError, UnknownFormatError
from vita_demo.preprocess.audio import fbank, load_audio
from vita_demo.preprocess.image import Tiles, choose_grid, fit_frame, load_image, tile_image
from vita_demo.preprocess.media import sound_positions
from vita_demo.preprocess.video import Frames, load_frames
from vita_demo.request import Sampling, check_file, fits_one_question

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Picture:
    """A picture and its tiles.

    Attributes:
        path: the file.
        image: the upright RGB picture.
        columns, rows: the grid of tiles.
        tiles: uint8 array [N, S, S, 3], row by row, the thumbnail last when there is more than one.
        positions: how many of the context it takes.
    """

    kind: ClassVar[str] = "picture"
    path: Path
    image: Image.Image
    columns: int
    rows: int
    tiles: Tiles
    positions: int

    @property
    def has_thumbnail(self) -> bool:
        """Whether the last tile is the whole picture, scaled down."""
        return len(self.tiles) > self.columns * self.rows

    def facts(self) -> dict[str, Any]:
        """Return the facts, as written to JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "width": self.image.width,
            "height": self.image.height,
            "columns": self.columns,
            "rows": self.rows,
            "tiles": len(self.tiles),
            "thumbnail": self.has_thumbnail,
            "tile_size": self.tiles.shape[1],
            "positions": self.positions,
        }


@dataclass(frozen=True)
class Video:
    """A video, or a folder of frames, and its sampled frames.

    Attributes:
        path: the file or folder.
        frames: the sampled frames before preprocessing.
        tiles: uint8 array [N, S, S, 3], one for each frame.
        padded: the frames are padded to squares; otherwise cropped to their centres.
        positions: how many of the context they take.
    """

    kind: ClassVar[str] = "video"
    path: Path
    frames: Frames
    tiles: Tiles
    padded: bool
    positions: int

    def facts(self) -> dict[str, Any]:
        """Return the facts, as written to JSON; the size is the first frame's."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "width": self.frames.images[0].width,
            "height": self.frames.images[0].height,
            "total_frames": self.frames.total,
            "frames": len(self.tiles),
            "times_s": [round(time_s, 3) for time_s in self.frames.times_s],
            "padded": self.padded,
            "tile_size": self.tiles.shape[1],
            "positions": self.positions,
        }


@dataclass(frozen=True)
class Sound:
    """A sound and its filter bank.

    Attributes:
        path: the file.
        duration_s: its length, at most the longest that the model hears.
        fbank: float32 array [frames, mel bins].
        frame_shift_s: time from one frame to the next.
        positions: how many of the context it takes.
    """

    kind: ClassVar[str] = "sound"
    path: Path
    duration_s: float
    fbank: NDArray[np.float32]
    frame_shift_s: float
    positions: int

    def facts(self) -> dict[str, Any]:
        """Return the facts, as written to JSON."""
        return {
            "path": str(self.path),
            "kind": self.kind,
            "duration_s": round(self.duration_s, 3),
            "frames": self.fbank.shape[0],
            "mel_bins": self.fbank.shape[1],
            "positions": self.positions,
        }


Item = Picture | Video | Sound


@dataclass(frozen=True)
class Inspection:
    """Media, and the context that they share.

    Attributes:
        items: one for each file, in the order of the command line.
        max_positions: length of the model's context.
        trained_positions: the longest prompt in its training.
    """

    items: tuple[Item, ...]
    max_positions: int
    trained_positions: int

    @property
    def positions(self) -> int:
        """Positions of all media together."""
        return sum(item.positions for item in self.items)

    @property
    def fits_one_question(self) -> bool:
        """Whether one question can hold all of them."""
        kinds = [item.kind for item in self.items]
        return fits_one_question(*(kinds.count(kind) for kind in ("picture", "video", "sound")))

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as written to JSON."""
        return {
            "schema_version": SCHEMA_VERSION,
            "media": [item.facts() for item in self.items],
            "positions": self.positions,
            "max_positions": self.max_positions,
            "trained_positions": self.trained_positions,
            "positions_left": self.max_positions - self.positions,
            "trained_positions_left": self.trained_positions - self.positions,
            "fits_one_question": self.fits_one_question,
        }


def inspect_media(paths: tuple[Path, ...], config: VitaConfig, sampling: Sampling) -> Inspection:
    """Read and preprocess every file.

    Raises:
        InputError: when a path does not exist or is empty.
        MediaError: when a file is no picture, video or sound, or is damaged.
    """
    items = tuple(inspect_file(path, config, sampling) for path in paths)
    return Inspection(items, config.text.max_position_embeddings, config.trained_positions)


def inspect_file(path: Path, config: VitaConfig, sampling: Sampling) -> Item:
    """Read one file, or a folder of frames, with the first reader that knows its format; see ``inspect_media``."""
    check_file(path, "MEDIA", or_folder=True)
    if path.is_dir():
        return _read_video(path, config, sampling)
    readers: tuple[Callable[[], Item], ...] = (
        lambda: _read_picture(path, config),
        lambda: _read_video(path, config, sampling),
        lambda: _read_sound(path, config),
    )
    if _is_sound_file(path):
        # A song's cover picture would be decoded as a video of one frame.
        readers = (readers[2],)
    for read in readers:
        try:
            return read()
        except UnknownFormatError:
            continue
    raise MediaError(
        f"{path} is no picture, video or sound that can be read here; give a PNG, JPEG, MP4, WAV or MP3 file"
    )


def _is_sound_file(path: Path) -> bool:
    import soundfile

    try:
        soundfile.info(os.fsencode(path))
    except soundfile.SoundFileError:
        return False
    return True


def _read_picture(path: Path, config: VitaConfig) -> Picture:
    image = load_image(path)
    size = config.vision.image_size
    grid = columns, rows = choose_grid(*image.size, size)
    tiles = tile_image(image, size, grid)  # [N, S, S, 3]
    return Picture(path, image, columns, rows, tiles, _image_positions(len(tiles), config))


def _read_video(path: Path, config: VitaConfig, sampling: Sampling) -> Video:
    frames = load_frames(path, sampling.fps, sampling.max_frames, sampling.start_s, sampling.end_s)
    size, colour = config.vision.image_size, config.pad_colour
    tiles = np.stack([fit_frame(image, size, colour) for image in frames.images])  # [N, S, S, 3]
    return Video(path, frames, tiles, colour is not None, _image_positions(len(tiles), config))


def _read_sound(path: Path, config: VitaConfig) -> Sound:
    audio = config.audio
    samples = load_audio(path, audio.sample_rate_hz, audio.max_s)
    duration_s = len(samples) / audio.sample_rate_hz
    features = fbank(samples, audio)  # [frames, mel bins]
    positions = sound_positions(path, duration_s, len(features), audio)
    return Sound(path, duration_s, features, audio.frame_shift_ms / 1000, positions)


def _image_positions(tiles: int, config: VitaConfig) -> int:
    """Count positions: each tile, or group of five tiles of a frameCat checkpoint, becomes one image feature."""
    return -(-tiles // config.tiles_per_feature) * config.vision.positions_per_tile
