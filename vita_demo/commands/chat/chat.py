"""The chat: a loop that takes questions and commands, and prints answers as they are made.

stdout gets the answers and nothing else.  Knows no terminal: lines come from a ``LineReader``.
"""

import re
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from vita_demo.answer import PromptSummary
from vita_demo.checkpoint.locate import source_notes
from vita_demo.checkpoint.settings import Settings
from vita_demo.checkpoint.source import ModelSource
from vita_demo.commands.chat.attachments import Attachments, Fetch, path_after, paths_after
from vita_demo.commands.chat.saved_chat import SavedChat, read_chat, write_chat
from vita_demo.commands.chat.view import show_turns, turn_line
from vita_demo.commands.interrupt import interruptible
from vita_demo.commands.run.answerer import describe_stage
from vita_demo.console import Console
from vita_demo.console.line_reader import LineReader, make_reader
from vita_demo.errors import ConfigError, InputError, VitaDemoError
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import Event
from vita_demo.generation.options import GenerationOptions
from vita_demo.preprocess.media import load_media
from vita_demo.request import Request

if TYPE_CHECKING:
    from vita_demo.conversation import Conversation


@dataclass(frozen=True)
class Command:
    """A command of the chat: its name, what may follow it, and what it does."""

    name: str
    argument: str
    description: str
    run: Callable[["Chat", str], None]


class Chat(GenerationCallback):
    """One chat, which watches its own answers.

    Args:
        conversation: what remembers.
        options: how to generate.
        console: where to say things.
        check: reads files that are attached, to see whether they can be.
        fetch: makes files of data URIs and URLs; see ``paths_after``.
        debug: show the traceback of an error.
    """

    def __init__(
        self,
        conversation: "Conversation",
        options: GenerationOptions,
        console: Console,
        *,
        check: Callable[[Request], object] = lambda _: None,
        fetch: Fetch | None = None,
        debug: bool = False,
    ) -> None:
        self.conversation = conversation
        self._check = check
        self._fetch = fetch
        self.options = options
        self.console = console
        self.debug = debug
        self._attached = Attachments()
        self._told_full = False
        self._done = False

    def run(self, reader: LineReader) -> None:
        """Take entries until the end of input or ``/exit``.

        Raises:
            VitaDemoError: for the first entry that cannot be done, where nobody is there to put it right.
        """
        while not self._done:
            names = self._attached.names
            entry = reader.read(f"{names} › " if names else "› ")
            if entry is None:
                return
            try:
                self.handle(entry)
            except VitaDemoError as error:
                if not reader.interactive:
                    raise VitaDemoError(str(error)) from error
                if self.debug:
                    traceback.print_exc()
                self.console.error(str(error))
            except KeyboardInterrupt:
                if not reader.interactive:
                    raise
                self.console.note("interrupted")

    def handle(self, entry: str) -> None:
        """Do what one entry says: a command, or a question, which may be empty where a sound asks it.

        Raises:
            VitaDemoError: when it cannot be done; the conversation is then as it was.
        """
        if entry.startswith("/"):
            name, *rest = entry.split(maxsplit=1)
            self._run_command(name, rest[0].strip() if rest else "")
        elif entry.strip() or self._attached.audio_path is not None:
            request = Request(question=entry.strip(), **vars(self._attached))
            self._show(partial(self.conversation.ask, request))
            self._attached = Attachments()
        elif self._attached.names:
            self.console.note(f"type a question about {self._attached.names}")

    def _run_command(self, name: str, argument: str) -> None:
        command = next((command for command in self.COMMANDS if command.name == name), None)
        if command is None:
            close = get_close_matches(name, [command.name for command in self.COMMANDS], n=1)
            advice = f"did you mean {close[0]}?" if close else "/help lists them; a space before it makes it a question"
            raise InputError(f"{name} is no command; {advice}")
        if argument and not command.argument:
            raise InputError(f"{name} {argument}: nothing goes after {name}; leave it out")
        command.run(self, argument)

    def _show(self, begin: Callable[..., Iterator[Event]]) -> None:
        """Print an answer as it is made; Ctrl-C ends it and keeps what there is."""
        end = ""
        with self.console.display(streams=True) as display, interruptible() as signal:
            try:
                for event in begin(
                    self.options,
                    callbacks=[self],
                    signal=signal,
                    on_stage=lambda stage: display.stage(describe_stage(stage)),
                ):
                    end = "" if event.finish_reason is not None else "\n"
                    display.write(event.text if end else event.text + "\n")
                    if event.answer is not None:
                        self.console.note(turn_line(event.answer))
            finally:
                display.write(end)
        self._tell_when_full(self.conversation.free_positions)

    def on_generation_start(self, input_ids: Any, **kwargs: Any) -> None:  # noqa: ARG002
        """Say what is known of the prompt before the first token."""
        prompt: PromptSummary = kwargs["prompt"]
        for note in prompt.notes:
            self.console.note(note)
        trained = self.conversation.trained_positions
        if prompt.cached_tokens <= trained < prompt.tokens:
            self.console.warn(
                f"the conversation takes {prompt.tokens:,} positions; the model was trained with up to {trained:,}"
            )
        self._tell_when_full(prompt.free_tokens)

    def _tell_when_full(self, free_positions: int) -> None:
        """Say once that an answer may not fit any more."""
        full = free_positions < self.options.max_new_tokens
        if full and not self._told_full:
            self.console.warn(
                f"{free_positions:,} positions of the context are left for answers of up to "
                f"{self.options.max_new_tokens:,} tokens: /undo takes turns back, /system begins anew"
            )
        self._told_full = full

    def _attach_images(self, argument: str) -> None:
        images = paths_after("/image", argument, fetch=self._fetch)
        self._attach(Attachments(image_paths=images), image_paths=(*self._attached.image_paths, *images))

    def _attach_video(self, argument: str) -> None:
        video = path_after("/video", argument, fetch=self._fetch)
        self._attach(Attachments(video_path=video), video_path=video)

    def _attach_audio(self, argument: str) -> None:
        audio = path_after("/audio", argument, fetch=self._fetch)
        self._attach(Attachments(audio_path=audio), audio_path=audio)

    def _attach(self, new: Attachments, **changes: Any) -> None:
        """Attach ``changes`` after a look at the files that are new."""
        attached = replace(self._attached, **changes)
        try:
            request = Request(question="?", **vars(new))
        except InputError as error:
            raise InputError(re.sub(r"--(image|video|audio)_path", r"/\1", str(error))) from error
        if new.video_path is None:  # to read one takes long
            self._check(request)
        self._attached = attached
        alone = "" if attached.audio_path is None else "; an empty line lets the sound ask"
        self.console.note(f"the next question goes with {attached.names}{alone}")

    def _detach(self, _: str) -> None:
        names, self._attached = self._attached.names, Attachments()
        self.console.note(f"detached {names}" if names else "nothing was attached")

    def _begin_anew(self, argument: str) -> None:
        self.conversation.restart(argument or None)
        self._told_full = False
        self.console.note("a new conversation with " + ("this" if argument else "the model's own") + " system prompt")

    def _answer_again(self, _: str) -> None:
        self._show(self.conversation.regenerate)

    def _undo(self, _: str) -> None:
        turn = self.conversation.undo()
        self._told_full = False
        question = turn.request.question or "the spoken question"
        self.console.note(f"took back: {question} · turns left: {len(self.conversation.turns)}")

    def _stats(self, _: str) -> None:
        if not self.conversation.turns:
            raise InputError("there are no turns yet; ask something first")
        self.console.show(show_turns(self.conversation.turns, self.console.width))

    def _save(self, argument: str) -> None:
        path = path_after("/save", argument, exist=False)
        write_chat(path, self.conversation.system, self.conversation.turns)
        self.console.note(f"saved {len(self.conversation.turns)} turns to {path}")

    def _load(self, argument: str) -> None:
        system, turns = read_chat(path_after("/load", argument))
        self.conversation.restart(system, turns)
        self._told_full = False
        self.console.note(f"loaded {len(turns)} turns")

    def _help(self, _: str) -> None:
        for command in self.COMMANDS:
            self.console.note(f"{command.name + ' ' + command.argument:14} {command.description}")
        self.console.note("Alt-Enter or a backslash at the end begins a new line; Ctrl-C stops an answer")

    def _exit(self, _: str) -> None:
        self._done = True

    COMMANDS = (
        Command("/image", "PATH…", "attach pictures to the next question", _attach_images),
        Command("/video", "PATH", "attach a video to the next question", _attach_video),
        Command("/audio", "PATH", "attach a sound; with an empty question it asks", _attach_audio),
        Command("/detach", "", "take back what is attached", _detach),
        Command("/system", "[TEXT]", "begin anew with this system prompt, or with the model's own", _begin_anew),
        Command("/regen", "", "answer the last question again", _answer_again),
        Command("/undo", "", "take the last question and its answer back", _undo),
        Command("/stats", "", "show what each turn cost", _stats),
        Command("/save", "FILE", "save the conversation", _save),
        Command("/load", "FILE", "go on with a saved conversation", _load),
        Command("/help", "", "list the commands", _help),
        Command("/exit", "", "end the chat, as Ctrl-D does", _exit),
        Command("/quit", "", "the same", _exit),
    )


def begin_chat(system: str | None, load: Path | None) -> SavedChat:
    """Return what the chat goes on from: a saved conversation, or none under a system prompt.

    Raises:
        ConfigError: when both are given.
        InputError: when the file holds no conversation.
    """
    if load is None:
        return system, ()
    if system is not None:
        raise ConfigError(f"--load {load} brings its own system prompt; leave --system out")
    return read_chat(load)


def run_chat(
    source: ModelSource,
    saved: SavedChat,
    make_options: Callable[[Settings], GenerationOptions],
    console: Console,
    *,
    fetch: Fetch | None = None,
    debug: bool = False,
) -> None:
    """Load the model and chat until the end of input; see ``Chat``.

    Raises:
        VitaDemoError: when the model, the options or the saved conversation cannot be used.
    """
    settings = source.read()
    options = make_options(settings)
    for note in source_notes(source.model_path):
        console.note(note)
    with console.display() as display:
        display.stage("importing torch")
        from vita_demo.conversation import Conversation, check_options
        from vita_demo.pipeline import Pipeline

        check_options(options)
        pipeline = Pipeline.of(source, settings, display.loading)
        display.stage("importing the sampler")
        conversation = Conversation(pipeline)
        conversation.warm_up(options)
    conversation.restart(*saved)
    commands = {command.name: command.description for command in Chat.COMMANDS}
    with_paths = frozenset(command.name for command in Chat.COMMANDS if command.argument in ("PATH…", "PATH", "FILE"))
    reader = make_reader(console, commands, with_paths)
    if reader.interactive:
        console.note("/help lists the commands, Ctrl-D ends the chat")
    check = partial(load_media, config=settings.config)
    Chat(conversation, options, console, check=check, fetch=fetch, debug=debug).run(reader)
