"""Token ids from a device to the host, some steps behind, so that neither waits for the other at every token."""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor


class Slot(Protocol):
    """A place on the host for one token id."""

    def send(self, token: Tensor) -> None:
        """Begin to bring a token [1] here."""

    def receive(self) -> int:
        """Wait for it."""


class Readback:
    """A ring of slots: ids arrive in the order in which they were sent.

    Args:
        ahead: how many may be on their way while an earlier one is awaited.
        make_slot: makes a slot.
    """

    def __init__(self, ahead: int, make_slot: Callable[[], Slot]) -> None:
        self.ahead = ahead
        self._slots = [make_slot() for _ in range(ahead + 1)]
        self._sent = self._received = 0

    def send(self, token: Tensor) -> None:
        """Begin to bring a token [1] to the host."""
        self._slots[self._sent % len(self._slots)].send(token)
        self._sent += 1

    def receive(self) -> int:
        """Wait for the oldest that was not received yet."""
        slot = self._slots[self._received % len(self._slots)]
        self._received += 1
        return slot.receive()


class PinnedSlot:
    """Pinned memory that the GPU writes to by itself, and an event that tells when it has.

    Waiting for the event sleeps, so callbacks in other threads get the processor.  Not run on a GPU yet.
    """

    def __init__(self) -> None:
        self._id = torch.empty(1, dtype=torch.long, pin_memory=True)
        self._arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def send(self, token: Tensor) -> None:
        """Begin to bring a token [1] here; the current stream's earlier work comes first."""
        self._id.copy_(token, non_blocking=True)
        self._arrived.record(torch.cuda.current_stream(token.device))

    def receive(self) -> int:
        """Wait for it."""
        self._arrived.synchronize()
        return int(self._id)
