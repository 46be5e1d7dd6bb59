"""A model that is loaded for one run."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from vita_demo.answer import Answer
from vita_demo.checkpoint.locate import source_notes
from vita_demo.checkpoint.settings import Settings
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.run.answerer import describe_stage
from vita_demo.console import Console
from vita_demo.console.display import Display
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.preprocess.decoder import end_decoders
from vita_demo.preprocess.media import Media, load_media
from vita_demo.request import Request

if TYPE_CHECKING:
    from vita_demo.pipeline import Pipeline


class LocalModel:
    """A model that is loaded while a thread reads the media.

    Args:
        source: names it.
        settings: its small files.
    """

    def __init__(self, source: ModelSource, settings: Settings) -> None:
        self.given: Mapping[str, Any] = {"tokenizer": settings.tokenizer}
        self._source, self._settings = source, settings
        self._opened: tuple[Pipeline, Media] | None = None

    @property
    def source(self) -> ModelSource:
        """The model, with the device, dtype and threads that are used."""
        return self._loaded[0].source

    @property
    def trained_positions(self) -> int:
        """The longest prompt that the model was trained with."""
        return self._settings.config.trained_positions

    def open(self, request: Request, console: Console, display: Display) -> None:
        """Load the model while a thread reads the media; bad media end the loading at once."""
        for note in source_notes(self._source.model_path, len(request.image_paths)):
            console.note(note)
        with ThreadPoolExecutor(1) as pool:
            media = pool.submit(load_media, request, self._settings.config)

            def progress(done: int, total: int) -> None:
                if media.done():
                    media.result()
                display.loading(done, total)

            display.stage("importing torch")
            try:
                from vita_demo.commands.report import introduce
                from vita_demo.pipeline import Pipeline

                pipeline = Pipeline.of(self._source, self._settings, progress)
                self._opened = pipeline, media.result()
            except KeyboardInterrupt:
                end_decoders()  # the thread may wait for one
                raise
        for line in introduce(pipeline):
            console.detail(line)

    def stream(
        self,
        request: Request,
        options: GenerationOptions,
        callbacks: Sequence[GenerationCallback],
        signal: StopSignal,
        on_stage: Callable[[str], None],
    ) -> Iterator[Event]:
        """Answer token by token; see ``Pipeline.stream``."""
        pipeline, media = self._loaded
        return pipeline.stream(
            request,
            options,
            callbacks=callbacks,
            signal=signal,
            media=media,
            on_stage=lambda stage: on_stage(describe_stage(stage, media)),
        )

    def report(self, answer: Answer, options: GenerationOptions) -> dict[str, Any]:
        """Return the answer as the object that ``--json`` prints."""
        from vita_demo.commands.report import report

        return report(answer, self._loaded[0], options)

    @property
    def _loaded(self) -> "tuple[Pipeline, Media]":
        if self._opened is None:
            raise RuntimeError("open() comes first")
        return self._opened
