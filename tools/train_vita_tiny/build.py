"""From seeds to a checkpoint: every stage of the training, in order.

Each stage leaves its result in the work folder and is passed over when the result is there, so an interrupted build
goes on where it stopped.
"""

import os
import shutil
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from tools.save_checkpoint import save_checkpoint
from tools.train_vita_tiny.album import MAKERS, Album, draw_album
from tools.train_vita_tiny.compute import DEVICE, half_precision
from tools.train_vita_tiny.encoded import Encoded, Frames, write_encoded
from tools.train_vita_tiny.hearing import damaged, encode_frames, teach_adapter, teach_hearing
from tools.train_vita_tiny.layout import RELEASED_SETTINGS, fresh_model, write_settings, write_tokenizer
from tools.train_vita_tiny.lessons import corpus
from tools.train_vita_tiny.recordings import Archive, Session, record
from tools.train_vita_tiny.schedule import Schedule
from tools.train_vita_tiny.school import Course, Materials, Pupil, School, attend_school, join_processes
from tools.train_vita_tiny.sight import PlaceTeacher, teach_sight
from vita_demo.checkpoint.config import AudioConfig
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.model.audio_encoder import AudioEncoder
from vita_demo.model.vita import VitaModel

# Sights of each kind and the seed they are drawn from.
ALBUMS = {
    "scenes": (40_000, 1), "outside": (6_000, 2), "frames": (8_000, 7), "crowds": (16_000, 5), "clips": (14_000, 3),
    "large": (8_000, 4), "large crowds": (4_000, 6),
}  # fmt: skip
# What the eyes' first lesson needs; the others are drawn after it.
_FIRST_ALBUMS = ("scenes", "outside", "frames")
# A few recordings, for the mean and variance of sound.
SAMPLE = Session(seed=11, english=260, chinese=120, noises=120)
RECORDINGS = Session(seed=8, english=14_000, chinese=4_000, noises=4_000)
LATER_RECORDINGS = Session(seed=9, english=6_000, chinese=2_500, later=True)
SIGHT = Schedule(steps=9000, batch_size=64, peak=2.5e-3, rise=0.01)
HEARING = Schedule(steps=3000, batch_size=32, peak=1e-3)
ADAPTER = Schedule(steps=800, batch_size=32, peak=2e-3)
# While the ears learn to hear: typed questions, about single pictures first.  Who can look things up there learns the
# rest much sooner.
LOOKING = Course(Schedule(steps=900, batch_size=8, peak=1e-3, last=0.8), {"scenes": 1.0}, seed=5)
WATCHING = Course(
    Schedule(steps=1500, batch_size=8, peak=9e-4, last=0.7), {"scenes": 0.4, "clips": 0.45, "large": 0.15}, seed=5
)
SCHOOL = Course(
    Schedule(steps=3600, batch_size=8, peak=7e-4),
    {"scenes": 0.32, "clips": 0.34, "large": 0.16, "outside": 0.1, "nothing": 0.08},
    seed=10,
)
ADVANCED = Course(
    Schedule(steps=1600, batch_size=8, peak=5e-4),
    {
        "scenes": 0.2, "crowds": 0.27, "clips": 0.2, "large": 0.1, "large crowds": 0.09, "outside": 0.06,
        "nothing": 0.08,
    },
    seed=20,
    advanced=True,
    pointed_layers=(2, 3, 4),
)  # fmt: skip
# The same again, with other draws and a learning rate that rises once more: the losses were still falling.
LONGER = replace(ADVANCED, schedule=Schedule(steps=4000, batch_size=8, peak=6e-4), seed=30)
# On a CPU two processes with one thread are quicker than one with two; a GPU is better left to one.
PROCESSES = 2 if DEVICE.type == "cpu" else 1
HEARINGS = 3
_TOKENIZER_SEED, _SIGHT_SEED, _HEARING_SEED, _LATER_SEED = 6, 5, 7, 9


def build(work: Path, out: Path) -> None:
    """Draw, record, teach and write the checkpoint to ``out``.

    Needs espeak-ng, flite, scikit-image's photographs, Skia, and the fonts that matplotlib ships.
    """
    for name in _FIRST_ALBUMS:
        _draw(work, name, PROCESSES)
    _stage(work / "model" / "config.json", lambda: _settle(work))
    _stage(work / "first_lessons", lambda: _in_parallel(work, (_learn_to_see, _learn_to_hear)))
    _stage(work / "school.pt", lambda: _in_parallel(work, (_school,) * PROCESSES))
    _stage(work / "advanced.pt", lambda: _in_parallel(work, (_advance,) * PROCESSES))
    _stage(work / "longer.pt", lambda: _in_parallel(work, (_go_on,) * PROCESSES))
    export(work, out)


def _stage(result: Path, work: Callable[[], None]) -> None:
    if result.exists():
        return
    start = time.perf_counter()
    work()
    if not result.exists():
        result.touch()
    _say(f"{result.name}: {time.perf_counter() - start:.0f} s")


def _say(line: str) -> None:
    print(line, flush=True)


def _say_nothing(_: str) -> None:
    """Leave the telling to another process."""


def _draw(work: Path, name: str, processes: int) -> None:
    count, seed = ALBUMS[name]
    folder = work / "albums"
    _stage(folder / f"{name}.pickle", lambda: draw_album(folder, name, count, seed, processes))


def _record(folder: Path, session: Session) -> None:
    config = AudioConfig.from_folder(RELEASED_SETTINGS / "audio-encoder")
    _stage(folder / "recordings" / "recordings.pickle", lambda: record(folder / "recordings", config, session))


def _settle(work: Path) -> None:
    """Write the tokenizer and the settings, with the mean and variance of some recordings."""
    _record(work / "sample", SAMPLE)
    heard = np.array(Archive.open(work / "sample" / "recordings").frames, np.float64)  # [frames, mel bins]
    cmvn = {"mean_stat": heard.sum(0).tolist(), "var_stat": (heard**2).sum(0).tolist(), "frame_num": len(heard)}
    tokens = write_tokenizer(work / "draft", corpus(np.random.default_rng(_TOKENIZER_SEED)))
    write_settings(work / "draft", tokens, cmvn)
    (work / "draft").rename(work / "model")


def _in_parallel(work: Path, lessons: tuple[Callable[[Path, int], None], ...]) -> None:
    """Give each lesson a process of its own."""
    (work / "meeting").unlink(missing_ok=True)
    context = get_context("spawn")
    processes = [context.Process(target=_alone, args=(lesson, work, rank)) for rank, lesson in enumerate(lessons)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        if process.exitcode:
            raise RuntimeError(f"a lesson ended with exit code {process.exitcode}; see its traceback above")


def _alone(lesson: Callable[[Path, int], None], work: Path, rank: int) -> None:
    torch.set_num_threads(max(1, (os.cpu_count() or 2) // PROCESSES))
    lesson(work, rank)


def _albums(work: Path) -> dict[str, Album]:
    return {name: Album.open(work / "albums", name) for name in MAKERS}


def _fresh_pupil(work: Path) -> Pupil:
    model = fresh_model(work / "model")
    return Pupil(model, PlaceTeacher(model.config.text.hidden_size)).to(DEVICE)


def _learn_to_see(work: Path, _: int) -> None:
    """Teach the vision encoder, and then the language model what it can do without ears."""
    torch.manual_seed(_SIGHT_SEED)
    pupil = _fresh_pupil(work)

    def look(result: Path) -> None:
        albums = [Album.open(work / "albums", name) for name in _FIRST_ALBUMS]
        rng = np.random.default_rng(_SIGHT_SEED)
        teach_sight(pupil.model, pupil.teacher, albums, rng, SIGHT, _say, work / "sight.draft")
        _write(pupil, result)

    def attend(course: Course, result: Path) -> None:
        school = School(pupil, _tokenizer(work), Materials(_albums(work)), _SIGHT_SEED)
        attend_school(school, course, _say, result.with_suffix(".draft"))
        _write(pupil, result)

    _stage(work / "sight.pt", lambda: look(work / "sight.pt"))
    for name in MAKERS:
        _draw(work, name, 1)
    for before, course, after in (("sight.pt", LOOKING, "looking.pt"), ("looking.pt", WATCHING, "eyes.pt")):
        pupil.load_state_dict(torch.load(work / before))
        _stage(work / after, partial(attend, course, work / after))


def _write(learner: nn.Module, result: Path) -> None:
    """Write weights so that there are all of them or none."""
    draft = result.with_suffix(".new")
    torch.save(learner.state_dict(), draft)
    draft.replace(result)


def _learn_to_hear(work: Path, _: int) -> None:
    """Teach the audio encoder, write down what it hears, and teach its adapter to pass that on.

    The last lesson's recordings are only written down: its wordings are new to the ears, too.
    """
    torch.manual_seed(_HEARING_SEED)
    encoder = fresh_model(work / "model").to(DEVICE).audio_encoder
    _record(work, RECORDINGS)
    archive, rng = Archive.open(work / "recordings"), np.random.default_rng(_HEARING_SEED)

    def hear() -> None:
        teach_hearing(encoder, archive, rng, HEARING, _say, work / "hearing.draft")
        _write(encoder, work / "hearing.pt")

    def adapt() -> None:
        teach_adapter(encoder.adapter, _encoded(work), rng, ADAPTER, _say)
        _write(encoder, work / "ears.pt")

    _stage(work / "hearing.pt", hear)
    encoder.load_state_dict(torch.load(work / "hearing.pt"))
    for folder, session, seed in ((work, RECORDINGS, _HEARING_SEED), (work / "later", LATER_RECORDINGS, _LATER_SEED)):
        _record(folder, session)
        _stage(folder / "encoded" / "firsts.npy", partial(_write_encoded, encoder, folder, seed))
    _stage(work / "ears.pt", adapt)


def _write_encoded(encoder: AudioEncoder, folder: Path, seed: int) -> None:
    listener = _listener(encoder, np.random.default_rng(seed))
    write_encoded(folder / "encoded", Archive.open(folder / "recordings"), HEARINGS, listener)


def _listener(encoder: AudioEncoder, rng: np.random.Generator) -> Callable[[NDArray[np.float32], bool], Frames]:
    def encode(banks: NDArray[np.float32], damage: bool) -> Frames:
        fbank = torch.from_numpy(banks)
        with torch.inference_mode(), half_precision():
            return encode_frames(encoder, (damaged(fbank, rng) if damage else fbank).to(DEVICE)).half().cpu().numpy()

    return encode


def _encoded(folder: Path) -> Encoded:
    return Encoded.open(folder / "encoded", Archive.open(folder / "recordings"))


def _school(work: Path, rank: int) -> None:
    """Teach everything together, in company."""
    pupil = _fresh_pupil(work)
    pupil.load_state_dict(torch.load(work / "eyes.pt"))
    pupil.model.audio_encoder.load_state_dict(torch.load(work / "ears.pt"))
    _attend(work, rank, pupil, SCHOOL, "school.pt")


def _advance(work: Path, rank: int) -> None:
    """Go on with what is harder: crowds, questions that ask for a close look, other wordings."""
    _attend(work, rank, _schooled_pupil(work, "school.pt"), ADVANCED, "advanced.pt")


def _go_on(work: Path, rank: int) -> None:
    """Take the advanced course for longer."""
    _attend(work, rank, _schooled_pupil(work, "advanced.pt"), LONGER, "longer.pt")


def _schooled_pupil(work: Path, weights: str) -> Pupil:
    pupil = _fresh_pupil(work)
    # Who asks the eyes is kept there only.
    pupil.load_state_dict(torch.load(work / "eyes.pt"))
    pupil.model.load_state_dict(torch.load(work / weights))
    return pupil


def _attend(work: Path, rank: int, pupil: Pupil, course: Course, result: str) -> None:
    """Take part in a course; the first process keeps the weights."""
    join_processes(rank, PROCESSES, work)
    encoded = tuple(_encoded(folder) for folder in (work, work / "later")[: 1 + course.advanced])
    school = School(pupil, _tokenizer(work), Materials(_albums(work), encoded), course.seed + rank)
    draft = (work / result).with_suffix(".draft")
    attend_school(school, course, _say if rank == 0 else _say_nothing, draft, rank == 0)
    if rank == 0:
        _write(pupil.model, work / result)


def _tokenizer(work: Path) -> VitaTokenizer:
    return VitaTokenizer.from_pretrained(work / "model")


def export(work: Path, out: Path) -> VitaModel:
    """Write the checkpoint in the released layout, in float16."""
    model = fresh_model(work / "model")
    model.load_state_dict(torch.load(work / "longer.pt", map_location="cpu"))
    shutil.copytree(work / "model", out, dirs_exist_ok=True)
    save_checkpoint(model.half(), out)
    return model
