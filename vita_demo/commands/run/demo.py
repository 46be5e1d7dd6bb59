"""What the command line does with a request: load, generate, write."""

import signal as signals
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from secrets import randbits
from typing import TYPE_CHECKING, Any

from vita_demo.callbacks.registry import DEFAULT, make_callback
from vita_demo.checkpoint.settings import LOAD_FLAGS, Settings
from vita_demo.commands.run.answer_writer import AnswerWriter
from vita_demo.commands.run.saved_run import SavedRun
from vita_demo.console import Console
from vita_demo.console.run_panel import RunSummary
from vita_demo.console.stage_display import StageDisplay
from vita_demo.console.token_progress import TokenProgress
from vita_demo.errors import ConfigError, InputError
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import EndEvent, TokenEvent
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.preprocess.media import Media, load_media
from vita_demo.request import Request

if TYPE_CHECKING:
    from vita_demo.pipeline import Answer, Pipeline

MODEL_FLAGS = ("model_path", "vision_tower", "audio_encoder", "device", "dtype", "quantize", "compiled")


class Demo:
    """One run of the command line.

    Args:
        flags: the command line's, by name.
        console: where to say things.
    """

    def __init__(self, flags: dict[str, Any], console: Console) -> None:
        self.flags = flags
        self.console = console
        self.form = _form(flags)
        self.status_line = console.status_line() if self.form == "live" else None

    def run(self, request: Request, make_options: Callable[[Settings], GenerationOptions]) -> "Answer":
        """Answer ``request``, write the answer to stdout and how it went to stderr.

        Raises:
            VitaDemoError: when something is wrong with the input, the model or the machine.
        """
        flags = self.flags
        settings = Settings.read(flags["model_path"], flags["vision_tower"], flags["audio_encoder"])
        options = self._check(make_options(settings))
        callbacks = self._callbacks(settings, options)
        with self.console.stages() as stages:
            pipeline, media = self._load(request, settings, stages)
            self._tell(pipeline, media)
            pipeline.on_stage = lambda stage: stages.show(_describe(stage, media))
            with interruptible() as signal:
                watchers = [_FirstToken(stages.stop), *callbacks]
                events = pipeline.stream(request, options, callbacks=watchers, signal=signal, media=media)
                answer = self._write(pipeline, events, request, options)
        trained = settings.config.trained_positions
        if answer.prompt_tokens > trained:
            self.console.warn(
                f"the prompt took {answer.prompt_tokens:,} positions; the model was trained with up to {trained:,}"
            )
        self.console.summary(
            RunSummary(answer.stats, answer.finish_reason, answer.state, answer.image_tokens, answer.audio_tokens)
        )
        return answer

    def _check(self, options: GenerationOptions) -> GenerationOptions:
        if options.num_beams > 1 and self.form == "live":
            raise ConfigError(
                f"--num_beams {options.num_beams} cannot stream: beams are chosen at the end; leave one out"
            )
        if self.flags["save_run"] is not None and options.do_sample and options.seed is None:
            return replace(options, seed=randbits(32))
        return options

    def _callbacks(self, settings: Settings, options: GenerationOptions) -> list[GenerationCallback]:
        specs = self.flags["callback"] or (DEFAULT if self.flags["enable_callbacks"] else ())
        given = {
            "tokenizer": settings.tokenizer,
            "max_tokens": options.max_new_tokens,
            "display": TokenProgress(self.status_line, self.console.live),
        }
        return [make_callback(spec, given) for spec in specs]

    def _load(self, request: Request, settings: Settings, stages: StageDisplay) -> "tuple[Pipeline, Media]":
        """Load the model while a thread reads the media; bad media end the loading at once."""
        with ThreadPoolExecutor(1) as pool:
            media = pool.submit(load_media, request, settings.config)
            return self._load_weights(settings, media, stages), media.result()

    def _load_weights(self, settings: Settings, media: "Future[Media]", stages: StageDisplay) -> "Pipeline":
        stages.show("importing torch")
        from vita_demo.pipeline import Pipeline

        def progress(done: int, total: int) -> None:
            if media.done():
                media.result()
            stages.loading(done, total)
            if done == total and self.flags["compiled"]:
                stages.show("compiling the decode step")

        chosen = {name: self.flags[name] for name in LOAD_FLAGS}
        return Pipeline.load(settings, **chosen, progress=progress)

    def _tell(self, pipeline: "Pipeline", media: Media) -> None:
        """Say what of the media is used, and, if asked, what answers."""
        for note in media.notes:
            self.console.note(note)
        settings, model = pipeline.settings, pipeline.model
        for note in settings.config.settings_notes:
            self.console.detail(note)
        precision = f"{model.quantize} and {model.dtype}" if model.quantize else model.dtype
        self.console.detail(f"model {settings.folder}, {precision} on {model.device}, in {pipeline.load_s:.2f} s")

    def _write(
        self,
        pipeline: "Pipeline",
        events: "Iterator[TokenEvent | EndEvent | Answer]",
        request: Request,
        options: GenerationOptions,
    ) -> "Answer":
        """Write the answer as it comes, and save the run if asked."""
        from vita_demo.pipeline import Answer

        writer = AnswerWriter(self.form, self.flags["show_state"], self.status_line)
        kept: list[TokenEvent | EndEvent] = []
        for event in events:
            if isinstance(event, Answer):
                answer = event
            else:
                kept.append(event)
                writer.event(event)
        writer.answer(answer, pipeline)
        if self.flags["save_run"] is not None:
            from vita_demo.commands.report import report

            model = {name: self.flags[name] for name in MODEL_FLAGS}
            SavedRun(request, options, model, report(answer, pipeline)).save(self.flags["save_run"], kept)
        return answer


class _FirstToken(GenerationCallback):
    """Calls something when the first token is there."""

    def __init__(self, then: Callable[[], None]) -> None:
        self._then = then

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:  # noqa: ARG002
        """Call it once."""
        if step == 0:
            self._then()


def _form(flags: dict[str, Any]) -> str:
    asked = [form for form in ("jsonl", "json", "markdown") if flags[f"as_{form}"]]
    if len(asked) > 1:
        raise InputError(f"--{asked[0]} and --{asked[1]} were both given; choose one form of the answer")
    return asked[0] if asked else "live" if flags["streaming"] else "text"


def _describe(stage: str, media: Media) -> str:
    tiles = 0 if media.tiles is None else len(media.tiles)
    frames = 0 if media.fbank is None else len(media.fbank)
    return {
        "media": "reading the media",
        "vision": f"looking at {tiles} {'frames' if media.frames else 'tiles'}",
        "audio": f"listening to {frames:,} frames of sound",
        "prefill": "reading the prompt",
    }.get(stage, stage)


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
