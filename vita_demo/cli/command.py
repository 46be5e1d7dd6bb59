"""What all commands have in common: grouped help, ``--debug``, a console, and errors in one line."""

import difflib
import sys
import traceback
from collections.abc import Callable, Mapping
from functools import wraps
from typing import TYPE_CHECKING, Any, TypeVar

import click

from vita_demo.cores import share_cores
from vita_demo.errors import VitaDemoError
from vita_demo.request import check_text

if TYPE_CHECKING:
    from vita_demo.console import Console

Function = TypeVar("Function", bound=Callable[..., Any])
Option = Callable[[Function], Function]

SETTINGS: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "token_normalize_func": lambda name: name.replace("-", "_"),
    "max_content_width": 110,
}


class Once(click.Option):
    """An option that may be given once, where a second value would drop the first one's file or question."""


class GroupedCommand(click.Command):
    """A command whose help lists its flags by purpose."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Refuse a second value of options that take one, and say what is near an unknown option."""
        if ctx.resilient_parsing:
            return super().parse_args(ctx, args)
        try:
            _, _, order = self.make_parser(ctx).parse_args([*args])
        except click.NoSuchOption as error:
            raise click.UsageError(self._unknown(ctx, error.option_name), ctx) from None
        for parameter in order:
            if isinstance(parameter, Once) and order.count(parameter) > 1:
                raise click.UsageError(f"{parameter.opts[0]} was given twice; give one", ctx)
        try:
            return super().parse_args(ctx, args)
        except click.MissingParameter as error:
            if not isinstance(error.param, click.Argument):
                raise
            name = error.param.make_metavar(ctx)
            raise click.UsageError(f"{name} is missing; write {ctx.command_path} {name}", ctx) from None

    def _unknown(self, ctx: click.Context, option: str) -> str:
        names = [written for parameter in self.params for written in parameter.opts if written.startswith("--")]
        near = difflib.get_close_matches(option, names, n=1)
        if option.endswith("_path") and any(isinstance(parameter, click.Argument) for parameter in self.params):
            return f"{option} is no option of {ctx.command_path}; give the file by itself: {ctx.command_path} FILE"
        hint = f"did you mean {near[0]}?" if near else f"{ctx.command_path} --help lists the options"
        return f"{option} is no option; {hint}"

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write a section for each group, in the order in which they were given."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                # Every flag has a --no_ form, which would fill the help.
                record = (record[0].partition(" / ")[0], record[1])
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

    Every option is an environment variable too, named as it is written, and every flag can be switched off.  A
    ``VitaDemoError`` ends the program with one line and its exit code, any other error with 1; ``--debug`` shows the
    traceback.
    """

    def decorate(function: Callable[..., None]) -> click.Command:
        @wraps(function)
        def run(**flags: Any) -> None:
            _run(function, flags)

        decorated: Callable[..., Any] = run
        for option in reversed((*options, _debug)):
            decorated = option(decorated)
        made = click.command(cls=GroupedCommand, context_settings=SETTINGS, epilog=epilog)(decorated)
        for parameter in made.params:
            if isinstance(parameter, click.Option):
                _name_otherwise(parameter)
        return made

    return decorate


def _run(function: Callable[..., None], flags: dict[str, Any]) -> None:
    console = open_console(flags.get("quiet", False), flags.get("verbose", False))
    share_cores()
    try:
        _check_texts(flags)
        function(console, **flags)
    except VitaDemoError as error:
        if flags["debug"]:
            traceback.print_exc()
        sys.exit(fail(str(error), error.exit_code))
    except (click.ClickException, click.Abort, click.exceptions.Exit):
        raise
    except Exception as error:
        # A strict callback's error, a file that changed meanwhile, or a defect.
        is_stdouts = isinstance(error, OSError) and error.filename is None
        if flags["debug"] or is_stdouts:
            raise
        sys.exit(fail(f"{type(error).__name__}: {error}; give --debug to see where it comes from", 1))


def _name_otherwise(option: click.Option) -> None:
    """Let an option be an environment variable, and a flag be switched off."""
    name = option.opts[0].lstrip("-")
    option.envvar = f"VITA_DEMO_{name.upper()}"
    if option.is_flag:
        option.secondary_opts = [f"--no_{name}"]


def _check_texts(flags: Mapping[str, Any]) -> None:
    """Refuse texts that are not UTF-8; paths may have any bytes."""
    for name, value in flags.items():
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str):
                check_text(text, f"--{name}")


def open_console(quiet: bool = False, verbose: bool = False) -> "Console":
    """Make the console of one command, which also shows what the package logs."""
    from vita_demo.console import Console

    console = Console(quiet, verbose)
    console.handle_logs()
    return console


def fail(text: str, code: int) -> int:
    """Say in one line why a command failed; return its exit code."""
    open_console().error(text)
    return code


_debug = click.option("--debug", is_flag=True, help="Show the traceback of an error.")
