"""Streamers for any ``generate``, this package's or transformers'.  Importing this imports transformers."""

import time
from collections.abc import Sequence
from dataclasses import replace
from queue import Empty, SimpleQueue
from typing import Any, Self

import transformers
from torch import Tensor
from transformers.generation.streamers import BaseStreamer

from vita_demo.answer import FinishReason
from vita_demo.generation.background import timeout_error
from vita_demo.generation.callbacks import CallbackList, GenerationCallback
from vita_demo.generation.detokenizer import Detokenizer
from vita_demo.generation.events import Event
from vita_demo.generation.stopping import StopSignal
from vita_demo.generation.text_stream import TextStream, ids_of_one
from vita_demo.generation.transformers_loop import one_per_row, signal_criterion


class TextStreamer(TextStream, transformers.TextStreamer):
    """Prints the answer as it is generated.

    transformers' own holds Japanese and emoji back until a line ends, and decodes the growing line again for every
    token; this one prints each character as soon as it is complete, at a constant cost per token.
    """


class TextIteratorStreamer(TextStream, BaseStreamer):
    """An iterator over the text for a reader in another thread than ``generate``.

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
        """Pass the text to the reader."""
        if text:
            self._texts.put(text)
        if stream_end:
            self._texts.put(None)

    def fail(self, error: BaseException) -> None:
        """Raise an error in the reader; this package's ``generate`` calls it when it fails."""
        self._texts.put(error)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> str:
        try:
            text = self._texts.get(timeout=self.timeout)
        except Empty:
            raise timeout_error(self.timeout) from None
        if text is None:
            raise StopIteration
        if isinstance(text, BaseException):
            raise text
        return text


class CallbackStreamer(BaseStreamer):
    """Calls callbacks for any transformers model's own ``generate``.

    Use it in a ``with`` block, so that the end hooks also run when ``generate`` raises, and pass its
    ``stopping_criteria`` along, so that a callback can stop the generation:

        with CallbackStreamer(tokenizer, [PerformanceCallback()]) as streamer:
            model.generate(**inputs, streamer=streamer, stopping_criteria=streamer.stopping_criteria)

    Args:
        tokenizer: any that can ``decode``.
        callbacks: in the order in which they are called.
        strict: raise a callback's error instead of dropping the callback.
        stop_token_ids: the ``eos_token_id`` that ``generate`` gets, one or several, where it is not the tokenizer's
            own: a streamer is not told why an answer ended, and knows it by its last token.
    """

    def __init__(
        self,
        tokenizer: Any,
        callbacks: Sequence[GenerationCallback],
        strict: bool = False,
        stop_token_ids: int | Sequence[int] = (),
    ) -> None:
        self._detokenizer = Detokenizer(lambda ids: tokenizer.decode(ids, skip_special_tokens=True))
        self._callbacks = CallbackList(callbacks, strict)
        self._signal = StopSignal()
        own = getattr(tokenizer, "eos_token_id", None)
        self._stop_ids = {own, *([stop_token_ids] if isinstance(stop_token_ids, int) else stop_token_ids)}
        self._output_ids: list[int] = []
        self._held: Event | None = None
        self._started = False

    @property
    def stopping_criteria(self) -> Any:
        """Criteria that stop ``generate`` when a callback returns a ``GenerationControl``."""
        return transformers.StoppingCriteriaList([one_per_row(signal_criterion(self._signal))])

    def put(self, value: Tensor) -> None:
        """Add the prompt's ids, then one token at a time.

        Raises:
            ValueError: for a batch of more than one.
        """
        ids = ids_of_one(value)
        if not self._started:
            self._started = True
            self._callbacks.start(ids, prompt_positions=len(ids))
            return
        for token_id in ids:
            self._deliver()
            self._output_ids.append(token_id)
            text = self._detokenizer.push(token_id)
            self._held = Event(text, time.perf_counter(), len(self._output_ids) - 1, token_id)
            # A token that ends inside a character waits: if it is the last one, the flushed text is added to it.
            if not self._detokenizer.pending:
                self._deliver()

    def end(self) -> None:
        """Run the end hooks."""
        self._deliver(self._detokenizer.flush())
        stopped = bool(self._output_ids) and self._output_ids[-1] in self._stop_ids
        self._finish(self._signal.reason or ("stop" if stopped else "length"))

    def _deliver(self, rest: str = "") -> None:
        if self._held is not None:
            event, self._held = replace(self._held, text=self._held.text + rest), None
            self._callbacks.token(event, self._signal)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _kind: object, error: BaseException | None, _traceback: object) -> None:
        if isinstance(error, Exception):
            self._callbacks.error(error)
        self._finish("error" if isinstance(error, Exception) else "cancelled")

    def _finish(self, reason: FinishReason) -> None:
        self._callbacks.end(self._output_ids, finish_reason=reason, stats=None, rest="")
