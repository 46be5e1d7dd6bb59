"""The callbacks guide's seven usage examples, written out: Methods 1 to 4 and Examples 1 to 3."""

import time
from threading import Thread

import pytest
import torch

from tests.conftest import ASSETS
from vita_demo import (
    GenerationCallback,
    LoggingCallback,
    PerformanceCallback,
    ProgressCallback,
    TextIteratorStreamer,
    TextStreamer,
    VITAModelWithCallbacks,
    generate_with_callbacks,
    generate_with_iterator_streamer,
    generate_with_streaming,
    prepare_inputs,
)

ANSWER = "There are three shapes on a light blue background. A small blue"


@pytest.fixture
def guide(embedded_pipeline):
    """The names that the guide's snippets begin with."""
    model, tokenizer = embedded_pipeline.model, embedded_pipeline.tokenizer
    inputs = prepare_inputs(model, tokenizer, "Describe this image.", image_path=ASSETS / "scene.png")
    return model, tokenizer, inputs["input_ids"], inputs["images"], inputs["audios"]


class KeywordsStoppingCriteria:
    """As in the original demo: stops when the answer ends with the ids of a keyword, or holds its text."""

    def __init__(self, keywords, tokenizer, input_ids) -> None:
        self.keywords = keywords
        self.keyword_ids = []
        self.max_keyword_len = 0
        for keyword in keywords:
            cur_keyword_ids = tokenizer(keyword).input_ids
            if len(cur_keyword_ids) > 1 and cur_keyword_ids[0] == tokenizer.bos_token_id:
                cur_keyword_ids = cur_keyword_ids[1:]
            self.max_keyword_len = max(self.max_keyword_len, len(cur_keyword_ids))
            self.keyword_ids.append(torch.tensor(cur_keyword_ids))
        self.tokenizer = tokenizer
        self.start_len = input_ids.shape[1]

    def __call__(self, output_ids, scores, **kwargs) -> bool:
        offset = max(1, min(output_ids.shape[1], self.max_keyword_len))
        for keyword_id in self.keyword_ids:
            if torch.equal(output_ids[0, -keyword_id.shape[0] :], keyword_id.to(output_ids.device)):
                return True
        outputs = self.tokenizer.batch_decode(output_ids[:, -offset:], skip_special_tokens=True)[0]
        return any(keyword in outputs for keyword in self.keywords)


class GuideCallback(GenerationCallback):
    """The guide's logging callback, word for word."""

    def __init__(self, tokenizer) -> None:
        self.tokenizer = tokenizer
        self.lines = []

    def on_generation_start(self, input_ids, **kwargs) -> None:
        self.lines.append(f"Starting generation with input length: {input_ids.shape[1]}")

    def on_token_generated(self, token_id, token_text, step, **kwargs) -> None:
        self.lines.append(f"Step {step}: token {token_id} -> '{token_text}'")

    def on_generation_end(self, output_ids, **kwargs) -> None:
        self.lines.append(f"Generation completed. Total tokens: {len(output_ids)} {output_ids.shape[-1]}")


def test_method_1_streaming(guide, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer, input_ids, images, audios = guide
    output_ids = generate_with_streaming(model, tokenizer, input_ids, images, audios, max_new_tokens=14)
    assert capsys.readouterr().out == ANSWER + "\n"
    streamer = TextStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True)
    again = model.generate(
        input_ids, images=images, audios=audios, do_sample=False, max_new_tokens=14, use_cache=True, streamer=streamer
    )
    assert capsys.readouterr().out.endswith(ANSWER + "\n")
    assert torch.equal(output_ids, again)


def test_method_2_callbacks(guide) -> None:
    model, tokenizer, input_ids, images, audios = guide
    mine = GuideCallback(tokenizer)
    performance = PerformanceCallback()
    output_ids = generate_with_callbacks(
        model=model,
        tokenizer=tokenizer,
        input_ids=input_ids,
        images=images,
        audios=audios,
        callbacks=[mine, LoggingCallback(tokenizer), ProgressCallback(max_new_tokens=14), performance],
        max_new_tokens=14,
    )
    assert mine.lines[0] == f"Starting generation with input length: {input_ids.shape[1]}"
    assert mine.lines[-1] == "Generation completed. Total tokens: 14 14"
    assert len(mine.lines) == 16
    assert output_ids.shape == (1, 14)
    assert performance.stats.tokens == 14


def test_method_3_iterator(guide) -> None:
    model, tokenizer, input_ids, images, audios = guide
    text = ""
    for new_text in generate_with_iterator_streamer(model, tokenizer, input_ids, images, audios, max_new_tokens=14):
        text += new_text
    assert text == ANSWER
    streamer = TextIteratorStreamer(tokenizer, skip_prompt=True, skip_special_tokens=True, timeout=60)
    arguments = {"input_ids": input_ids, "images": images, "audios": audios, "max_new_tokens": 14}
    thread = Thread(target=model.generate, kwargs={**arguments, "streamer": streamer})
    thread.start()
    assert "".join(streamer).endswith(ANSWER)
    thread.join()


def test_method_4_the_wrapper(guide) -> None:
    model, tokenizer, input_ids, images, audios = guide
    wrapped = VITAModelWithCallbacks(model, tokenizer)
    mine = GuideCallback(tokenizer)
    wrapped.add_callback(mine)
    wrapped.add_callback(ProgressCallback(max_new_tokens=14))
    output_ids = wrapped.generate(input_ids, images=images, audios=audios, max_new_tokens=14)
    assert tokenizer.decode(output_ids[0]).endswith(ANSWER)
    assert len(mine.lines) == 16


@pytest.mark.parametrize("form", ["new ids", "all ids"])
def test_example_1_a_loop_by_hand(guide, form: str) -> None:
    model, tokenizer, input_ids, images, audios = guide
    callbacks = [GuideCallback(tokenizer)]
    generated_ids, past_key_values, current_ids = [], None, input_ids
    for callback in callbacks:
        callback.on_generation_start(input_ids)
    with torch.no_grad():
        for step in range(14):
            outputs = model(
                input_ids=current_ids,
                images=images,
                audios=audios,
                past_key_values=past_key_values,
                use_cache=True,
                return_dict=True,
            )
            past_key_values = outputs.past_key_values
            next_token_id = torch.argmax(outputs.logits[:, -1, :], dim=-1)
            token_id = next_token_id.item()
            generated_ids.append(token_id)
            for callback in callbacks:
                callback.on_token_generated(token_id, tokenizer.decode([token_id], skip_special_tokens=True), step)
            if token_id == tokenizer.eos_token_id:
                break
            new_ids = next_token_id.unsqueeze(0)
            current_ids = new_ids if form == "new ids" else torch.cat([current_ids, new_ids], dim=-1)
    for callback in callbacks:
        callback.on_generation_end(torch.tensor(generated_ids))
    assert generated_ids == model.generate(input_ids, images, audios, max_new_tokens=14)[0].tolist()
    assert callbacks[0].lines[-1] == "Generation completed. Total tokens: 14 14"


def test_example_2_a_callback_of_ones_own(guide) -> None:
    class TimingCallback(GenerationCallback):
        def __init__(self) -> None:
            self.start_time, self.token_times = 0.0, []

        def on_generation_start(self, input_ids, **kwargs) -> None:
            self.start_time = time.time()

        def on_token_generated(self, token_id, token_text, step, **kwargs) -> None:
            self.token_times.append(time.time() - self.start_time)

    model, tokenizer, input_ids, images, audios = guide
    timing = TimingCallback()
    generate_with_callbacks(model, tokenizer, input_ids, images, audios, [timing], max_new_tokens=5)
    assert len(timing.token_times) == 5
    assert timing.token_times == sorted(timing.token_times)


def test_example_3_stopping_criteria(guide, capsys: pytest.CaptureFixture[str]) -> None:
    model, tokenizer, input_ids, images, audios = guide
    stop = {"stopping_criteria": [KeywordsStoppingCriteria([" blue"], tokenizer, input_ids)], "max_new_tokens": 14}
    plain = model.generate(input_ids, images=images, audios=audios, **stop)
    text = "There are three shapes on a light blue"
    assert tokenizer.decode(plain[0]).endswith(text)
    assert torch.equal(generate_with_streaming(model, tokenizer, input_ids, images, audios, **stop), plain)
    assert capsys.readouterr().out == text + "\n"
    assert torch.equal(generate_with_callbacks(model, tokenizer, input_ids, images, audios, **stop), plain)
    assert "".join(generate_with_iterator_streamer(model, tokenizer, input_ids, images, audios, **stop)) == text
    wrapped = VITAModelWithCallbacks(model, tokenizer)
    assert torch.equal(wrapped.generate(input_ids, images=images, audios=audios, **stop), plain)
