"""The two consoles that everything is drawn on: stdout for results, stderr for all else.

Text is shown as it is: names of files may hold ``[bold]`` or ``:100:``, so neither markup nor emoji codes are read.
"""

import sys

from rich.console import Console as RichConsole

_PIPED_WIDTH = 160


def stdout_console() -> RichConsole:
    """Return a console on stdout: it wraps at a terminal's width, and leaves lines whole in a pipe or file."""
    piped = not sys.stdout.isatty()
    return RichConsole(
        highlight=False, markup=False, emoji=False, soft_wrap=piped, width=_PIPED_WIDTH if piped else None
    )


def stderr_console() -> RichConsole:
    """Return a console on stderr."""
    width = None if sys.stderr.isatty() else _PIPED_WIDTH
    return RichConsole(stderr=True, highlight=False, markup=False, emoji=False, width=width)
