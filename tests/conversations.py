"""What tests of conversations share: requests, asking, and the same turns computed from scratch."""

from collections.abc import Iterator

import torch

from tests.conftest import ASSETS
from vita_demo.answer import Answer, PromptSummary, Turn
from vita_demo.conversation import Conversation
from vita_demo.engine.generation import Generation
from vita_demo.engine.inputs import Inputs
from vita_demo.generation.events import answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.pipeline import Pipeline
from vita_demo.preprocess.media import load_media
from vita_demo.prompt import PromptTurn, build_prompts
from vita_demo.request import Request

OPTIONS = GenerationOptions(max_new_tokens=24, min_new_tokens=24)
PICTURE = Request(question="What is this?", image_paths=(ASSETS / "scene.png",))
VIDEO = Request(question="What moves?", video_path=ASSETS / "moving.mp4", max_frames=4)
SPOKEN = Request(audio_path=ASSETS / "question.wav")


def ask(chat: Conversation, request: Request | str, options: GenerationOptions = OPTIONS) -> Answer:
    request = Request(question=request) if isinstance(request, str) else request
    answer = answer_of(chat.ask(request, options))
    assert chat.turns[-1] == Turn(request, answer)
    return answer


def ask_and_interrupt(chat: Conversation, request: Request, after: int) -> Answer:
    signal = StopSignal()
    for event in chat.ask(request, OPTIONS, signal=signal):
        if event.step + 1 == after:
            signal.request("cancelled")
    return chat.turns[-1].answer


def from_scratch(pipeline: Pipeline, turns: tuple[Turn, ...], system: str, engine: str = "native") -> tuple[int, ...]:
    """Token ids of the last turn's answer, prefilled in one piece by the engine that knows no conversations."""
    model, tokenizer = pipeline.model, pipeline.tokenizer
    media = [load_media(turn.request, pipeline.settings.config) for turn in turns]
    images = [None if medium.tiles is None else model.encode_tiles(medium.tiles) for medium in media]
    sounds = [None if medium.fbank is None else model.encode_audio(medium.fbank) for medium in media]
    prompt_turns = [
        PromptTurn(
            turn.request.question, 0 if image is None else len(image), sound is not None, "", turn.answer.token_ids
        )
        for turn, image, sound in zip(turns, images, sounds, strict=True)
    ]
    last = prompt_turns[-1]
    prompt_turns[-1] = PromptTurn(last.question, last.images, last.audio)
    prompts = build_prompts(prompt_turns, tokenizer.encode, system)
    features = [image for image in images if image is not None]
    embeds = model.embed(
        [token_id for prompt in prompts for token_id in prompt.input_ids],
        torch.cat(features) if features else None,
        next((sound for sound in sounds if sound is not None), None),
    )
    count = len(turns[-1].answer.token_ids)
    ended = turns[-1].answer.token_ids[-1] in tokenizer.stop_ids
    options = GenerationOptions(max_new_tokens=count, min_new_tokens=count - ended, engine=engine)
    inputs = Inputs(embeds, (), PromptSummary(embeds.shape[1]))
    with Generation(model, options, tokenizer.stop_ids).running(inputs, options) as tokens:
        return tuple(token.token_id for token in tokens)


def assert_as_from_scratch(chat: Conversation, pipeline: Pipeline, system: str) -> None:
    for count in range(1, len(chat.turns) + 1):
        turns = chat.turns[:count]
        assert turns[-1].answer.token_ids == from_scratch(pipeline, turns, system), f"turn {count}"
    assert turns[-1].answer.token_ids == from_scratch(pipeline, turns, system, "transformers")


def take(events: Iterator[object], count: int) -> list[object]:
    return [next(events) for _ in range(count)]
