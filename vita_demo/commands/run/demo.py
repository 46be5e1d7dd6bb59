"""The default command: load, generate, write."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import randbits
from typing import TYPE_CHECKING, Any

from vita_demo.answer import Answer
from vita_demo.callbacks.builtin import FileCallback
from vita_demo.callbacks.registry import make_callback
from vita_demo.checkpoint.locate import source_notes
from vita_demo.checkpoint.settings import Settings
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.interrupt import interruptible
from vita_demo.commands.run.answer_writer import AnswerWriter, logprob_record
from vita_demo.commands.run.saved_run import SavedRun, make_folder
from vita_demo.console import Console
from vita_demo.errors import ConfigError
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import Event, answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.preprocess.decoder import end_decoders
from vita_demo.preprocess.media import Media, load_media
from vita_demo.request import Request, refuse_input

if TYPE_CHECKING:
    from vita_demo.pipeline import Pipeline


@dataclass(eq=False)
class Demo(GenerationCallback):
    """One run of the command line, which watches its own answer.

    Args:
        source: the model.
        settings: its small files.
        console: where to say things.
        form: see ``AnswerWriter``.
        show_state: write the state token before the text.
        callbacks: who watches too, as the command line names them.
        save_run: the folder that keeps the run; None keeps nothing.
        overwrite: replace a run that is there.
    """

    source: ModelSource
    settings: Settings
    console: Console
    form: str = "text"
    show_state: bool = False
    callbacks: tuple[str, ...] = ()
    save_run: Path | None = None
    overwrite: bool = False

    def __post_init__(self) -> None:
        """Prepare what draws."""
        self._display = self.console.display(streams=self.form in ("live", "jsonl"))

    def run(self, request: Request, options: GenerationOptions) -> Answer:
        """Answer ``request``, write the answer to stdout and how it went to stderr.

        Raises:
            VitaDemoError: when something is wrong with the input, the model or the machine.
        """
        if options.num_beams > 1 and self.form == "live":
            raise ConfigError(
                f"--num_beams {options.num_beams} cannot stream: beams are chosen at the end; leave one out"
            )
        if self.save_run is not None:
            make_folder(self.save_run, self.overwrite)
        if self.save_run is not None and options.do_sample and options.seed is None:
            options = replace(options, seed=randbits(32))
        given = {
            "tokenizer": self.settings.tokenizer,
            "max_tokens": options.max_new_tokens,
            "display": self._display,
        }
        callbacks = [make_callback(spec, given) for spec in self.callbacks]
        for callback in callbacks:
            if isinstance(callback, FileCallback):
                refuse_input(callback.path, request.paths, "--callback")
        for note in source_notes(self.source.model_path, len(request.image_paths)):
            self.console.note(note)
        with self._display:
            pipeline, media = self._load(request)
            self._introduce(pipeline, media)
            with interruptible() as signal:
                events = pipeline.stream(
                    request,
                    options,
                    callbacks=[self, *callbacks],
                    signal=signal,
                    media=media,
                    on_stage=lambda stage: self._display.stage(describe_stage(stage, media)),
                )
                answer = self._write(pipeline, events, request, options)
        trained = self.settings.config.trained_positions
        if answer.prompt.tokens > trained:
            self.console.warn(
                f"the prompt took {answer.prompt.tokens:,} positions; the model was trained with up to {trained:,}"
            )
        self.console.summary(answer)
        return answer

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:  # noqa: ARG002
        """Erase the stages, as the answer begins."""
        if step == 0:
            self._display.stop()

    def _load(self, request: Request) -> "tuple[Pipeline, Media]":
        """Load the model while a thread reads the media; bad media end the loading at once."""
        with ThreadPoolExecutor(1) as pool:
            media = pool.submit(load_media, request, self.settings.config)

            def progress(done: int, total: int) -> None:
                if media.done():
                    media.result()
                self._display.loading(done, total)

            self._display.stage("importing torch")
            try:
                from vita_demo.pipeline import Pipeline

                return Pipeline.of(self.source, self.settings, progress), media.result()
            except KeyboardInterrupt:
                end_decoders()  # the thread may wait for one
                raise

    def _introduce(self, pipeline: "Pipeline", media: Media) -> None:
        """Say what of the media is used, and, if asked, what answers."""
        from vita_demo.commands.report import introduce

        for note in media.notes:
            self.console.note(note)
        for line in introduce(pipeline):
            self.console.detail(line)

    def _write(
        self, pipeline: "Pipeline", events: Iterator[Event], request: Request, options: GenerationOptions
    ) -> Answer:
        """Write the answer as it comes, and save the run if asked."""
        from vita_demo.commands.report import report

        def record() -> dict[str, Any]:
            logprobs = [logprob_record(event) for event in seen if event.logprob is not None]
            asked = {"request": request.to_json()} | ({"logprobs": logprobs} if logprobs else {})
            return {**report(answer, pipeline, options), **asked}

        writer = AnswerWriter(self._display, self.form, self.show_state)
        seen = [writer.event(event) for event in events]
        answer = answer_of(seen)
        writer.end(answer, record)
        if self.save_run is not None:
            SavedRun(request, options, pipeline.source, record()).save(self.save_run, seen)
        return answer


def describe_stage(stage: str, media: Media | None = None) -> str:
    """Say what happens in a stage before the first token, with numbers if the media are given."""
    tiles = f"{len(media.tiles)} " if media is not None and media.tiles is not None else "the "
    frames = f"{len(media.fbank):,} frames of sound" if media is not None and media.fbank is not None else "the sound"
    return {
        "media": "reading the media",
        "vision": f"looking at {tiles}{'frames' if media is not None and media.frames else 'tiles'}",
        "audio": f"listening to {frames}",
        "prefill": "reading the prompt",
    }.get(stage, stage)
