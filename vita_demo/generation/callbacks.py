"""Callbacks: what may watch or stop a generation, and the rules under which it is called.

Start, then every token in order, then the end, exactly once, whatever happened.  A callback that raises is reported
by name and dropped, and the answer goes on.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from typing import Any

from vita_demo.answer import Answer, FinishReason, PromptSummary
from vita_demo.generation.events import Event
from vita_demo.generation.stopping import StopSignal
from vita_demo.metrics import RunRecorder

logger = logging.getLogger("vita_demo.callbacks")


class GenerationControl(Enum):
    """What ``on_token_generated`` may return to end the answer after the current token."""

    STOP = "stop"
    CANCEL = "cancelled"


class GenerationCallback:
    """Base class: override what you need, and take ``**kwargs``, which may grow.

    Attributes:
        top_logprobs: set it to have each event carry its log-probability and so many alternatives.
    """

    top_logprobs: int | None = None

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Learn that a generation begins.

        Args:
            input_ids: the prompt's ids, with -200 and -500 where pictures and sound are.
            kwargs: ``prompt_positions``, ``max_new_tokens`` and ``prompt``, a ``PromptSummary``.
        """

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> GenerationControl | None:
        """See one token.

        Args:
            token_id: its id.
            token_text: the text that became certain with it; joined over all steps it is the answer.
            step: its number, from 0.
            kwargs: ``event``, the whole ``Event`` with time, state and log-probability.

        Returns:
            A ``GenerationControl`` to end the answer here, or None.
        """

    def on_generation_error(self, error: BaseException, **kwargs: Any) -> None:
        """Learn that the generation failed; ``on_generation_end`` follows."""

    def on_generation_end(self, output_ids: Sequence[int], **kwargs: Any) -> None:
        """Learn that the generation ended.

        Args:
            output_ids: the generated ids, without the prompt.
            kwargs: ``finish_reason`` ("stop", "length", "cancelled", "timeout" or "error") and ``stats``, the
                ``RunStats`` of the run, None after an error.
        """


class CallbackList:
    """Calls several callbacks by the rules above.

    Args:
        callbacks: in the order in which they are called.
        strict: raise a callback's error instead of dropping the callback.
        report: takes one line about a callback that was dropped.
        max_new_tokens: told at the start; None where it is not known.
    """

    def __init__(
        self,
        callbacks: Sequence[GenerationCallback] = (),
        strict: bool = False,
        report: Callable[[str], None] = logger.warning,
        max_new_tokens: int | None = None,
    ) -> None:
        self.seconds = 0.0
        self._hooks = {hook: _implemented(callbacks, hook) for hook in _HOOKS}
        self._strict = strict
        self._report = report
        self._max_new_tokens = max_new_tokens
        self._ended = False

    def start(self, input_ids: Any, **kwargs: Any) -> None:
        """Call every ``on_generation_start``."""
        self._call("on_generation_start", input_ids, max_new_tokens=self._max_new_tokens, **kwargs)

    def token(self, event: Event) -> GenerationControl | None:
        """Call every ``on_token_generated``; return the first wish to end."""
        return self._call("on_token_generated", event.token_id, event.text, event.step, event=event)

    def error(self, error: BaseException) -> None:
        """Call every ``on_generation_error``."""
        self._call("on_generation_error", error)

    def end(self, output_ids: Sequence[int], **kwargs: Any) -> None:
        """Call every ``on_generation_end``, the first time only."""
        if not self._ended:
            self._ended = True
            self._call("on_generation_end", output_ids, **kwargs)

    def _call(self, hook: str, *args: Any, **kwargs: Any) -> GenerationControl | None:
        methods = self._hooks[hook]
        if not methods:
            return None
        control, start = None, time.perf_counter()
        for callback, method in methods:
            try:
                wish = method(*args, **kwargs)
            except Exception as error:
                if self._strict:
                    raise
                self._drop(callback, hook, error)
            else:
                control = control or (wish if isinstance(wish, GenerationControl) else None)
        self.seconds += time.perf_counter() - start
        return control

    def _drop(self, callback: GenerationCallback, hook: str, error: Exception) -> None:
        kept = {name: [pair for pair in pairs if pair[0] is not callback] for name, pairs in self._hooks.items()}
        self._hooks = kept
        name = type(callback).__name__
        self._report(f"callback {name} raised {type(error).__name__} in {hook} ({error}) and was dropped")


_HOOKS = ("on_generation_start", "on_token_generated", "on_generation_error", "on_generation_end")


def _implemented(
    callbacks: Sequence[GenerationCallback], hook: str
) -> list[tuple[GenerationCallback, Callable[..., Any]]]:
    """Find the callbacks that do something in ``hook``; classes that do not derive from ours may lack it."""
    found = [(callback, getattr(callback, hook, None)) for callback in callbacks]
    empty = getattr(GenerationCallback, hook)
    return [
        (callback, method) for callback, method in found if method and getattr(method, "__func__", None) is not empty
    ]


class Watch:
    """Sees every event of one generation: calls the callbacks, notes the times and sums up the answer.

    Args:
        callbacks: who watches.
        signal: carries a callback's wish to end.
        recorder: takes the times.
        prompt: what stands before the answer.

    Attributes:
        answer: the whole answer, once it has ended, be it by a reader that left; None after an error.
    """

    def __init__(
        self, callbacks: CallbackList, signal: StopSignal, recorder: RunRecorder, prompt: PromptSummary
    ) -> None:
        self.answer: Answer | None = None
        self._callbacks = callbacks
        self._signal = signal
        self._recorder = recorder
        self._prompt = prompt
        self._token_ids: list[int] = []
        self._texts: list[str] = []
        self._state: str | None = None

    @contextmanager
    def hooks(self, input_ids: Sequence[int]) -> Iterator[None]:
        """Call the start hooks, and the end hooks exactly once: after the end, an error, or a reader that left."""
        failed = False
        try:
            self._callbacks.start(input_ids, prompt_positions=self._prompt.tokens, prompt=self._prompt)
            self._recorder.begin_prefill()
            yield
        except Exception as error:
            failed = True
            self._callbacks.error(error)
            raise
        finally:
            if self.answer is None and not failed:
                self._finish("cancelled", self._recorder.clock())
            reason = "error" if self.answer is None else self.answer.finish_reason
            stats = None if self.answer is None else self.answer.stats
            self._callbacks.end(self._token_ids, finish_reason=reason, stats=stats)

    def see(self, event: Event) -> Event:
        """Take one event; return it, the last one with the whole answer."""
        self._texts.append(event.text)
        if event.finish_reason is not None:
            return replace(event, answer=self._finish(event.finish_reason, event.time_s))
        if event.token_id is not None:
            self._state = self._state or event.state
            self._token_ids.append(event.token_id)
            self._recorder.token(event.time_s, bool(event.text))
            control = self._callbacks.token(event)
            if control is not None:
                self._signal.request("stop" if control is GenerationControl.STOP else "cancelled")
        return event

    def _finish(self, reason: FinishReason, time_s: float) -> Answer:
        self._recorder.already("callbacks", self._callbacks.seconds)
        stats = self._recorder.finish(self._prompt.tokens - self._prompt.cached_tokens, time_s)
        ids, text = tuple(self._token_ids), "".join(self._texts)
        self.answer = Answer(text, ids, reason, self._state, self._prompt, stats)
        return self.answer
