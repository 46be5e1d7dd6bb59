"""The native decode loop: prefill once, then one step a token.

Knows logits and token ids; knows neither text nor VITA.
"""

from collections.abc import Generator
from typing import Protocol

import torch
from torch import Tensor

from vita_demo.generation.events import Sampled
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.readback import PinnedSlot, Readback
from vita_demo.generation.sampling import Sampler

# Steps that a GPU is given before the token of an earlier one is handed on.
AHEAD = 2


class Decoder(Protocol):
    """What the loop needs of a language model: a cache that it owns, and ways to fill it."""

    @property
    def runs_ahead(self) -> bool:
        """Whether steps are launched without waiting for them, through ``launch``."""

    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        """Read the prompt [1, S, D]; return the next token's logits [1, vocab_size]."""

    def step(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size], valid until the next step."""

    def launch(self, token_id: Tensor, ahead: int) -> Tensor:
        """Begin to read one token [1], ``ahead`` positions behind those that count; otherwise as ``step``."""

    def commit(self) -> None:
        """Advance the cache's length by one: the oldest token launched (or verified) becomes part of the sequence."""


def generate_tokens(
    decoder: Decoder, inputs_embeds: Tensor, sampler: Sampler, options: GenerationOptions
) -> Generator[Sampled, None, None]:
    """Yield ``options.max_new_tokens`` tokens after the prompt [1, S, D].

    It knows no stop tokens: whoever reads does, and closes it.  On the CPU nothing is computed ahead, so closing
    wastes nothing; a GPU runs ahead, unless the logits of each token are to be looked at.
    """
    count = options.max_new_tokens
    if decoder.runs_ahead and options.top_logprobs is None:
        yield from generate_ahead(decoder, inputs_embeds, sampler, count, Readback(AHEAD, PinnedSlot))
        return
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


def generate_ahead(
    decoder: Decoder, inputs_embeds: Tensor, sampler: Sampler, count: int, readback: Readback
) -> Generator[Sampled, None, None]:
    """Yield ``count`` tokens after the prompt [1, S, D], as ``generate_tokens`` does, while later ones are computed.

    The token that a step makes stays on the device as the next one's input, so the host launches steps without having
    seen their tokens.  Only tokens that were handed on count as read: what was launched beyond a stop needs no
    undoing, and the positions that it filled are written over.
    """
    answer = torch.empty(1, count, dtype=torch.long, device=inputs_embeds.device)
    launched, token = 0, None
    for step in range(count):
        with torch.inference_mode():
            # The first token is handed on at once: the first step after it may have to prepare itself.
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


def judge(logits: Tensor, token_id: int, top: int) -> Sampled:
    """Look up the log-probability of ``token_id`` under logits [1, vocab_size], and the ``top`` likeliest tokens."""
    logprobs = logits.log_softmax(dim=-1, dtype=torch.float32)  # [1, vocab_size]
    logprob = logprobs[0, token_id].item()
    if not top:
        return Sampled(token_id, logprob)
    best = logprobs[0].topk(min(top, logprobs.shape[1]))
    return Sampled(token_id, logprob, tuple(zip(best.indices.tolist(), best.values.tolist(), strict=True)))
