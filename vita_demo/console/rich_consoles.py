"""Where a report goes that was asked for: stdout."""

import sys

from rich.console import Console as RichConsole

_PIPED_WIDTH = 160


def stdout_console() -> RichConsole:
    """Return a console that wraps at a terminal's width and keeps lines whole elsewhere."""
    piped = not sys.stdout.isatty()
    return RichConsole(highlight=False, soft_wrap=piped, width=_PIPED_WIDTH if piped else None)
