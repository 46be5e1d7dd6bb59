"""The terminal itself: where stdout goes, how wide it is, and whether it echoes what is typed."""

import os
import signal as signals
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from enum import Enum
from typing import TextIO

try:
    import termios
except ImportError:  # Windows
    termios = None  # type: ignore[assignment]


class Place(Enum):
    """Where stdout goes, as seen from the terminal behind stderr."""

    SAME = "to the same terminal"
    ELSEWHERE = "to a file or another terminal"
    UNKNOWN = "into the file of stderr too, or into a pipe, whose reader may write to this terminal"


def place_of(stdout: TextIO, stderr: TextIO) -> Place:
    """Find out where ``stdout`` goes."""
    if not stderr.isatty():
        return Place.UNKNOWN if _same_file(stdout, stderr) else Place.ELSEWHERE
    try:
        descriptors = stdout.fileno(), stderr.fileno()
        if not stdout.isatty():
            mode = os.fstat(descriptors[0]).st_mode
            return Place.UNKNOWN if stat.S_ISFIFO(mode) or stat.S_ISSOCK(mode) else Place.ELSEWHERE
        names = {os.ttyname(descriptor) for descriptor in descriptors}
    except (OSError, AttributeError):
        return Place.SAME if stdout.isatty() else Place.UNKNOWN
    if len(names) == 1:
        return Place.SAME
    return Place.UNKNOWN if "/dev/tty" in names else Place.ELSEWHERE


def _same_file(one: TextIO, other: TextIO) -> bool:
    try:
        return os.path.samestat(os.fstat(one.fileno()), os.fstat(other.fileno()))
    except (OSError, AttributeError):
        return False


def width_of(terminal: TextIO) -> int:
    """Return the columns that a terminal has now; 80 where it does not say."""
    try:
        return os.get_terminal_size(terminal.fileno()).columns or 80
    except OSError:
        return 80


@contextmanager
def without_echo(terminal: TextIO) -> Iterator[None]:
    """Keep what is typed off the screen; it is still read by whoever comes next.

    The echo is back after the block, before a signal ends the process, and while Ctrl-Z stops it.
    """
    if termios is None or not _echo(terminal, False):
        yield
        return

    def interrupt(number: int, _frame: object) -> None:
        _echo(terminal, True)
        signals.signal(number, signals.SIG_DFL)
        os.kill(os.getpid(), number)
        # Here goes on what Ctrl-Z stopped.
        signals.signal(number, interrupt)
        _echo(terminal, False)

    caught = [number for number in (signals.SIGTERM, signals.SIGHUP, signals.SIGTSTP)
              if threading.current_thread() is threading.main_thread()
              and signals.getsignal(number) is signals.SIG_DFL]  # fmt: skip
    for number in caught:
        signals.signal(number, interrupt)
    try:
        yield
    finally:
        _echo(terminal, True)
        for number in caught:
            signals.signal(number, signals.SIG_DFL)


def _echo(terminal: TextIO, on: bool) -> bool:
    """Switch the echo; return whether it was switched: not where it is so already, nor from the background."""
    try:
        descriptor = terminal.fileno()
        if os.tcgetpgrp(descriptor) != os.getpgrp():
            return False
        attributes = termios.tcgetattr(descriptor)
        if bool(attributes[3] & termios.ECHO) == on:
            return False
        attributes[3] ^= termios.ECHO
        termios.tcsetattr(descriptor, termios.TCSANOW, attributes)
    except (OSError, termios.error):
        return False
    return True
