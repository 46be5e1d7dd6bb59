"""Many requests from Python: events as they come, answers in order, errors that harm nobody else."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image

from tests.conftest import ASSETS
from vita_demo.errors import ConfigError, MediaError
from vita_demo.generation.options import GenerationOptions
from vita_demo.pipeline import Pipeline
from vita_demo.request import Request

OPTIONS = GenerationOptions(max_new_tokens=8, do_sample=True, seed=3)
REQUESTS = [
    Request(question="What is this?", image_paths=ASSETS / "scene.png"),
    Request(question="hi"),
    Request(audio_path=ASSETS / "question.wav"),
    Request(question="Where?", video_path=ASSETS / "moving.mp4", max_frames=2),
    Request(question="hello"),
]


def test_the_answers_are_those_of_each_alone_in_order(tiny7_pipeline: Pipeline) -> None:
    alone = [tiny7_pipeline.generate(request, OPTIONS) for request in REQUESTS]
    together = tiny7_pipeline.generate_many(REQUESTS, OPTIONS, slots=2)
    assert [answer.token_ids for answer in together] == [answer.token_ids for answer in alone]
    assert [answer.prompt.notes for answer in together] == [answer.prompt.notes for answer in alone]


def test_events_come_as_they_are_made_and_a_bad_file_harms_nobody(tiny7_pipeline: Pipeline, tmp_path: Path) -> None:
    bad = tmp_path / "bad.png"
    bad.write_bytes(b"\x89PNG\r\n\x1a\n" + bytes(50))
    requests = [REQUESTS[1], Request(question="x", image_paths=bad), REQUESTS[4]]
    ends, order = {}, []
    for index, event in tiny7_pipeline.stream_many(requests, OPTIONS, slots=3):
        order.append(index)
        if event.finish_reason:
            ends[index] = event
    assert [ends[index].finish_reason for index in range(3)] == ["length", "error", "length"]
    assert isinstance(ends[1].error, MediaError)
    assert order != sorted(order)
    with pytest.raises(MediaError, match=r"bad\.png"):
        tiny7_pipeline.generate_many(requests, OPTIONS)


def test_an_endless_list_is_read_only_as_far_as_needed(tiny7_pipeline: Pipeline) -> None:
    taken = 0

    def endless() -> Iterator[Request]:
        nonlocal taken
        while True:
            taken += 1
            yield REQUESTS[1]

    events = tiny7_pipeline.stream_many(endless(), OPTIONS, slots=2)
    finished = 0
    while finished < 5:
        finished += next(events)[1].finish_reason is not None
    events.close()
    assert taken < 15
    assert not any("vita-demo media" in thread.name for thread in threading.enumerate())


def test_pictures_that_are_read_while_others_are_answered_are_all_answered(
    tiny7_pipeline: Pipeline, tmp_path: Path
) -> None:
    requests = []
    for number in range(6):
        path = tmp_path / f"{number}.png"
        Image.new("RGB", (64 + number, 64), (40 * number, 0, 0)).save(path)
        requests.append(Request(question="Which colour?", image_paths=path))
    answers = tiny7_pipeline.generate_many(requests, OPTIONS, slots=4)
    assert [answer.token_ids for answer in answers] == [
        tiny7_pipeline.generate(request, OPTIONS).token_ids for request in requests
    ]


def test_slots_that_do_not_fit_are_refused_with_what_to_do(tiny7_pipeline: Pipeline) -> None:
    with pytest.raises(ConfigError, match=r"--slots 100000000 of [\d,]+ positions take .* GiB .* lower --slots"):
        tiny7_pipeline.generate_many(REQUESTS, OPTIONS, slots=100_000_000)
    with pytest.raises(ConfigError, match="at most the model's context"):
        tiny7_pipeline.own(positions=10_000_000)
    for slots in (0, -1, 1.5, "3"):
        with pytest.raises(ConfigError, match=f"--slots {slots} must be a whole number"):
            tiny7_pipeline.generate_many(REQUESTS, OPTIONS, slots=slots)
