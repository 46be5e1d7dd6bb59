"""The command line.  The only package that imports click; torch is imported after the arguments are checked."""

import difflib
import sys
from typing import NoReturn

import click
from click.shell_completion import CompletionItem

from vita_demo import __version__
from vita_demo.cli.batch import batch
from vita_demo.cli.callbacks import callbacks
from vita_demo.cli.chat import chat
from vita_demo.cli.command import SETTINGS, fail
from vita_demo.cli.compare import compare
from vita_demo.cli.doctor import doctor
from vita_demo.cli.inspect import inspect
from vita_demo.cli.replay import replay
from vita_demo.cli.run import run
from vita_demo.cli.serve import serve
from vita_demo.errors import VitaDemoError
from vita_demo.stdout import discard_stdout, prepare_streams

COMMANDS = (run, chat, compare, inspect, batch, serve, doctor, replay, callbacks)


class DefaultGroup(click.Group):
    """A group whose first command needs no name."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the default command's name in front of flags that are not the group's own."""
        completing_the_first_word = ctx.resilient_parsing and not args
        if not ctx.resilient_parsing and args and not args[0].startswith("-") and args[0] not in self.commands:
            near = difflib.get_close_matches(args[0], self.commands, n=1)
            hint = f"did you mean {near[0]}?" if near else f"commands are {', '.join(self.commands)}"
            raise click.UsageError(f"{args[0]} is no command; {hint}", ctx)
        if not completing_the_first_word and args[:1] != ["--version"] and not set(args[:1]) & set(self.commands):
            args = ["run", *args]
        return super().parse_args(ctx, args)

    def shell_complete(self, ctx: click.Context, incomplete: str) -> list[CompletionItem]:
        """Offer commands and the default command's flags alike."""
        default = self.commands["run"]
        flags = default.shell_complete(default.make_context("run", [], ctx, resilient_parsing=True), incomplete)
        return super().shell_complete(ctx, incomplete) + flags


@click.group(cls=DefaultGroup, context_settings=SETTINGS)
@click.version_option(__version__, prog_name="vita-demo")
def cli() -> None:
    """Run and watch VITA-1.5."""


for command in COMMANDS:
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command line; errors are one line on stderr, exit codes 0, 1, 2 and 130."""
    if not prepare_streams():
        sys.exit(fail("stdout is closed, where the answer goes; leave >&- out, or write to a file", 1))
    try:
        code = _run()
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader has gone.
        discard_stdout()
        code = 1
    except OSError as error:
        if error.filename is not None:
            raise
        discard_stdout()
        code = fail(f"stdout cannot be written ({error.strerror}); write the answer elsewhere", 1)
    sys.exit(code)


def _run() -> int:
    try:
        cli.main(prog_name="vita-demo", standalone_mode=False)
    except click.exceptions.Exit as exit_:
        return exit_.exit_code
    except SystemExit as exit_:
        return int(exit_.code or 0)
    except click.ClickException as error:
        return fail(error.format_message(), error.exit_code)
    except (KeyboardInterrupt, click.Abort):
        return 130
    except VitaDemoError as error:
        # Raised while the flags are read, by a preset say; a command's own errors end there.
        return fail(str(error), error.exit_code)
    return 0
