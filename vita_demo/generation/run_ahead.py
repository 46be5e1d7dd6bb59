"""Decoding with steps launched ahead of the reader, and token ids copied to the host later, so that neither waits."""

from collections.abc import Callable, Generator

import torch
from torch import Tensor

from vita_demo.generation.decoder_protocol import Decoder
from vita_demo.generation.events import Sampled
from vita_demo.generation.sampling import Sampler

# Steps launched on a GPU before the token of an earlier one is yielded.
AHEAD = 2


class PinnedSlot:
    """One token id in pinned memory, copied by the GPU, and an event that marks its arrival.

    Waiting for the event sleeps, so callbacks in other threads get the processor.
    """

    def __init__(self) -> None:
        self._id = torch.empty(1, dtype=torch.long, pin_memory=True)
        self._arrived = torch.cuda.Event(blocking=True)  # type: ignore[no-untyped-call]

    def send(self, token: Tensor) -> None:
        """Start copying a token [1] here, ordered after the current stream's earlier work."""
        self._id.copy_(token, non_blocking=True)
        self._arrived.record(torch.cuda.current_stream(token.device))

    def receive(self) -> int:
        """Wait for the token."""
        self._arrived.synchronize()
        return int(self._id)


class Readback:
    """A ring of slots for token ids on their way to the host; they arrive in the order in which they were sent.

    Args:
        ahead: how many tokens may be on their way while an earlier one is awaited.
        make_slot: makes a slot.
    """

    def __init__(self, ahead: int, make_slot: Callable[[], PinnedSlot]) -> None:
        self.ahead = ahead
        self._slots = [make_slot() for _ in range(ahead + 1)]
        self._sent = self._received = 0

    def send(self, token: Tensor) -> None:
        """Start copying a token [1] to the host."""
        self._slots[self._sent % len(self._slots)].send(token)
        self._sent += 1

    def receive(self) -> int:
        """Wait for the oldest token not received yet."""
        slot = self._slots[self._received % len(self._slots)]
        self._received += 1
        return slot.receive()


def generate_ahead(
    decoder: Decoder, inputs_embeds: Tensor, sampler: Sampler, count: int, readback: Readback
) -> Generator[Sampled, None, None]:
    """Yield ``count`` tokens after the prompt [1, S, D], as ``generate_tokens`` does, while later ones are computed.

    A sampled token stays on the device as the next step's input, so the host launches steps before it has seen their
    tokens.  Only tokens that were yielded are committed: steps launched beyond a stop need no undoing, since later
    steps overwrite their cache slots.
    """
    answer = torch.empty(1, count, dtype=torch.long, device=inputs_embeds.device)
    launched, token = 0, None
    for step in range(count):
        with torch.inference_mode():
            # The first token is yielded at once: its reader does not wait until further steps are launched.
            while launched <= step + readback.ahead * (step > 0) and launched < count:
                ahead = launched - step
                logits = decoder.prefill(inputs_embeds) if token is None else decoder.launch(token, ahead)
                token = sampler(logits, answer[:, :launched])  # [1]
                answer[:, launched] = token
                readback.send(token)
                launched += 1
            token_id = readback.receive()
            if step:
                decoder.commit()
        yield Sampled(token_id)
