"""What all commands have in common: grouped help, ``--debug``, a console, and errors in one line."""

import sys
import traceback
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import click

from vita_demo.errors import VitaDemoError

if TYPE_CHECKING:
    from vita_demo.console import Console

Function = TypeVar("Function", bound=Callable[..., Any])
Option = Callable[[Function], Function]

SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": lambda name: name.replace("-", "_"),
    "max_content_width": 110,
}


class GroupedCommand(click.Command):
    """A command whose help lists its flags by purpose."""

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, in the order in which they were given."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                sections.setdefault(getattr(parameter, "group", "Other"), []).append(record)
        for title, records in sections.items():
            with formatter.section(title):
                formatter.write_dl(records)


def option_group(title: str, *options: Callable[[Function], Function]) -> Callable[[Function], Function]:
    """Make one decorator out of several options, which help shows under ``title``."""

    def add(function: Function) -> Function:
        for option in reversed(options):
            function = option(function)
            function.__click_params__[-1].group = title  # type: ignore[attr-defined]
        return function

    return add


def command(
    *options: Callable[[Any], Any], epilog: str | None = None
) -> Callable[[Callable[..., None]], click.Command]:
    """Make a command of a function that takes a console and, by name, the values of ``options`` and ``debug``.

    Every option is an environment variable too, named as it is written.  A ``VitaDemoError`` ends the program with
    one line and its exit code; ``--debug`` shows its traceback first.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def run(**flags: Any) -> None:
            console = open_console(flags.get("quiet", False), flags.get("verbose", False))
            try:
                function(console, **flags)
            except VitaDemoError as error:
                if flags["debug"]:
                    traceback.print_exc()
                fail(error)

        decorated: Callable[..., Any] = run
        for option in reversed((*options, _debug)):
            decorated = option(decorated)
        made = click.command(cls=GroupedCommand, context_settings=SETTINGS, epilog=epilog)(decorated)
        for parameter in made.params:
            if isinstance(parameter, click.Option):
                parameter.envvar = f"VITA_DEMO_{parameter.opts[0].lstrip('-').upper()}"
        return made

    return decorate


def open_console(quiet: bool = False, verbose: bool = False) -> "Console":
    """Make the console of one command, which also shows what the package logs."""
    from vita_demo.console import Console

    console = Console(quiet, verbose)
    console.handle_logs()
    return console


def fail(error: VitaDemoError) -> NoReturn:
    """Say an error in one line and exit with its code."""
    open_console().error(str(error))
    sys.exit(error.exit_code)


_debug = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
