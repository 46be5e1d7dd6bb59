"""Streamers for any ``generate``, this package's or transformers'.  Importing this imports transformers."""

import time
from collections.abc import Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, Self

import torch
import transformers
from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from vita_demo.answer import FinishReason
from vita_demo.errors import GenerationError
from vita_demo.generation.callbacks import CallbackList, GenerationCallback, GenerationControl
from vita_demo.generation.detokenizer import Detokenizer
from vita_demo.generation.events import Event
from vita_demo.generation.stopping import StopSignal
from vita_demo.generation.text_stream import TextStream


class TextStreamer(TextStream, transformers.TextStreamer):
    """Prints the answer as it is made.

    transformers' own holds Chinese, Japanese and emoji back until a line ends, and decodes the growing line again
    for every token; this one prints whole characters at once at a constant cost.
    """


class TextIteratorStreamer(TextStream, BaseStreamer):
    """An iterator of text for a reader in another thread than ``generate``.

    Args:
        tokenizer: any that can ``decode``.
        skip_prompt: leave out the prompt.
        timeout: the longest wait for text, in seconds.
        decode_kwargs: passed to ``decode``.

    Raises:
        GenerationError: from ``next``, when the wait takes longer than ``timeout``.
    """

    def __init__(
        self, tokenizer: Any, skip_prompt: bool = False, timeout: float | None = None, **decode_kwargs: Any
    ) -> None:
        super().__init__(tokenizer, skip_prompt, **decode_kwargs)
        self.timeout = timeout
        self._texts: SimpleQueue[str | BaseException | None] = SimpleQueue()

    def on_finalized_text(self, text: str, stream_end: bool = False) -> None:
        """Hand the text to the reader."""
        if text:
            self._texts.put(text)
        if stream_end:
            self._texts.put(None)

    def fail(self, error: BaseException) -> None:
        """End with an error, which the reader raises; this package's ``generate`` calls it when it fails."""
        self._texts.put(error)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        try:
            text = self._texts.get(timeout=self.timeout)
        except Empty:
            raise GenerationError(f"no text came for {self.timeout:g} s; raise the timeout") from None
        if text is None:
            raise StopIteration
        if isinstance(text, BaseException):
            raise text
        return text


class CallbackStreamer(BaseStreamer):
    """Runs callbacks on any transformers model's own ``generate``.

    Use it in a ``with`` block, so that the end hooks run also when ``generate`` raises, and pass its
    ``stopping_criteria`` along, so that a callback can stop it:

        with CallbackStreamer(tokenizer, [PerformanceCallback()]) as streamer:
            model.generate(**inputs, streamer=streamer, stopping_criteria=streamer.stopping_criteria)
    """

    def __init__(self, tokenizer: Any, callbacks: Sequence[GenerationCallback], strict: bool = False) -> None:
        self._detokenizer = Detokenizer(lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
        self._callbacks = CallbackList(callbacks, strict)
        self._signal = StopSignal()
        self._stop_ids = {getattr(tokenizer, "eos_token_id", None)}
        self._output_ids: list[int] = []
        self._held: Event | None = None
        self._started = False

    @property
    def stopping_criteria(self) -> Any:
        """What makes ``generate`` stop when a callback asks for it."""

        def stopped(input_ids: Tensor, _scores: object, **_: object) -> Tensor:
            return torch.full((len(input_ids),), self._signal.reason is not None, device=input_ids.device)

        return transformers.StoppingCriteriaList([stopped])

    def put(self, value: Tensor) -> None:
        """Take the prompt's ids, then one token at a time."""
        if not self._started:
            self._started = True
            self._callbacks.start(value, prompt_positions=value.shape[-1])
            return
        for token_id in value.flatten().tolist():
            self._deliver()
            self._output_ids.append(token_id)
            text = self._detokenizer.push(token_id)
            self._held = Event(text, time.perf_counter(), len(self._output_ids) - 1, token_id)
            # A token that ends inside a character waits: should it be the last, it takes the rest along.
            if not self._detokenizer.pending:
                self._deliver()

    def end(self) -> None:
        """Run the end hooks."""
        self._deliver(self._detokenizer.flush())
        stopped = bool(self._output_ids) and self._output_ids[-1] in self._stop_ids
        self._finish(self._signal.reason or ("stop" if stopped else "length"))

    def _deliver(self, rest: str = "") -> None:
        if self._held is None:
            return
        event, self._held = replace(self._held, text=self._held.text + rest), None
        control = self._callbacks.token(event)
        if control is not None:
            self._signal.request("stop" if control is GenerationControl.STOP else "cancelled")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception):
            self._callbacks.error(error)
        self._finish("error" if isinstance(error, Exception) else "cancelled")

    def _finish(self, reason: FinishReason) -> None:
        self._callbacks.end(self._output_ids, finish_reason=reason, stats=None)
