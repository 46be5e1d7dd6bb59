"""Streamers on transformers' own generate, with a small Qwen2 made on the spot."""

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from tests.generation.fakes import ByteTokenizer, Spy
from vita_demo import CallbackStreamer, GenerationControl, PerformanceCallback, TextIteratorStreamer, TextStreamer
from vita_demo.errors import GenerationError

transformers = pytest.importorskip("transformers")


@pytest.fixture(scope="module")
def qwen():
    config = transformers.Qwen2Config(
        vocab_size=256, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, bos_token_id=None, eos_token_id=None, pad_token_id=0,
    )  # fmt: skip
    torch.manual_seed(0)
    return transformers.Qwen2ForCausalLM(config).eval()


PROMPT = torch.tensor([[65, 66, 67]])


def generate(qwen, **arguments: Any) -> list[int]:
    ids = qwen.generate(PROMPT, max_new_tokens=12, do_sample=False, **arguments)
    return ids[0, PROMPT.shape[1] :].tolist()


class Tokenizer(ByteTokenizer):
    """All ids are bytes."""

    eos_token_id = None

    def decode(self, token_ids: Any, skip_special_tokens: bool = True) -> str:
        return bytes(token_ids).decode("utf-8", errors="replace")


def test_text_streamer_prints_what_was_generated(qwen, capsys: pytest.CaptureFixture[str]) -> None:
    ids = generate(qwen, streamer=TextStreamer(Tokenizer(), skip_prompt=True))
    assert capsys.readouterr().out == Tokenizer().decode(ids) + "\n"
    generate(qwen, streamer=TextStreamer(Tokenizer()))
    assert capsys.readouterr().out == Tokenizer().decode([65, 66, 67, *ids]) + "\n"
    assert isinstance(TextStreamer(Tokenizer()), transformers.TextStreamer)


@given(st.text(st.sampled_from("a中文🙂한\u0301"), max_size=20), st.binary(max_size=6))
def test_any_bytes_stream_to_the_text_decoded_at_once(text: str, tail: bytes) -> None:
    pieces: list[str] = []

    class Collect(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            pieces.append(text)

    streamer = Collect(Tokenizer())
    data = text.encode() + tail
    for byte in data:
        streamer.put(torch.tensor([byte]))
    streamer.end()
    assert "".join(pieces) == data.decode("utf-8", errors="replace")


def test_chinese_is_printed_without_waiting_for_a_line_end() -> None:
    pieces: list[str] = []

    class Collect(TextStreamer):
        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            pieces.append(text)

    streamer = Collect(Tokenizer())
    for byte in "你好".encode():
        streamer.put(torch.tensor([byte]))
    assert pieces == ["你", "好"]


def test_a_batch_is_refused() -> None:
    with pytest.raises(ValueError, match="not a batch of 2"):
        TextStreamer(Tokenizer()).put(torch.zeros(2, 1, dtype=torch.long))


def test_iterator_streamer_raises_the_error_of_the_generating_thread(embedded_pipeline) -> None:
    from threading import Thread

    streamer = TextIteratorStreamer(embedded_pipeline.tokenizer, skip_prompt=True, timeout=30)

    def run() -> None:
        with pytest.raises(Exception, match="placeholders"):
            embedded_pipeline.model.generate([1, -200, 2], streamer=streamer)

    thread = Thread(target=run)
    thread.start()
    with pytest.raises(Exception, match="placeholders"):
        list(streamer)
    thread.join()


def test_iterator_streamer_times_out() -> None:
    with pytest.raises(GenerationError, match="no text came"):
        next(TextIteratorStreamer(Tokenizer(), timeout=0.01))


def test_callbacks_run_on_transformers_own_generate(qwen) -> None:
    spy, performance = Spy(), PerformanceCallback()
    with CallbackStreamer(Tokenizer(), [spy, performance]) as streamer:
        ids = generate(qwen, streamer=streamer)
    tokens = [f"on_token_generated {step}" for step in range(12)]
    assert spy.calls == ["on_generation_start", *tokens, "on_generation_end length"]
    assert spy.text == Tokenizer().decode(ids)
    assert performance.stats.tokens == 12
    assert performance.stats.prompt_positions == 3


@pytest.mark.parametrize("cut", range(1, 7))
def test_text_cut_inside_a_character_reaches_the_callbacks(cut: int) -> None:
    data = "中文".encode()[:cut]
    spy = Spy()
    with CallbackStreamer(Tokenizer(), [spy]) as streamer:
        streamer.put(PROMPT)
        for byte in data:
            streamer.put(torch.tensor([byte]))
        streamer.end()
    assert spy.text == data.decode("utf-8", errors="replace")
    assert len(spy.calls) == cut + 2


def test_any_of_several_stop_tokens_is_a_stop(qwen) -> None:
    fourth = generate(qwen)[3]
    spy = Spy()
    with CallbackStreamer(Tokenizer(), [spy], stop_token_ids=[250, fourth]) as streamer:
        ids = generate(qwen, streamer=streamer, eos_token_id=[250, fourth])
    assert ids[-1] == fourth
    assert spy.calls[-1] == "on_generation_end stop"


def test_callbacks_refuse_a_batch(qwen) -> None:
    spy = Spy()
    with pytest.raises(ValueError, match="not a batch of 2"), CallbackStreamer(Tokenizer(), [spy]) as streamer:
        qwen.generate(PROMPT.repeat(2, 1), max_new_tokens=4, do_sample=False, streamer=streamer)
    assert spy.calls[-1] == "on_generation_end error"


def test_a_callback_stops_transformers_own_generate(qwen) -> None:
    spy = Spy(control=GenerationControl.STOP, at=3)
    with CallbackStreamer(Tokenizer(), [spy]) as streamer:
        ids = generate(qwen, streamer=streamer, stopping_criteria=streamer.stopping_criteria)
    assert 4 <= len(ids) <= 5
    assert spy.calls[-1] == "on_generation_end stop"


def test_an_error_in_transformers_own_generate_ends_with_the_error_hook() -> None:
    spy = Spy()
    with pytest.raises(RuntimeError, match="broke"), CallbackStreamer(Tokenizer(), [spy]) as streamer:
        streamer.put(PROMPT)
        raise RuntimeError("generate broke")
    assert spy.calls[-2:] == ["on_generation_error generate broke", "on_generation_end error"]
