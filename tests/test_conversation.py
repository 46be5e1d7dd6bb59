"""Conversations: what the cache remembers is what computing everything again would give."""

from pathlib import Path

import pytest

from tests.conftest import copy_checkpoint
from tests.conversations import (
    OPTIONS,
    PICTURE,
    SPOKEN,
    VIDEO,
    ask,
    ask_and_interrupt,
    assert_as_from_scratch,
    from_scratch,
    take,
)
from vita_demo.answer import Answer, Turn
from vita_demo.conversation import Conversation
from vita_demo.errors import ConfigError, InputError, MediaError
from vita_demo.generation.events import answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.model.decode.cpu_step import Buffers
from vita_demo.model.language_model import KVCache
from vita_demo.pipeline import Pipeline
from vita_demo.prompt import system_prompts
from vita_demo.request import Request


@pytest.fixture
def chat(embedded_pipeline: Pipeline) -> Conversation:
    return Conversation(embedded_pipeline)


def test_every_turn_is_as_if_computed_from_scratch(chat: Conversation, embedded_pipeline: Pipeline) -> None:
    ask(chat, PICTURE)
    ask(chat, "And now?")
    assert len(ask_and_interrupt(chat, Request(question="Go on."), after=5).token_ids) == 5
    ask(chat, SPOKEN)
    again = answer_of(chat.regenerate(OPTIONS))
    assert again.token_ids == chat.turns[-1].answer.token_ids
    ask(chat, "to be taken back")
    chat.undo()
    ask(chat, PICTURE)
    ask(chat, "The last question?")
    assert [turn.answer.finish_reason for turn in chat.turns] == [
        "length",
        "length",
        "cancelled",
        "length",
        "length",
        "length",
    ]
    assert_as_from_scratch(chat, embedded_pipeline, system_prompts()["image"])


def test_only_new_positions_are_computed(chat: Conversation) -> None:
    first, second = ask(chat, PICTURE), ask(chat, "And now?")
    assert first.prompt.cached_tokens == 0
    # The last token of an answer is never read back while it is made.
    assert second.prompt.cached_tokens == first.prompt.tokens + len(first.token_ids) - 1
    assert second.stats.prompt_positions == second.prompt.tokens - second.prompt.cached_tokens < 40


def test_regenerate_reuses_all_but_the_last_position(chat: Conversation) -> None:
    ask(chat, PICTURE)
    before = ask(chat, "And now?")
    again = answer_of(chat.regenerate(OPTIONS))
    assert again.prompt.tokens - again.prompt.cached_tokens == 1
    assert again.token_ids == before.token_ids
    assert len(chat.turns) == 2
    sampled = GenerationOptions(max_new_tokens=24, do_sample=True, temperature=5.0, seed=1)
    assert answer_of(chat.regenerate(sampled)).token_ids != before.token_ids


def test_the_cache_grows_by_copying(embedded_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vita_demo.engine.vita._CPU_CAPACITY_STEP", 8)
    grown: list[tuple[int, int]] = []
    grow = type(embedded_pipeline.model.language_model).grow_cache

    def spy(self: object, cache: KVCache, capacity: int) -> KVCache:
        grown.append((cache.capacity, capacity))
        return grow(self, cache, capacity)

    monkeypatch.setattr(type(embedded_pipeline.model.language_model), "grow_cache", spy)
    chat = Conversation(embedded_pipeline)
    for question in ("One?", "Two?", "Three?"):
        ask(chat, question)
    assert len(grown) == 2
    assert all(before < after for before, after in grown)
    assert_as_from_scratch(chat, embedded_pipeline, system_prompts()["text"])


@pytest.mark.parametrize(("later", "modality"), [(PICTURE, "image"), (VIDEO, "video")])
def test_the_first_media_change_the_system_prompt_and_nothing_is_reused(
    later: Request, modality: str, chat: Conversation, embedded_pipeline: Pipeline
) -> None:
    ask(chat, "Hello?")
    answer = ask(chat, later)
    assert answer.prompt.cached_tokens == 0
    answer = ask(chat, VIDEO if later is PICTURE else PICTURE)
    assert answer.prompt.cached_tokens > 0
    system = system_prompts()
    assert chat.turns[-1].answer.token_ids == from_scratch(embedded_pipeline, chat.turns, system[modality])
    chat.undo()
    chat.undo()
    answer = ask(chat, "And now?")
    assert answer.prompt.cached_tokens == 0
    assert answer.token_ids == from_scratch(embedded_pipeline, chat.turns, system["text"])


def test_undo_of_the_first_picture_and_another_keeps_what_is_still_true(
    chat: Conversation, embedded_pipeline: Pipeline
) -> None:
    ask(chat, "Hello?")
    ask(chat, PICTURE)
    chat.undo()
    answer = ask(chat, PICTURE)
    assert answer.prompt.cached_tokens > 0
    assert answer.token_ids == from_scratch(embedded_pipeline, chat.turns, system_prompts()["image"])


def test_a_closed_stream_keeps_what_was_delivered(chat: Conversation, embedded_pipeline: Pipeline) -> None:
    events = chat.ask(PICTURE, OPTIONS)
    delivered = [event.token_id for event in take(events, 6)]
    events.close()
    assert chat.turns[0].answer.token_ids == tuple(delivered)
    assert chat.turns[0].answer.finish_reason == "cancelled"
    chat.ask(Request(question="unheard"), OPTIONS).close()
    assert len(chat.turns) == 1
    ask(chat, "And now?")
    assert_as_from_scratch(chat, embedded_pipeline, system_prompts()["image"])


def test_a_keyboard_interrupt_keeps_what_was_delivered(
    chat: Conversation, embedded_pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    attend = Buffers.attend
    calls: list[int] = []

    def interrupted(*args: object) -> None:
        calls.append(1)
        if len(calls) == 2 * embedded_pipeline.model.config.text.num_hidden_layers + 4:
            raise KeyboardInterrupt
        attend(*args)

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(Buffers, "attend", interrupted)
        ask(chat, "Hello?")
    assert len(chat.turns[0].answer.token_ids) == 3
    ask(chat, "And now?")
    assert_as_from_scratch(chat, embedded_pipeline, system_prompts()["text"])


def test_an_error_leaves_the_conversation_as_it_was(
    chat: Conversation, embedded_pipeline: Pipeline, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ask(chat, PICTURE)
    (tmp_path / "x.png").write_text("no picture")
    with pytest.raises(MediaError):
        ask(chat, Request(question="?", image_paths=(tmp_path / "x.png",)))
    with pytest.raises(ConfigError, match="does not go with a conversation"):
        ask(chat, "?", GenerationOptions(num_beams=2))
    step = "vita_demo.engine.vita.Decoder.step"
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="broke"):
        patch.setattr(step, lambda *_: (_ for _ in ()).throw(RuntimeError("it broke")))
        ask(chat, "?")
    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="broke"):
        patch.setattr(step, lambda *_: (_ for _ in ()).throw(RuntimeError("it broke")))
        list(chat.regenerate(OPTIONS))
    assert len(chat.turns) == 1
    ask(chat, "And now?")
    assert_as_from_scratch(chat, embedded_pipeline, system_prompts()["image"])


def test_undo_and_regenerate_need_a_turn(chat: Conversation) -> None:
    with pytest.raises(InputError, match="no turn to take back"):
        chat.undo()
    with pytest.raises(InputError, match="no answer to make again"):
        list(chat.regenerate())


def test_a_system_prompt_of_ones_own_begins_anew(chat: Conversation, embedded_pipeline: Pipeline) -> None:
    ask(chat, "Hello?")
    chat.restart("You are a pirate.")
    assert chat.turns == ()
    ask(chat, "Hello?")
    answer = ask(chat, PICTURE)
    assert answer.prompt.cached_tokens > 0
    assert_as_from_scratch(chat, embedded_pipeline, "You are a pirate.")
    chat.restart("an <image>")
    ask(chat, "a <image> and an <|im_end|>")
    assert_as_from_scratch(chat, embedded_pipeline, "an <image>")


def test_restored_turns_continue_exactly(chat: Conversation, embedded_pipeline: Pipeline) -> None:
    ask(chat, PICTURE)
    ask_and_interrupt(chat, SPOKEN, after=3)
    other = Conversation(embedded_pipeline)
    other.restart(None, chat.turns)
    restored = ask(other, "And now?")
    assert restored.prompt.cached_tokens == 0
    assert restored.token_ids == ask(chat, "And now?").token_ids
    with pytest.raises(InputError, match="tokenizer"):
        other.restart(None, [Turn(SPOKEN, Answer("text", (10**6,), "stop"))])
    assert len(other.turns) == 3


@pytest.fixture(scope="module")
def short_pipeline(embedded_pipeline: Pipeline, tmp_path_factory: pytest.TempPathFactory) -> Pipeline:
    """The embedded model with a context of 160 positions."""
    folder = tmp_path_factory.mktemp("short") / "short"
    copy_checkpoint(embedded_pipeline.settings.folder, folder, max_position_embeddings=160)
    return Pipeline.load(str(folder), device="cpu", dtype="float32")


def test_a_full_context_is_known_before_the_answer(short_pipeline: Pipeline) -> None:
    chat = Conversation(short_pipeline)
    options = GenerationOptions(max_new_tokens=100)
    answer = ask(chat, "Hello?", options)
    assert answer.prompt.free_tokens == 160 - answer.prompt.tokens > len(answer.token_ids)
    assert answer.finish_reason == "stop"
    answer = ask(chat, "Hello again?", options)
    assert answer.prompt.free_tokens == len(answer.token_ids) < 24
    assert answer.finish_reason == "length"
    before = chat.turns
    with pytest.raises(InputError, match=r"the model has 160, 0 of them free.*/undo"):
        ask(chat, "One more?")
    assert chat.turns == before
    chat.undo()
    answer = ask(chat, "Hello again?", options)
    assert answer.prompt.cached_tokens > 100
    assert_as_from_scratch(chat, short_pipeline, system_prompts()["text"])
