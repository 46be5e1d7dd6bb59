"""Reads lines at a terminal: history, completion, multi-line entries.  The only file that imports prompt_toolkit."""

from collections.abc import Iterable, Mapping
from pathlib import Path

from prompt_toolkit import PromptSession
from prompt_toolkit.completion import CompleteEvent, Completer, Completion, PathCompleter
from prompt_toolkit.document import Document
from prompt_toolkit.history import FileHistory, InMemoryHistory
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.output import create_output


class TerminalReader:
    """Reads entries at a terminal.

    Enter sends; Alt-Enter, or Enter after a backslash, begins a new line; Ctrl-C clears the entry; Ctrl-D ends.

    Args:
        commands: names to complete, with a description of each.
        path_commands: the commands whose arguments are paths to complete.
        history: file with the entries of earlier runs; None remembers those of this run only.
    """

    interactive = True

    def __init__(self, commands: Mapping[str, str], path_commands: frozenset[str], history: Path | None) -> None:
        self._session: PromptSession[str] = PromptSession(
            history=InMemoryHistory() if history is None else FileHistory(str(history)),
            completer=CommandCompleter(commands, path_commands),
            key_bindings=_bindings(),
            multiline=True,
            prompt_continuation=lambda width, *_: "… ".rjust(width),
            # stdout may be redirected to a file.
            output=create_output(always_prefer_tty=True),
        )

    def read(self, label: str) -> str | None:
        """Read one entry; None at Ctrl-D."""
        while True:
            try:
                return self._session.prompt(label)
            except KeyboardInterrupt:
                continue
            except EOFError:
                return None


class CommandCompleter(Completer):
    """Completes commands and, after ``path_commands``, paths; see ``TerminalReader``."""

    def __init__(self, commands: Mapping[str, str], path_commands: frozenset[str]) -> None:
        self._commands = commands
        self._path_commands = path_commands
        self._paths = PathCompleter(expanduser=True)

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterable[Completion]:
        """Yield the completions at the cursor."""
        name, space, argument = document.text_before_cursor.partition(" ")
        if not space and name.startswith("/"):
            for command, description in self._commands.items():
                if command.startswith(name):
                    yield Completion(command, start_position=-len(name), display_meta=description)
        elif name in self._path_commands:
            word = argument.rpartition(" ")[2]
            yield from self._paths.get_completions(Document(word, len(word)), complete_event)


def _bindings() -> KeyBindings:
    bindings = KeyBindings()

    @bindings.add("enter")
    def send(event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        if buffer.document.text_before_cursor.endswith("\\"):
            buffer.delete_before_cursor()
            buffer.insert_text("\n")
        else:
            buffer.validate_and_handle()

    @bindings.add("escape", "enter")
    def new_line(event: KeyPressEvent) -> None:
        event.current_buffer.insert_text("\n")

    return bindings
