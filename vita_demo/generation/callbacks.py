"""Callbacks, which watch or stop a generation.

They are called at the start, for every token in order, and at the end exactly once, whatever happened.  A callback
that raises is reported by name and dropped, and the answer goes on.
"""

import logging
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from enum import Enum
from typing import Any

from vita_demo.answer import Answer, FinishReason, PromptSummary
from vita_demo.generation.events import Event, EventMaker, Sampled
from vita_demo.generation.stopping import StopSignal
from vita_demo.metrics import RunRecorder

logger = logging.getLogger("vita_demo.callbacks")


class GenerationControl(Enum):
    """Returned by ``on_token_generated`` to end the answer after the current token."""

    STOP = "stop"
    CANCEL = "cancelled"


class GenerationCallback:
    """Base class: override the hooks you need, and accept ``**kwargs``, since later versions may pass more.

    Attributes:
        top_logprobs: if set, events carry log-probabilities and that many alternatives.
        takes_lists: whether ids may be lists; if those of all callbacks may, torch is not imported for them.
    """

    top_logprobs: int | None = None
    takes_lists: bool = False

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:
        """Called before the first token.

        Args:
            input_ids: the prompt's ids, a tensor [1, L] with -200 and -500 where pictures and sound are.
            kwargs: ``prompt_positions``, ``max_new_tokens`` and ``prompt``, a ``PromptSummary``.
        """

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> GenerationControl | None:
        """Called for each token.

        Args:
            token_id: its id.
            token_text: the text it completes; joined over all steps, with ``rest`` at the end, it is the answer.
            step: its number, from 0.
            kwargs: ``event``, the whole ``Event`` with time, state and log-probability.

        Returns:
            A ``GenerationControl`` to end the answer here, or None.
        """

    def on_generation_error(self, error: BaseException, **kwargs: Any) -> None:
        """Called when the generation fails, before ``on_generation_end``."""

    def on_generation_end(self, output_ids: Any, **kwargs: Any) -> None:
        """Called exactly once at the end.

        Args:
            output_ids: the generated ids without the prompt, a tensor [n].
            kwargs: ``finish_reason`` ("stop", "length", "cancelled", "timeout" or "error"); ``stats``, the
                ``RunStats`` of the run, None after an error; and ``rest``, text that belongs to the answer and went
                with no token: what a stop string held back when a callback ended the answer.
        """


class CallbackList:
    """Calls several callbacks by the rules above.

    Args:
        callbacks: in the order in which they are called.
        strict: raise a callback's error instead of dropping the callback.
        report: called with one line about a dropped callback.
        max_new_tokens: passed to ``on_generation_start``; None if unknown.

    Attributes:
        seconds: time spent in callbacks.
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
        """Call every ``on_generation_start`` with the prompt's ids as a tensor [1, L]."""
        if self._wants_tensor("on_generation_start"):
            input_ids = _tensor(input_ids).reshape(1, -1)  # [1, L]
        self._call("on_generation_start", input_ids, max_new_tokens=self._max_new_tokens, **kwargs)

    def token(self, event: Event, signal: StopSignal) -> None:
        """Call every ``on_token_generated``; pass the first ``GenerationControl`` they return on to ``signal``."""
        control = self._call("on_token_generated", event.token_id, event.text, event.step, event=event)
        if control is not None:
            signal.request("stop" if control is GenerationControl.STOP else "cancelled")

    def error(self, error: BaseException) -> None:
        """Call every ``on_generation_error``."""
        self._call("on_generation_error", error)

    def end(self, output_ids: Sequence[int], **kwargs: Any) -> None:
        """Call every ``on_generation_end`` with the answer's ids as a tensor [n]; a second call does nothing."""
        if not self._ended:
            self._ended = True
            ids = _tensor(output_ids) if self._wants_tensor("on_generation_end") else output_ids
            self._call("on_generation_end", ids, **kwargs)

    def _wants_tensor(self, hook: str) -> bool:
        return not all(getattr(callback, "takes_lists", False) for callback, _ in self._hooks[hook])

    def _call(self, hook: str, *args: Any, **kwargs: Any) -> GenerationControl | None:
        methods = self._hooks[hook]
        if not methods:
            return None
        control, start = None, time.perf_counter()
        for callback, method in methods:
            try:
                returned = method(*args, **kwargs)
            except Exception as error:
                if self._strict:
                    raise
                self._drop(callback, hook, error)
            else:
                control = control or (returned if isinstance(returned, GenerationControl) else None)
        self.seconds += time.perf_counter() - start
        return control

    def _drop(self, callback: GenerationCallback, hook: str, error: Exception) -> None:
        for name, pairs in self._hooks.items():
            self._hooks[name] = [pair for pair in pairs if pair[0] is not callback]
        kind = type(callback).__name__
        self._report(f"callback {kind} raised {type(error).__name__} in {hook} ({error}) and was dropped")


_HOOKS = ("on_generation_start", "on_token_generated", "on_generation_error", "on_generation_end")


def wanted_logprobs(asked: int | None, callbacks: Sequence[GenerationCallback]) -> int | None:
    """Return how many alternatives are reported for whoever wants most; None for no log-probabilities."""
    wanted = [top for callback in callbacks if (top := getattr(callback, "top_logprobs", None)) is not None]
    return max(*wanted, asked or 0) if wanted else asked


def _tensor(token_ids: Any) -> Any:
    import torch

    return torch.as_tensor(token_ids, dtype=torch.long)


def _implemented(
    callbacks: Sequence[GenerationCallback], hook: str
) -> list[tuple[GenerationCallback, Callable[..., Any]]]:
    """Return the callbacks with a ``hook`` of their own, and its method; foreign classes may lack it."""
    empty = getattr(GenerationCallback, hook)
    pairs = [(callback, getattr(callback, hook, None)) for callback in callbacks]
    return [
        (callback, method) for callback, method in pairs if method and getattr(method, "__func__", None) is not empty
    ]


class Watch:
    """Sees every event of one generation: calls the callbacks, records the times and builds the answer.

    Args:
        callbacks: the callbacks to call.
        signal: set when a callback ends the answer.
        recorder: records the times.
        prompt: the prompt's summary.

    Attributes:
        answer: the whole answer, after its end or after its reader left; None before and after an error.
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
        self._rest = ""

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
            self._callbacks.end(self._token_ids, finish_reason=reason, stats=stats, rest=self._rest)

    def see(self, event: Event) -> Event:
        """Process one event and return it; the last one gets the whole answer."""
        self._texts.append(event.text)
        if event.finish_reason is not None:
            self._rest = event.text
            return replace(event, answer=self._finish(event.finish_reason, event.time_s))
        if event.token_id is not None:
            self._state = self._state or event.state
            self._token_ids.append(event.token_id)
            self._recorder.token(event.time_s, bool(event.text))
            self._callbacks.token(event, self._signal)
        return event

    def _finish(self, reason: FinishReason, time_s: float) -> Answer:
        self._recorder.add_stage("callbacks", self._callbacks.seconds)
        stats = self._recorder.finish(self._prompt.tokens - self._prompt.cached_tokens, time_s)
        ids, text = tuple(self._token_ids), "".join(self._texts)
        self.answer = Answer(text, ids, reason, self._state, self._prompt, stats)
        return self.answer


class Answering:
    """One answer as it is made: takes its tokens, gives its events, and says when no further token is wanted."""

    def __init__(self, maker: EventMaker, watch: Watch) -> None:
        self._maker = maker
        self._watch = watch

    @property
    def reason(self) -> FinishReason | None:
        """Why the answer ends here, callbacks included; None while a further token is wanted."""
        return self._maker.reason

    def push(self, token: Sampled) -> Event:
        """Return the event of the next token, which the callbacks have seen."""
        return self._watch.see(self._maker.push(token))

    def end(self) -> Event:
        """Return the last event, with the whole answer."""
        return self._watch.see(self._maker.end())
