"""What Ctrl-C does while an answer is made."""

import signal as signals
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from vita_demo.generation.stopping import StopSignal


@contextmanager
def interruptible() -> Iterator[StopSignal]:
    """Let the first Ctrl-C end the answer and keep what there is; the second quits.

    Outside the main thread, which gets no signals, this changes nothing.
    """
    signal = StopSignal()

    def interrupt(_number: int, _frame: object) -> None:
        if signal.reason is not None:
            raise KeyboardInterrupt
        signal.request("cancelled")

    if threading.current_thread() is not threading.main_thread():
        yield signal
        return
    before = signals.signal(signals.SIGINT, interrupt)
    try:
        yield signal
    finally:
        signals.signal(signals.SIGINT, before)
