"""The native decode loop: prefill once, then one step a token.

Knows logits and token ids; knows neither text nor VITA.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from vita_demo.generation.sampling import Sampler


class Decoder(Protocol):
    """What the loop needs of a language model: a cache that it owns, and two ways to fill it."""

    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        """Read the prompt [1, S, D]; return the next token's logits [1, vocab_size]."""

    def step(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size]."""


def generate_ids(decoder: Decoder, inputs_embeds: Tensor, sampler: Sampler, max_new_tokens: int) -> Iterator[int]:
    """Yield ``max_new_tokens`` token ids after the prompt [1, S, D].

    It knows no stop tokens: whoever reads does, and closes it.  Nothing is computed ahead, so closing wastes nothing.
    """
    answer = torch.empty(1, max_new_tokens, dtype=torch.long, device=inputs_embeds.device)
    for step in range(max_new_tokens):
        # Entered anew for each token: a generator must not leave its consumer in inference mode.
        with torch.inference_mode():
            logits = decoder.prefill(inputs_embeds) if step == 0 else decoder.step(answer[0, step - 1 : step])
            answer[:, step] = sampler(logits, answer[:, :step])
        yield int(answer[0, step])
