"""Whatever shares its steps, joins or leaves, an answer is the one that it is alone."""

import gc
import threading
import weakref
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.conftest import ASSETS
from vita_demo.answer import Answer
from vita_demo.errors import ConfigError, InputError
from vita_demo.generation.callbacks import GenerationCallback, GenerationControl
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.pipeline import Pipeline
from vita_demo.preprocess.media import Media, load_media
from vita_demo.request import Request
from vita_demo.scheduling import pace
from vita_demo.scheduling.claim import claim_slots
from vita_demo.scheduling.dialogue import Dialogue, Exchange
from vita_demo.scheduling.job import Job
from vita_demo.scheduling.scheduler import Scheduler

POSITIONS = 4096
QUESTIONS = ["What is this?", "hi", "Name the colours of a rainbow, all seven of them.", "Wo?"]
OPTIONS = [
    GenerationOptions(max_new_tokens=9),
    GenerationOptions(max_new_tokens=3, top_logprobs=2),
    GenerationOptions(max_new_tokens=14, do_sample=True, temperature=1.3, seed=5, repetition_penalty=1.2),
    GenerationOptions(max_new_tokens=6, do_sample=True, top_k=5, seed=11),
]


class Asked:
    """A job with what came of it."""

    def __init__(self, pipeline: Pipeline, dialogue: Dialogue | str, options: GenerationOptions, **rest) -> None:
        dialogue = Dialogue((Exchange(dialogue),)) if isinstance(dialogue, str) else dialogue
        self.events: list[Event] = []
        self.job = Job(
            pipeline.model,
            pipeline.tokenizer,
            dialogue,
            options,
            on_event=self.events.append,
            **{"capacity": POSITIONS, **rest},
        )

    @property
    def answer(self) -> Answer:
        assert self.events[-1].answer is not None, self.events[-1].error
        return self.events[-1].answer

    @property
    def ids(self) -> list[int]:
        return [event.token_id for event in self.events if event.token_id is not None]


def make(pipeline: Pipeline, slots: int = 8, limit: int | None = None) -> Scheduler:
    return Scheduler(claim_slots(pipeline.model, slots, POSITIONS), limit)


def finish(scheduler: Scheduler) -> None:
    while scheduler.busy:
        scheduler.turn()


def ask(pipeline: Pipeline, scheduler: Scheduler, dialogue: Dialogue | str, options=OPTIONS[0], **rest) -> Answer:
    asked = Asked(pipeline, dialogue, options, **rest)
    scheduler.queue.put(asked.job)
    finish(scheduler)
    return asked.answer


def picture(pipeline: Pipeline) -> Media:
    return load_media(Request(question="x", image_paths=ASSETS / "scene.png"), pipeline.settings.config)


@pytest.fixture(scope="module")
def alone(tiny7_pipeline):
    @cache
    def ids(question: int, options: int) -> tuple[int, ...]:
        return tiny7_pipeline.generate(Request(question=QUESTIONS[question]), OPTIONS[options]).token_ids

    return ids


ARRIVALS = st.lists(
    st.tuples(
        st.integers(0, len(QUESTIONS) - 1),
        st.integers(0, len(OPTIONS) - 1),
        st.one_of(st.none(), st.integers(0, 12)),  # tokens after which it is cancelled
        st.integers(0, 4),  # turns before the next one comes
        st.sampled_from(["", "a", "b"]),
    ),
    max_size=14,
)


@settings(max_examples=40)
@given(slots=st.integers(1, 8), arrivals=ARRIVALS)
def test_any_schedule_gives_the_ids_of_each_answer_alone(tiny7_pipeline, alone, slots: int, arrivals: list) -> None:
    scheduler = make(tiny7_pipeline, slots)
    asked = []
    for question, options, leaves_after, pause, owner in arrivals:
        one = Asked(tiny7_pipeline, QUESTIONS[question], OPTIONS[options], owner=owner)
        asked.append((one, alone(question, options), leaves_after))
        scheduler.queue.put(one.job)
        for _ in range(pause):
            turn_and_leave(scheduler, asked)
    while scheduler.busy:
        turn_and_leave(scheduler, asked)
    for one, whole, leaves_after in asked:
        assert [event.finish_reason is not None for event in one.events] == [False] * len(one.ids) + [True]
        if leaves_after is None:
            assert one.answer.token_ids == whole
        else:
            assert tuple(one.ids) == whole[: len(one.ids)]
            # Two tokens come in the turn in which a prompt was read.
            assert len(one.ids) <= leaves_after + 1
    assert not scheduler.seated
    assert len(scheduler._free) == slots


def turn_and_leave(scheduler: Scheduler, asked: list) -> None:
    for one, _, leaves_after in asked:
        if leaves_after is not None and len(one.ids) >= leaves_after:
            one.job.signal.request("cancelled")
    scheduler.turn()


def test_log_probabilities_come_with_the_tokens_they_have_alone(tiny7_pipeline) -> None:
    scheduler = make(tiny7_pipeline)
    others = [Asked(tiny7_pipeline, QUESTIONS[0], OPTIONS[2]) for _ in range(3)]
    one = Asked(tiny7_pipeline, QUESTIONS[2], OPTIONS[1])
    for each in (*others, one):
        scheduler.queue.put(each.job)
    finish(scheduler)
    alone = [*tiny7_pipeline.stream(Request(question=QUESTIONS[2]), OPTIONS[1])]
    assert [event.logprob for event in one.events[:-1]] == pytest.approx([e.logprob for e in alone[:-1]], abs=1e-5)
    assert [[i for i, _ in e.alternatives] for e in one.events] == [[i for i, _ in e.alternatives] for e in alone]


def test_a_picture_and_a_sound_are_read_as_they_are_alone(tiny7_pipeline) -> None:
    request = Request(question="What?", image_paths=ASSETS / "scene.png", audio_path=ASSETS / "question.wav")
    media = load_media(request, tiny7_pipeline.settings.config)
    answer = ask(tiny7_pipeline, make(tiny7_pipeline), Dialogue((Exchange("What?", media),)))
    alone = tiny7_pipeline.generate(request, OPTIONS[0])
    assert (answer.token_ids, answer.text, answer.state) == (alone.token_ids, alone.text, alone.state)
    assert answer.prompt == alone.prompt.__class__(
        **{**alone.prompt.__dict__, "free_tokens": answer.prompt.free_tokens}
    )
    assert {"queued", "media", "vision", "audio", "prefill", "decode"} <= set(answer.stats.stages)


# Prefixes


def test_a_conversation_sent_again_computes_only_what_is_new(tiny7_pipeline) -> None:
    scheduler, media = make(tiny7_pipeline, 2), picture(tiny7_pipeline)
    first = ask(tiny7_pipeline, scheduler, Dialogue((Exchange("What is this?", media),)))
    turns = Exchange("What is this?", media, first.text, first.token_ids), Exchange("And now?")
    second = ask(tiny7_pipeline, scheduler, Dialogue(turns))
    scratch = ask(tiny7_pipeline, make(tiny7_pipeline), Dialogue(turns))
    assert second.token_ids == scratch.token_ids
    # All but the last token of the answer, which no step has read.
    assert second.prompt.cached_tokens == first.prompt.tokens + len(first.token_ids) - 1
    assert "vision" not in second.stats.stages


def test_another_question_about_the_same_picture_keeps_the_picture(tiny7_pipeline) -> None:
    scheduler, media = make(tiny7_pipeline, 1), picture(tiny7_pipeline)
    first = ask(tiny7_pipeline, scheduler, Dialogue((Exchange("What is this?", media),)))
    other = ask(tiny7_pipeline, scheduler, Dialogue((Exchange("Where?", media),)))
    assert other.prompt.cached_tokens >= first.prompt.image_tokens
    assert (
        other.token_ids == ask(tiny7_pipeline, make(tiny7_pipeline), Dialogue((Exchange("Where?", media),))).token_ids
    )


def test_a_small_change_of_the_picture_is_another_picture(tiny7_pipeline) -> None:
    scheduler, media = make(tiny7_pipeline, 1), picture(tiny7_pipeline)
    ask(tiny7_pipeline, scheduler, Dialogue((Exchange("What is this?", media),)))
    tiles = media.tiles.copy()
    tiles[0, 0, 0, 0] ^= 1
    changed = Media(media.modality, tiles)
    answer = ask(tiny7_pipeline, scheduler, Dialogue((Exchange("What is this?", changed),)))
    assert answer.prompt.cached_tokens < answer.prompt.image_tokens


def test_owners_do_not_share_what_was_read(tiny7_pipeline) -> None:
    scheduler = make(tiny7_pipeline, 2)
    for owner, cached in (("a", False), ("b", False), ("a", True)):
        answer = ask(tiny7_pipeline, scheduler, QUESTIONS[2], owner=owner)
        assert bool(answer.prompt.cached_tokens) == cached


def test_a_new_conversation_takes_the_slot_that_rested_longest(tiny7_pipeline) -> None:
    scheduler = make(tiny7_pipeline, 2)
    texts = [f"{name} " * 200 for name in ("one", "two", "three")]
    for text in texts:
        ask(tiny7_pipeline, scheduler, text)
    assert ask(tiny7_pipeline, scheduler, texts[1]).prompt.cached_tokens > 200
    # Only the system prompt.
    assert ask(tiny7_pipeline, scheduler, texts[0]).prompt.cached_tokens < 200


# Order and ends


class Recorded:
    """Slots that write down what is asked of them."""

    def __init__(self, slots) -> None:
        self._slots, self.calls = slots, []

    def __getattr__(self, name: str):
        return getattr(self._slots, name)

    def prefill(self, slot: int, embeds: torch.Tensor) -> torch.Tensor:
        self.calls.append(("prefill", slot, embeds.shape[1]))
        return self._slots.prefill(slot, embeds)

    def step(self, slots: list[int], ids: torch.Tensor) -> torch.Tensor:
        self.calls.append(("step", *slots))
        return self._slots.step(slots, ids)


def test_running_answers_wait_for_one_piece_of_a_prompt_between_two_tokens(
    tiny7_pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "LIMITS", {"position": (16, 16), "tile": (1, 1)})
    slots = Recorded(claim_slots(tiny7_pipeline.model, 3, POSITIONS))
    scheduler = Scheduler(slots)
    running = Asked(tiny7_pipeline, "hi", GenerationOptions(max_new_tokens=60, min_new_tokens=60))
    scheduler.queue.put(running.job)
    scheduler.turn()
    long = Asked(tiny7_pipeline, "many words " * 60, OPTIONS[1])
    scheduler.queue.put(long.job)
    finish(scheduler)
    kinds = [call[0] for call in slots.calls[1:]]
    pieces = [call[2] for call in slots.calls[1:] if call[0] == "prefill"]
    assert len(pieces) > 5
    assert max(pieces) == 16
    assert "prefill prefill" not in " ".join(kinds)
    assert len(running.ids) == 60


def test_prompts_are_read_in_the_order_of_the_queue_and_before_answers_go_on(
    tiny7_pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pace, "LIMITS", {"position": (512, 512), "tile": (4, 4)})
    scheduler = make(tiny7_pipeline, 4)
    asked = [Asked(tiny7_pipeline, "hi", GenerationOptions(max_new_tokens=30, min_new_tokens=30)) for _ in range(4)]
    for one in asked:
        scheduler.queue.put(one.job)
    for turn in range(1, 5):
        scheduler.turn()
        assert [bool(one.events) for one in asked] == [True] * turn + [False] * (4 - turn)


class StopsAt(GenerationCallback):
    def __init__(self, step: int, raises: bool = False) -> None:
        self.step, self.raises, self.ends = step, raises, []

    def on_token_generated(self, token_id, token_text, step, **kwargs):
        if step == self.step and self.raises:
            raise ValueError("no more")
        return GenerationControl.STOP if step == self.step else None

    def on_generation_end(self, output_ids, **kwargs) -> None:
        self.ends.append((len(output_ids), kwargs["finish_reason"]))


def test_each_answer_has_its_own_callbacks(tiny7_pipeline) -> None:
    scheduler, callbacks = make(tiny7_pipeline), [StopsAt(2), StopsAt(5)]
    options = GenerationOptions(max_new_tokens=20, min_new_tokens=20)
    asked = [Asked(tiny7_pipeline, "hi", options, callbacks=[callback]) for callback in callbacks]
    for one in asked:
        scheduler.queue.put(one.job)
    finish(scheduler)
    assert [callback.ends for callback in callbacks] == [[(3, "stop")], [(6, "stop")]]
    assert [one.answer.finish_reason for one in asked] == ["stop", "stop"]


def test_an_answer_that_fails_harms_no_other(tiny7_pipeline, alone) -> None:
    scheduler, callback = make(tiny7_pipeline, 2), StopsAt(1, raises=True)
    strict = GenerationOptions(max_new_tokens=9, strict_callbacks=True)
    failing = Asked(tiny7_pipeline, QUESTIONS[0], strict, callbacks=[callback])
    other = Asked(tiny7_pipeline, QUESTIONS[0], OPTIONS[0])
    for one in (failing, other):
        scheduler.queue.put(one.job)
    finish(scheduler)
    assert (failing.events[-1].finish_reason, str(failing.events[-1].error)) == ("error", "no more")
    assert callback.ends == [(2, "error")]
    assert other.answer.token_ids == alone(0, 0)
    assert ask(tiny7_pipeline, scheduler, QUESTIONS[0]).token_ids == alone(0, 0)


def test_a_step_that_fails_ends_those_that_took_part(tiny7_pipeline, monkeypatch: pytest.MonkeyPatch, alone) -> None:
    scheduler = make(tiny7_pipeline, 2)
    asked = [Asked(tiny7_pipeline, QUESTIONS[0], OPTIONS[0]) for _ in range(3)]
    for one in asked:
        scheduler.queue.put(one.job)
    scheduler.turn()
    scheduler.turn()

    def fail(*_: object) -> None:
        raise RuntimeError("lightning")

    with monkeypatch.context() as patch:
        patch.setattr(scheduler._slots, "step", fail)
        scheduler.turn()
    finish(scheduler)
    assert [str(one.events[-1].error) for one in asked[:2]] == ["lightning", "lightning"]
    assert asked[2].answer.token_ids == alone(0, 0)


def test_what_does_not_fit_or_go_together_is_refused_at_once(tiny7_pipeline) -> None:
    with pytest.raises(InputError, match="the prompt takes"):
        Asked(tiny7_pipeline, "word " * 400, OPTIONS[0], capacity=300)
    with pytest.raises(ConfigError, match="num_beams does not go with several answers"):
        Asked(tiny7_pipeline, "hi", GenerationOptions(num_beams=2))
    with pytest.raises(ConfigError, match="--speculate 3 does not go"):
        Asked(tiny7_pipeline, "hi", GenerationOptions(speculate=3))
    with pytest.raises(InputError, match="ends with a question"):
        Dialogue((Exchange("a"), Exchange("b")))


def test_an_answer_ends_where_its_slot_does(tiny7_pipeline) -> None:
    capacity = 300
    scheduler = Scheduler(claim_slots(tiny7_pipeline.model, 2, capacity))
    options = GenerationOptions(max_new_tokens=1000, min_new_tokens=1000)
    asked = [Asked(tiny7_pipeline, "hi", options, capacity=capacity) for _ in range(2)]
    for one in asked:
        scheduler.queue.put(one.job)
    finish(scheduler)
    for one in asked:
        assert one.answer.prompt.tokens + len(one.ids) == capacity
        assert one.answer.finish_reason == "length"


def test_nothing_is_left_of_answers_that_have_ended(tiny7_pipeline) -> None:
    scheduler, threads = make(tiny7_pipeline, 3), threading.active_count()
    jobs: list[weakref.ref] = []
    for number in range(30):
        asked = Asked(tiny7_pipeline, QUESTIONS[number % 4], OPTIONS[number % 4])
        jobs.append(weakref.ref(asked.job))
        scheduler.queue.put(asked.job)
        if number % 3 == 0:
            asked.job.signal.request("cancelled")
        if number % 5 == 4:
            finish(scheduler)
    del asked
    finish(scheduler)
    gc.collect()
    assert not [job for job in jobs if job() is not None]
    assert threading.active_count() == threads
    assert len(scheduler._free) == 3
