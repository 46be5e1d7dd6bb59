"""Ways to decode the same prompt with the same weights: this package's loop and transformers' ``generate``."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

from benchmarks.shapes import Shape
from vita_demo.engine import Watch, continued_events
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import TokenEvent
from vita_demo.generation.options import GenerationOptions
from vita_demo.metrics import RunRecorder
from vita_demo.model.transformers_bridge import to_transformers
from vita_demo.model.vita import Decoder


@dataclass(frozen=True)
class Decoded:
    """One answer.

    Attributes:
        token_ids: what was generated.
        tpot_s: time per token after the first.
        ttft_s: start of prefill to the first token.
    """

    token_ids: tuple[int, ...]
    tpot_s: float
    ttft_s: float

    @classmethod
    def at(cls, start: float, times: Sequence[float], token_ids: Sequence[int]) -> "Decoded":
        """Derive the figures from the times at which tokens came."""
        gaps = [later - earlier for earlier, later in pairwise(times)]
        return cls(tuple(token_ids), sum(gaps) / len(gaps), times[0] - start)


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


def make_ways(shape: Shape, positions: int, tokens: int, callbacks: int = 3) -> dict[str, Callable[[], Decoded]]:
    """Make the native loop and transformers' ``generate`` over one set of weights, without and with callbacks."""
    model, prompt = shape.build(), shape.prompt(positions)
    theirs = to_transformers(model)
    options = GenerationOptions(max_new_tokens=tokens)

    def native(count: int) -> Decoded:
        with torch.inference_mode():
            decoder = Decoder(model, model.allocate_cache(positions + tokens))
        recorder, start = RunRecorder(), time.perf_counter()
        watch = Watch(recorder, [Counting() for _ in range(count)])
        events = continued_events(decoder, Letters(), prompt, [], options, watch)
        seen = [event for event in events if isinstance(event, TokenEvent)]
        return Decoded.at(start, [event.time_s for event in seen], [event.token_id for event in seen])

    def generate(streamer: Any) -> Decoded:
        start = time.perf_counter()
        run_generate(theirs, prompt, tokens, streamer)
        return Decoded.at(start, streamer.times, streamer.token_ids)

    return {
        "native": lambda: native(0),
        f"native, {callbacks} callbacks": lambda: native(callbacks),
        "transformers, streamer": lambda: generate(_text_streamer()),
        f"transformers, streamer, {callbacks} callbacks": lambda: generate(_callback_streamer(callbacks)),
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
