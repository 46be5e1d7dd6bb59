"""The default command: answer, write."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from secrets import randbits
from typing import Any

from vita_demo.answer import Answer
from vita_demo.callbacks.builtin import FileCallback
from vita_demo.callbacks.registry import make_callback
from vita_demo.commands.interrupt import interruptible
from vita_demo.commands.run.answer_writer import AnswerWriter
from vita_demo.commands.run.answerer import Answerer
from vita_demo.commands.run.saved_run import SavedRun, make_folder
from vita_demo.console import Console
from vita_demo.errors import ConfigError
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.event_record import logprob_record
from vita_demo.generation.events import Event, answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.request import Request, refuse_input


@dataclass(eq=False)
class Demo(GenerationCallback):
    """One run of the command line, which watches its own answer.

    Args:
        answerer: the model.
        console: where to say things.
        form: see ``AnswerWriter``.
        show_state: write the state token before the text.
        callbacks: who watches too, as the command line names them.
        save_run: the folder that keeps the run; None keeps nothing.
        overwrite: replace a run that is there.
    """

    answerer: Answerer
    console: Console
    form: str = "text"
    show_state: bool = False
    callbacks: tuple[str, ...] = ()
    save_run: Path | None = None
    overwrite: bool = False
    takes_lists = True

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
        given = {**self.answerer.given, "max_tokens": options.max_new_tokens, "display": self._display}
        callbacks = [make_callback(spec, given) for spec in self.callbacks]
        for callback in callbacks:
            if isinstance(callback, FileCallback):
                refuse_input(callback.path, request.paths, "--callback")
        with self._display:
            self.answerer.open(request, self.console, self._display)
            with interruptible() as signal:
                events = self.answerer.stream(request, options, [self, *callbacks], signal, self._display.stage)
                answer = self._write(events, request, options)
        trained = self.answerer.trained_positions
        if trained and answer.prompt.tokens > trained:
            self.console.warn(
                f"the prompt took {answer.prompt.tokens:,} positions; the model was trained with up to {trained:,}"
            )
        self.console.summary(answer)
        return answer

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Say what of the media the model sees."""
        for note in kwargs["prompt"].notes:
            self.console.note(note)

    def on_token_generated(self, token_id: int, token_text: str, step: int, **kwargs: Any) -> None:  # noqa: ARG002
        """Erase the stages, as the answer begins."""
        if step == 0:
            self._display.stop()

    def _write(self, events: Iterator[Event], request: Request, options: GenerationOptions) -> Answer:
        """Write the answer as it comes, and save the run if asked."""

        def record() -> dict[str, Any]:
            logprobs = [logprob_record(event) for event in seen if event.logprob is not None]
            asked = {"request": request.to_json()} | ({"logprobs": logprobs} if logprobs else {})
            return {**self.answerer.report(answer, options), **asked}

        writer = AnswerWriter(self._display, self.form, self.show_state)
        seen = [writer.event(event) for event in events]
        answer = answer_of(seen)
        writer.end(answer, record)
        if self.save_run is not None and self.answerer.source is not None:
            SavedRun(request, options, self.answerer.source, record()).save(self.save_run, seen)
        return answer
