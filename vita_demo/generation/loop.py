"""The native decode loop: prefill once, then one step a token.

Knows logits and token ids; knows neither text nor VITA.
"""

from collections.abc import Iterator
from typing import Protocol

import torch
from torch import Tensor

from vita_demo.generation.events import Sampled
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import Sampler


class Decoder(Protocol):
    """What the loop needs of a language model: a cache that it owns, and two ways to fill it."""

    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        """Read the prompt [1, S, D]; return the next token's logits [1, vocab_size]."""

    def step(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size], valid until the next step."""


def generate_tokens(
    decoder: Decoder, inputs_embeds: Tensor, sampler: Sampler, options: GenerationOptions
) -> Iterator[Sampled]:
    """Yield ``options.max_new_tokens`` tokens after the prompt [1, S, D].

    It knows no stop tokens: whoever reads does, and closes it.  Nothing is computed ahead, so closing wastes nothing.
    """
    count = options.max_new_tokens
    answer = torch.empty(1, count, dtype=torch.long, device=inputs_embeds.device)
    token: Tensor | None = None
    for step in range(count):
        # Entered anew for each token: a generator must not leave its consumer in inference mode.
        with torch.inference_mode():
            logits = decoder.prefill(inputs_embeds) if token is None else decoder.step(token)
            token = sampler(logits, answer[:, :step])  # [1]
            answer[:, step] = token
            token_id = int(token)
            sampled = (
                Sampled(token_id) if options.top_logprobs is None else judge(logits, token_id, options.top_logprobs)
            )
        yield sampled


def judge(logits: Tensor, token_id: int, top: int) -> Sampled:
    """Look up the log-probability of ``token_id`` under logits [1, vocab_size], and the ``top`` likeliest tokens."""
    logprobs = logits.log_softmax(dim=-1, dtype=torch.float32)  # [1, vocab_size]
    logprob = logprobs[0, token_id].item()
    if not top:
        return Sampled(token_id, logprob)
    best = logprobs[0].topk(min(top, logprobs.shape[1]))
    return Sampled(token_id, logprob, tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)))
