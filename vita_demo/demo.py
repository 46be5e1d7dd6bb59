"""What the command line does with a request: load, generate, print.

stdout gets the answer and nothing else.
"""

import json
import signal as signals
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from vita_demo.console import Console
from vita_demo.errors import ConfigError
from vita_demo.generation.builtin_callbacks import PerformanceCallback
from vita_demo.generation.callback_registry import DEFAULT, make_callback
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import EndEvent, TokenEvent
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.generation.text_stream import TextStream
from vita_demo.preprocess.media import Media, load_media
from vita_demo.request import Request
from vita_demo.settings import Settings
from vita_demo.state import STATE_TOKENS

if TYPE_CHECKING:
    from vita_demo.pipeline import Answer, Pipeline


class Demo:
    """One run of the command line.

    Args:
        flags: the command line's, by name.
        console: where to say things.
    """

    def __init__(self, flags: dict[str, Any], console: Console) -> None:
        self.flags = flags
        self.console = console

    def run(self, request: Request, make_options: Callable[[Settings], GenerationOptions]) -> None:
        """Answer ``request``.

        Raises:
            VitaDemoError: when something is wrong with the input, the model or the machine.
        """
        flags = self.flags
        settings = Settings.read(flags["model_path"], flags["vision_tower"], flags["audio_encoder"])
        options = make_options(settings)
        if options.num_beams > 1 and flags["streaming"]:
            raise ConfigError(
                f"--num_beams {options.num_beams} cannot stream: beams are chosen at the end; leave one out"
            )
        callbacks = self._callbacks(settings, options)
        pipeline, media = self._load(request, settings)
        for note in media.notes:
            self.console.note(note)
        with interruptible() as signal:
            events = pipeline.stream(request, options, callbacks=callbacks, signal=signal, media=media)
            answer = self._answer(pipeline, events)
        trained = settings.config.trained_positions
        if answer.prompt_tokens > trained:
            self.console.warn(
                f"the prompt took {answer.prompt_tokens:,} positions; the model was trained with up to {trained:,}"
            )
        told = any(isinstance(callback, PerformanceCallback) for callback in callbacks)
        self.console.summary(None if told else answer.stats, answer.finish_reason, answer.state)

    def _callbacks(self, settings: Settings, options: GenerationOptions) -> list[GenerationCallback]:
        specs = self.flags["callback"] or (DEFAULT if self.flags["enable_callbacks"] else ())
        given = {"tokenizer": settings.tokenizer, "max_tokens": options.max_new_tokens}
        return [make_callback(spec, given) for spec in specs]

    def _load(self, request: Request, settings: Settings) -> "tuple[Pipeline, Media]":
        """Load the model while a thread reads the media; bad media end the loading at once."""
        with ThreadPoolExecutor(1) as pool:
            media = pool.submit(load_media, request, settings.config)
            return self._load_weights(settings, media), media.result()

    def _load_weights(self, settings: Settings, media: "Future[Media]") -> "Pipeline":
        from vita_demo.pipeline import Pipeline

        with self.console.loading() as show:

            def progress(done: int, total: int) -> None:
                if media.done():
                    media.result()
                show(done, total)

            return Pipeline.load(settings, device=self.flags["device"], dtype=self.flags["dtype"], progress=progress)

    def _answer(self, pipeline: "Pipeline", events: "Iterator[TokenEvent | EndEvent | Answer]") -> "Answer":
        from vita_demo.pipeline import Answer
        from vita_demo.report import report

        live = self.flags["streaming"] and not self.flags["as_json"]
        printer = TextStream(pipeline.tokenizer)
        for event in events:
            if isinstance(event, Answer):
                answer = event
            elif live:
                printer.on_finalized_text(self._symbol(event) + event.text, stream_end=isinstance(event, EndEvent))
        if self.flags["as_json"]:
            print_line(json.dumps(report(answer, pipeline), ensure_ascii=False))
        elif not live:
            print_line(self._symbol(answer) + answer.text)
        return answer

    def _symbol(self, event: "TokenEvent | EndEvent | Answer") -> str:
        """Return the state token of an event or answer, where the user wants to see it."""
        state = getattr(event, "state", None)
        shown = (symbol for symbol, meaning in STATE_TOKENS.items() if meaning == state)
        return next(shown, "") if self.flags["show_state"] else ""


def print_line(text: str) -> None:
    """Write the whole answer to stdout."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


@contextmanager
def interruptible() -> Iterator[StopSignal]:
    """Let the first Ctrl-C end the answer and keep what there is; the second quits.

    Outside the main thread, which gets no signals, this changes nothing.
    """
    signal = StopSignal()

    def interrupt(_number: int, _frame: object) -> None:
        if signal.reason is not None:
            raise KeyboardInterrupt
        signal.request("cancelled")

    if threading.current_thread() is not threading.main_thread():
        yield signal
        return
    before = signals.signal(signals.SIGINT, interrupt)
    try:
        yield signal
    finally:
        signals.signal(signals.SIGINT, before)
