"""Ways to decode the same prompt with the same weights: this package's loop and transformers' ``generate``."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vita_demo.engine import Watch, continued_events
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import TokenEvent
from vita_demo.generation.options import GenerationOptions
from vita_demo.metrics import RunRecorder
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.transformers_bridge import to_transformers
from vita_demo.model.vita import Decoder

NATIVE, BASELINE = "native", "transformers, streamer"


@dataclass(frozen=True)
class Decoded:
    """One answer.

    Attributes:
        token_ids: what was generated.
        times_s: when each token came, counted from the start of prefill.
    """

    token_ids: tuple[int, ...]
    times_s: tuple[float, ...]

    @property
    def tpot_s(self) -> float:
        """Time per token after the first."""
        return self.tpot_before(len(self.times_s), len(self.times_s) - 1)

    def tpot_before(self, count: int, window: int) -> float:
        """Time per token of the last ``window`` of the first ``count`` tokens."""
        return (self.times_s[count - 1] - self.times_s[count - 1 - window]) / window

    def equal_tokens(self, other: "Decoded") -> int:
        """Count the tokens before the first difference."""
        pairs = zip(self.token_ids, other.token_ids, strict=True)
        return next((step for step, (ours, theirs) in enumerate(pairs) if ours != theirs), len(self.token_ids))


def decoded(start: float, times: Sequence[float], token_ids: Sequence[int]) -> Decoded:
    """Count the times from ``start``."""
    return Decoded(tuple(token_ids), tuple(time_s - start for time_s in times))


class Letters:
    """A tokenizer without files: each id is one of 95 printable characters, and nothing stops an answer."""

    stop_ids: frozenset[int] = frozenset()
    states: Mapping[int, str] = {}

    def decode(self, token_ids: Sequence[int], skip_special_tokens: bool = True, **_: Any) -> str:
        """Turn ids into text."""
        return "".join(chr(32 + int(token_id) % 95) for token_id in token_ids)


class Counting(GenerationCallback):
    """Does as little as a callback can."""

    count = 0

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:
        """Count."""
        self.count += 1


Way = Callable[[Tensor, int], Decoded]
"""Answers a prompt [1, S, D] with so many tokens."""


def make_ways(model: LanguageModel, callbacks: int = 3) -> dict[str, Way]:
    """Make the native loop and transformers' ``generate`` over one set of weights, without and with callbacks."""
    theirs = to_transformers(model)

    def native(count: int, prompt: Tensor, tokens: int) -> Decoded:
        with torch.inference_mode():
            decoder = Decoder(model, model.allocate_cache(prompt.shape[1] + tokens))
        recorder, start = RunRecorder(), time.perf_counter()
        watch, options = Watch(recorder, [Counting() for _ in range(count)]), GenerationOptions(max_new_tokens=tokens)
        events = continued_events(decoder, Letters(), prompt, [], options, watch)
        seen = [event for event in events if isinstance(event, TokenEvent)]
        return decoded(start, [event.time_s for event in seen], [event.token_id for event in seen])

    def generate(make_streamer: Callable[[], Any], prompt: Tensor, tokens: int) -> Decoded:
        streamer, start = make_streamer(), time.perf_counter()
        run_generate(theirs, prompt, tokens, streamer)
        return decoded(start, streamer.times, streamer.token_ids)

    return {
        NATIVE: partial(native, 0),
        f"{NATIVE}, {callbacks} callbacks": partial(native, callbacks),
        BASELINE: partial(generate, _text_streamer),
        f"{BASELINE}, {callbacks} callbacks": partial(generate, partial(_callback_streamer, callbacks)),
    }


def run_generate(model: Any, prompt: Tensor, tokens: int, streamer: Any) -> None:
    """Call transformers' ``generate`` as its users do, greedy, with its default cache."""
    with torch.inference_mode():
        model.generate(
            inputs_embeds=prompt,
            attention_mask=torch.ones(prompt.shape[:2], dtype=torch.long, device=prompt.device),
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
            streamer=streamer,
        )


def _text_streamer() -> Any:
    import transformers

    class Silent(_Timed, transformers.TextStreamer):
        """transformers' streamer, its text thrown away instead of printed."""

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            """Do nothing."""

    return Silent(Letters(), skip_prompt=True)


def _callback_streamer(callbacks: int) -> Any:
    from vita_demo.generation.streamers import CallbackStreamer

    class Timed(_Timed, CallbackStreamer):
        """This package's streamer for any ``generate``."""

    return Timed(Letters(), [Counting() for _ in range(callbacks)])


class _Timed:
    """Notes when each token comes; the first ``put`` is the prompt."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.times: list[float] = []
        self.token_ids: list[int] = []
        self._seen_prompt = False

    def put(self, value: Tensor) -> None:
        """Take the prompt's ids, then one token at a time."""
        if self._seen_prompt:
            self.token_ids.append(int(value))
            self.times.append(time.perf_counter())
        self._seen_prompt = True
        super().put(value)  # type: ignore[misc]
