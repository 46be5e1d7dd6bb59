"""Keeps a decoder's own words off the terminal."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def quiet_decoder() -> Iterator[None]:
    """Send to nowhere what decord's C++ part writes to stderr, which it does whatever its log level.

    For the moment all of the process's stderr goes the same way.
    """
    sys.stderr.flush()
    before = os.dup(2)
    try:
        with open(os.devnull, "wb") as nowhere:  # noqa: PTH123 - its descriptor is wanted
            os.dup2(nowhere.fileno(), 2)
        yield
    finally:
        os.dup2(before, 2)
        os.close(before)
