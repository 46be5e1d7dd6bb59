"""Imports decord with its messages suppressed."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


@contextmanager
def quiet_decord() -> Iterator[Any]:
    """Yield the module decord, and discard what is written to stderr inside the ``with`` block.

    decord's C++ part writes to file descriptor 2 whatever its log level, so the whole process's stderr is redirected.
    """
    import decord

    decord.logging.set_level(decord.logging.QUIET)
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with open(os.devnull, "wb") as devnull:  # noqa: PTH123 - its descriptor is needed
            os.dup2(devnull.fileno(), 2)
        yield decord
    finally:
        os.dup2(saved, 2)
        os.close(saved)
