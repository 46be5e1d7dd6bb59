"""Speculation with real weights, from the command line to the cache: other times, the same answers."""

import io
import json
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from tests.conftest import ASSETS, Run
from tests.conversations import PICTURE, SPOKEN, ask, assert_as_from_scratch, take
from tests.model.fakes import CONFIG, make_model
from vita_demo import GenerationCallback, generate_with_callbacks, prepare_inputs
from vita_demo.answer import PromptSummary
from vita_demo.commands.report import report
from vita_demo.conversation import Conversation
from vita_demo.engine.generation import Generation
from vita_demo.engine.inputs import Inputs
from vita_demo.errors import ConfigError
from vita_demo.generation.events import answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.metrics import Drafts, RunStats
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.language_model import LanguageModel
from vita_demo.prompt import system_prompts

Vita = Callable[..., Run]
# Past its end the trained model repeats itself, so guesses come true.
LONG = {"max_new_tokens": 64, "min_new_tokens": 64}
SCENE = ("--image_path", ASSETS / "scene.png", "--question", "Describe this image.", "--max_new_tokens", 40)
pytestmark = pytest.mark.usefixtures("float32_on_the_cpu")


@pytest.fixture(scope="module")
def model() -> LanguageModel:
    return make_model()


def decoder_after(model: LanguageModel, prompt: int, capacity: int = 80) -> Decoder:
    decoder = Decoder(model, model.allocate_cache(capacity))
    decoder.prefill(torch.randn(1, prompt, CONFIG.hidden_size, generator=torch.Generator().manual_seed(prompt)))
    return decoder


@pytest.mark.parametrize("count", range(1, 10))
@torch.inference_mode()
def test_one_pass_gives_the_logits_of_its_steps(model: LanguageModel, count: int) -> None:
    ids = torch.randint(0, CONFIG.vocab_size, (count,), generator=torch.Generator().manual_seed(count))
    ours, theirs = decoder_after(model, 9), decoder_after(model, 9)
    logits = ours.verify(ids)
    expected = torch.cat([theirs.step(token_id[None]).clone() for token_id in ids])
    assert logits.shape == (count, CONFIG.vocab_size)
    assert torch.allclose(logits, expected, rtol=1e-4, atol=1e-5 * float(expected.abs().max()))
    assert ours.cache.length == 10


@torch.inference_mode()
def test_what_is_not_accepted_is_written_over(model: LanguageModel) -> None:
    ours, theirs = decoder_after(model, 9), decoder_after(model, 9)
    ours.verify(torch.tensor([3, 7, 50, 51, 52]))
    ours.commit()
    assert ours.cache.length == 11
    for token_id in (3, 7):
        theirs.step(torch.tensor([token_id]))
    for decoder in (ours, theirs):
        decoder.logits = [decoder.step(torch.tensor([token_id])).clone() for token_id in (8, 9, 10)]
    assert torch.allclose(torch.cat(ours.logits), torch.cat(theirs.logits), rtol=1e-4, atol=1e-4)


class Alone:
    """A language model where a whole model is expected."""

    device = torch.device("cpu")
    quantize = None

    def __init__(self, language_model: LanguageModel) -> None:
        self.language_model = language_model
        self.decoders: list[Decoder] = []

    @contextmanager
    def lend_decoder(self, capacity: int) -> Iterator[Decoder]:
        self.decoders.append(Decoder(self.language_model, self.language_model.allocate_cache(capacity)))
        yield self.decoders[-1]


def sampled(alone: Alone, embeds: torch.Tensor, options: GenerationOptions, drafts: Drafts) -> list[int]:
    generation = Generation(alone, options, ())
    generation.recorder.drafts = drafts if options.speculate else None
    inputs = Inputs(embeds, (), PromptSummary(embeds.shape[1]))
    with generation.running(inputs, options) as tokens:
        return [token.token_id for token in tokens]


def test_on_a_gpu_it_is_refused_in_one_line(model: LanguageModel) -> None:
    on_gpu = Alone(model)
    on_gpu.device = torch.device("cuda", 0)
    with pytest.raises(ConfigError, match=r"^--speculate 4 is slower than single steps on a GPU.*; leave it out$"):
        Generation(on_gpu, GenerationOptions(speculate=4), ())


@pytest.mark.parametrize("speculate", range(1, 9))
def test_random_weights_give_the_tokens_of_the_plain_loop(model: LanguageModel, speculate: int) -> None:
    accepted = 0
    for seed in range(4):
        embeds = torch.randn(1, 5 + seed, CONFIG.hidden_size, generator=torch.Generator().manual_seed(seed))
        alone, drafts = Alone(model), Drafts()
        options = [GenerationOptions(max_new_tokens=60, speculate=count) for count in (0, speculate)]
        plain, ours = (sampled(alone, embeds, each, drafts) for each in options)
        assert ours == plain
        assert alone.decoders[0].cache.length == alone.decoders[1].cache.length == 5 + seed + 59
        accepted += drafts.accepted
    assert accepted


@pytest.mark.parametrize("request_", [PICTURE, SPOKEN], ids=["picture", "spoken"])
def test_the_embedded_model_answers_the_same_in_fewer_passes(request_, embedded_pipeline) -> None:
    plain = embedded_pipeline.generate(request_, GenerationOptions(**LONG, top_logprobs=0))
    events = list(embedded_pipeline.stream(request_, GenerationOptions(**LONG, top_logprobs=0, speculate=6)))
    answer = events[-1].answer
    assert answer.token_ids == plain.token_ids
    assert answer.text == plain.text
    drafts = answer.stats.drafts
    assert 0 < drafts.accepted <= drafts.proposed
    times = [event.time_s for event in events[:-1]]
    assert len(set(times)) == len(times) - drafts.accepted
    assert plain.stats.drafts is None


class Recorder(GenerationCallback):
    def __init__(self) -> None:
        self.steps: list[int] = []
        self.ids: list[int] = []
        self.stats: RunStats | None = None

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: object) -> None:
        self.steps.append(step)
        self.ids.append(token_id)

    def on_generation_end(self, output_ids, **kwargs: object) -> None:
        self.stats = kwargs["stats"]


def test_the_functions_of_the_guide_take_it(embedded_pipeline) -> None:
    model, tokenizer = embedded_pipeline.model, embedded_pipeline.tokenizer
    inputs = prepare_inputs(model, tokenizer, "Describe this image.", image_path=ASSETS / "scene.png")
    expected = model.generate(**inputs, **LONG)
    assert torch.equal(model.generate(**inputs, **LONG, speculate=4), expected)
    recorder = Recorder()
    ids = generate_with_callbacks(model, tokenizer, **inputs, callbacks=[recorder], **LONG, speculate=4)
    assert torch.equal(ids, expected)
    assert recorder.ids == expected[0].tolist()
    assert recorder.steps == list(range(64))
    assert recorder.stats.drafts.accepted > 0


def test_turns_go_on_as_if_nothing_had_been_guessed(embedded_pipeline) -> None:
    chat, options = Conversation(embedded_pipeline), GenerationOptions(**LONG, speculate=5)
    ask(chat, PICTURE, options)
    ask(chat, "And now?", options)
    assert sum(turn.answer.stats.drafts.accepted for turn in chat.turns) > 0
    events = chat.ask(SPOKEN, options)
    take(events, 41)
    events.close()
    assert len(chat.turns[-1].answer.token_ids) == 41
    ask(chat, PICTURE, options)
    again = answer_of(chat.regenerate(options))
    assert again.token_ids == chat.turns[-1].answer.token_ids
    assert_as_from_scratch(chat, embedded_pipeline, system_prompts()["image"])


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"engine": "transformers"}, "--speculate 4 works in the native engine only; leave it or --engine tra"),
        ({"num_beams": 2}, "native engine only; leave it or num_beams"),
        ({"no_repeat_ngram_size": 2}, "native engine only; leave it or no_repeat_ngram_size"),
        ({"speculate": -1}, r"speculate -1 must be 0 \(off\) or more"),
        ({"prompt_lookup_num_tokens": 3, "speculate": 0}, "give speculate instead"),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(values: dict, words: str, embedded_pipeline) -> None:
    with pytest.raises(ConfigError, match=words):
        embedded_pipeline.model.generate([1, 2, 3], **{"speculate": 4, **values})


def test_the_command_line_counts_drafts_where_they_were_asked_for(vita: Vita, tmp_path: Path) -> None:
    plain, ours = vita(*SCENE, "--json"), vita(*SCENE, "--json", "--speculate", 4)
    assert ours.json["token_ids"] == plain.json["token_ids"]
    assert set(ours.json["metrics"]) - set(plain.json["metrics"]) == {"drafts"}
    assert set(ours.json["metrics"]["drafts"]) == {"proposed", "accepted"}
    assert "drafts" not in plain.err
    assert " accepted" in ours.err
    preset = tmp_path / "mine.toml"
    preset.write_text("speculate = 3\njson = true\n")
    assert "drafts" in vita("--config", preset, *SCENE).json["metrics"]
    run = vita(*SCENE, "--speculate", 4, "--engine", "transformers")
    assert run.error == "--speculate 4 works in the native engine only; leave it or --engine transformers out"
    assert run.code == 2


def test_a_saved_run_keeps_it(vita: Vita, tmp_path: Path) -> None:
    vita(*SCENE, "--speculate", 4, "--save_run", tmp_path)
    assert json.loads((tmp_path / "run.json").read_text())["options"]["speculate"] == 4
    assert vita("replay", tmp_path).code == 0


def test_a_comparison_proves_it_against_the_other_engine(vita: Vita, tmp_path: Path) -> None:
    modes = ("--modes", "blocking,callbacks,transformers", "--runs", 1)
    run = vita("compare", *SCENE, *modes, "--speculate", 4, "--output", tmp_path / "x.json")
    assert run.code == 0
    ours, _, theirs = json.loads((tmp_path / "x.json").read_text())["modes"]
    assert "drafts" in ours["runs"][0]["metrics"]
    assert "drafts" not in theirs["runs"][0]["metrics"]


def test_a_chat_takes_it(vita: Vita, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("Describe what you see.\n"))
    run = vita("chat", "--speculate", 4, "--max_new_tokens", 24)
    assert run.code == 0
    assert " accepted · finished by" in run.err


def test_bandwidth_counts_passes_not_tokens(embedded_pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    stats = RunStats({}, 10, 9, 0.1, 0.1, None, 1.0, [0.1, 0.0, 0.0, 0.0] * 2, drafts=Drafts(8, 6))
    assert stats.decode_tps == pytest.approx(40)
    assert stats.passes_tps == pytest.approx(10)
    assert replace(stats, drafts=None).passes_tps == stats.decode_tps
    monkeypatch.setattr("vita_demo.commands.report.copy_bandwidth_bytes_per_s", lambda _device: 1e9)
    answer = embedded_pipeline.generate(PICTURE, GenerationOptions(max_new_tokens=2))
    fractions = [
        report(replace(answer, stats=each), embedded_pipeline, GenerationOptions())["metrics"]["bandwidth_fraction"]
        for each in (stats, replace(stats, drafts=None))
    ]
    assert fractions[1] == pytest.approx(4 * fractions[0])
