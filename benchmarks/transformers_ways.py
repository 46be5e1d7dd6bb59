"""transformers' ``generate``: as it is, with its static cache, and with that compiled."""

import time
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from benchmarks.decode_ways import Decoded, LeftOutError, Maker, Subject, Way, decoded
from benchmarks.watchers import Letters
from vita_demo.generation.callbacks import GenerationCallback

BASELINE = "transformers"


def default(subject: Subject) -> Way:
    """``generate`` with what it does by itself."""
    return _way(subject)


def static(subject: Subject) -> Way:
    """``generate`` with a static cache, not compiled."""
    return _way(subject, cache_implementation="static", disable_compile=True)


def static_compiled(subject: Subject) -> Way:
    """``generate`` with a static cache, which it compiles by itself."""
    if subject.model.norm.weight.device.type != "cuda":
        raise LeftOutError("transformers compiles on CUDA devices only")
    return _way(subject, cache_implementation="static")


WAYS: Mapping[str, Maker] = {
    BASELINE: default,
    f"{BASELINE} static": static,
    f"{BASELINE} static compiled": static_compiled,
}


def _way(subject: Subject, **options: Any) -> Way:
    run = partial(_generate, subject.transformers, options)
    return Way(run, subject.model.bytes_per_token, kind="slow")


def _generate(
    model: Any, options: Mapping[str, Any], prompt: Tensor, tokens: int, callbacks: Sequence[GenerationCallback]
) -> Decoded:
    streamer, start = _make_streamer(callbacks), time.perf_counter()
    run_generate(model, prompt, tokens, streamer, **options)
    return decoded(start, streamer.times, streamer.token_ids)


def run_generate(model: Any, prompt: Tensor, tokens: int, streamer: Any, **options: Any) -> None:
    """Call transformers' ``generate`` as its users do, greedy."""
    with torch.inference_mode():
        model.generate(
            inputs_embeds=prompt,
            attention_mask=torch.ones(prompt.shape[:2], dtype=torch.long, device=prompt.device),
            max_new_tokens=tokens,
            do_sample=False,
            pad_token_id=0,
            streamer=streamer,
            **options,
        )


def _make_streamer(callbacks: Sequence[GenerationCallback]) -> Any:
    """Make this package's streamer for callbacks, and transformers' own without them."""
    import transformers

    from vita_demo.generation.streamers import CallbackStreamer

    class Silent(_Timed, transformers.TextStreamer):
        """transformers' streamer, its text thrown away instead of printed."""

        def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
            """Do nothing."""

    class Timed(_Timed, CallbackStreamer):
        """This package's streamer for any ``generate``."""

    return Timed(Letters(), callbacks) if callbacks else Silent(Letters(), skip_prompt=True)


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
