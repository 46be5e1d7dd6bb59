"""Every lesson runs from drawn pictures and recorded sounds to changed weights, on a few of each."""

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from tools.train_vita_tiny import school as school_module
from tools.train_vita_tiny import sight as sight_module
from tools.train_vita_tiny.album import MAKERS, Album, batches, draw_album
from tools.train_vita_tiny.asking import spoken_queries
from tools.train_vita_tiny.build import ADVANCED, SCHOOL
from tools.train_vita_tiny.compute import half_precision
from tools.train_vita_tiny.encoded import Encoded, write_encoded
from tools.train_vita_tiny.hearing import encode_frames, teach_adapter, teach_hearing
from tools.train_vita_tiny.layout import GRID, fresh_model
from tools.train_vita_tiny.recordings import Archive, Recording
from tools.train_vita_tiny.scenes import COLOURS, KINDS, PLACES, Scene, Shape, cell_of
from tools.train_vita_tiny.schedule import Schedule
from tools.train_vita_tiny.school import Materials, Pupil, School, attend_school
from tools.train_vita_tiny.sight import PlaceTeacher, ease, mirrored, place_labels, size_step, teach_sight
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.model.vita import VitaModel

SHORT = Schedule(steps=3, batch_size=4, peak=1e-3)


def nothing(*_: object) -> None:
    """Say nothing."""


@pytest.fixture(scope="module")
def albums(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Album]:
    folder = tmp_path_factory.mktemp("albums")
    for number, name in enumerate(name for name in MAKERS if name != "outside"):
        draw_album(folder, name, 8, number, processes=1)
    found = {name: Album.open(folder, name) for name in MAKERS if name != "outside"}
    return {**found, "outside": found["scenes"]}


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    folder = tmp_path_factory.mktemp("recordings")
    queries = [*spoken_queries()[:9], None]
    recordings = [
        Recording(query, "How many?" if query else "", tuple("haumɛni") if query else (), 96 * i, 96)
        for i, query in enumerate(queries)
    ]
    (folder / "recordings.pickle").write_bytes(pickle.dumps(recordings))
    np.save(folder / "recordings.npy", np.random.default_rng(1).normal(12, 4, (960, 80)).astype(np.float16))
    return Archive.open(folder)


@pytest.fixture
def model(model_folder: Path) -> VitaModel:
    torch.manual_seed(1)
    return fresh_model(model_folder)


def changed(model: VitaModel, before: dict[str, torch.Tensor], part: str) -> bool:
    return any(not torch.equal(value, before[name]) for name, value in model.state_dict().items() if part in name)


def copy_of(model: VitaModel) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def test_the_same_seed_draws_the_same_album(albums: dict[str, Album], tmp_path: Path) -> None:
    draw_album(tmp_path, "clips", 8, list(MAKERS).index("clips"), processes=1)
    again = Album.open(tmp_path, "clips")
    assert again.sights == albums["clips"].sights
    assert np.array_equal(again.tiles, albums["clips"].tiles)
    for batch in (next(batches(again.sights, 3, np.random.default_rng(number))) for number in range(5)):
        assert len({sight.count for sight in batch}) == 1


def test_places_are_labelled_with_their_shapes(albums: dict[str, Album]) -> None:
    for sight in (*albums["scenes"].sights, *albums["frames"].sights):
        labels = place_labels(sight.view)
        assert (labels[:, 0] < len(KINDS)).sum() == len(sight.view.shapes)
        for shape in sight.view.shapes:
            kind, colour, size, _, place = labels[cell_of(shape.x, shape.y, GRID)]
            assert (KINDS[kind], COLOURS[colour], PLACES[place]) == (shape.kind, shape.colour, shape.place)
            assert size == size_step(shape.radius)
    assert (place_labels(None)[:, 0] == len(KINDS)).all()
    steps = [size_step(radius) for radius in (0.03, 0.04, 0.06, 0.1, 0.2, 0.39, 0.5)]
    assert steps == sorted(steps)
    assert (steps[0], steps[-1]) == (0, 7)


def test_large_shapes_are_easy_and_lines_hard() -> None:
    ring, star = (Shape(kind, "red", 0.2, 0.2, 0.1, 0.0, (255, 0, 0)) for kind in ("ring", "star"))
    scene = Scene((ring, replace(star, radius=0.2)), "white", (255, 255, 255), 128, 128, 1)
    assert ease(scene) == 0.1
    assert ease(replace(scene, shapes=(replace(star, stroke=0.2),))) == 0.05
    assert ease(replace(scene, shapes=())) == ease("outside") == 1.0


def test_a_tile_has_as_many_positions_as_labels(model: VitaModel, albums: dict[str, Album]) -> None:
    tiles = model.vision_encoder.normalize(torch.from_numpy(np.array(albums["scenes"].tiles[:2])))
    with torch.inference_mode():
        assert model.vision_encoder(tiles).shape[1] == len(place_labels(None)) == GRID**2


@pytest.mark.parametrize("number", range(8))
def test_a_mirrored_picture_has_the_labels_of_what_it_shows(number: int) -> None:
    at = [(24.5, 14.5), (100.5, 40.5), (70.5, 110.5)]
    shapes = [
        Shape(kind, "red", x / 128, y / 128, 0.05, 0.0, (255, 0, 0))
        for kind, (x, y) in zip(("circle", "star", "ring"), at, strict=True)
    ]
    scene = Scene(tuple(shapes), "white", (255, 255, 255), 128, 128, 1)
    marks = np.zeros((128, 128, 3), np.uint8)
    for index, (x, y) in enumerate(at):
        marks[int(y), int(x)] = index + 1
    tiles, labels = mirrored(marks[None], place_labels(scene)[None], number)
    found = [np.argwhere(tiles[0, :, :, 0] == index + 1)[0] for index in range(3)]
    moved = [
        replace(shape, x=(column + 0.5) / 128, y=(row + 0.5) / 128)
        for shape, (row, column) in zip(shapes, found, strict=True)
    ]
    assert np.array_equal(labels[0], place_labels(replace(scene, shapes=tuple(moved))))


def test_a_lesson_goes_on_where_it_was_interrupted(
    model: VitaModel, albums: dict[str, Album], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sight_module, "KEEP_SECONDS", 0.0)
    said: list[str] = []
    draft, whole = tmp_path / "sight.draft", replace(SHORT, steps=4)
    teach_sight(model, PlaceTeacher(192), [albums["scenes"]], np.random.default_rng(1), whole, nothing, draft)
    resumed, teacher = fresh_model_like(model), PlaceTeacher(192)
    state = torch.load(draft, weights_only=False)
    assert state["step"] == 4
    rng = np.random.default_rng(2)
    teach_sight(resumed, teacher, [albums["scenes"]], rng, replace(SHORT, steps=5), said.append, draft)
    assert [line.split()[1] for line in said] == ["4"]
    assert torch.load(draft, weights_only=False)["step"] == 5


def fresh_model_like(model: VitaModel) -> VitaModel:
    other = VitaModel(model.config).float()
    other.load_state_dict(model.state_dict())
    return other


def test_eyes_and_ears_learn(model: VitaModel, albums: dict[str, Album], archive: Archive, tmp_path: Path) -> None:
    before = copy_of(model)
    teach_sight(model, PlaceTeacher(192), [albums["scenes"]], np.random.default_rng(1), SHORT, nothing)
    teach_hearing(model.audio_encoder, archive, np.random.default_rng(1), SHORT, nothing)
    assert changed(model, before, "vision_encoder.")
    assert changed(model, before, "projector.")
    assert changed(model, before, "audio_encoder.encoders.")
    assert not changed(model, before, "audio_encoder.adapter.")
    assert not changed(model, before, "language_model.")

    def encode(banks: np.ndarray, damage: bool) -> np.ndarray:
        with torch.inference_mode():
            return encode_frames(model.audio_encoder, torch.from_numpy(banks)).half().numpy()

    write_encoded(tmp_path, archive, 1, encode)
    encoded = Encoded.open(tmp_path, archive)
    teach_adapter(model.audio_encoder.adapter, encoded, np.random.default_rng(1), SHORT, nothing)
    assert changed(model, before, "audio_encoder.adapter.")
    # What is written down is what the model itself hears on its way to the adapter.
    bank = torch.from_numpy(np.array(archive.hear(archive.recordings[3]))).float()
    heard = torch.from_numpy(np.array(encoded.hear(archive.recordings[3], np.random.default_rng(1)))).float()
    with torch.inference_mode():
        whole = model.audio_encoder(bank[None])
        assert torch.allclose(model.audio_encoder.adapter(heard[None]), whole, atol=0.02)


@pytest.mark.slow
def test_everything_learns_together(
    model: VitaModel,
    albums: dict[str, Album],
    archive: Archive,
    tokenizer: VitaTokenizer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    write_encoded(tmp_path, archive, 1, lambda banks, _: np.zeros((len(banks), 23, 128), np.float16))
    school = School(
        Pupil(model, PlaceTeacher(192)), tokenizer, Materials(albums, (Encoded.open(tmp_path, archive),)), 1
    )
    with half_precision():
        losses = {kind: school.loss(replace(ADVANCED, schedule=SHORT), kind)[0].item() for kind in ADVANCED.shares}
    assert set(losses) == {*albums, "nothing"} - {"frames"}
    assert all(np.isfinite(list(losses.values())))
    before, said = copy_of(model), []
    course, draft = replace(SCHOOL, schedule=SHORT), tmp_path / "school.draft"
    monkeypatch.setattr(school_module, "KEEP_SECONDS", 0.0)
    attend_school(school, course, nothing, draft)
    longer = replace(course, schedule=replace(SHORT, steps=4))
    attend_school(school, longer, said.append, draft)
    assert len(said) == 1
    assert said[0].startswith("school 3 ")
    for part in ("vision_encoder.", "projector.", "language_model.layers.", "lm_head"):
        assert changed(model, before, part), part
    assert not changed(model, before, "audio_encoder.encoders.")
