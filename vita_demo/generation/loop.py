"""The native decode loop: one prefill, then one step per token.

Knows logits and token ids; knows neither text nor VITA.
"""

from collections.abc import Generator

import torch
from torch import Tensor

from vita_demo.generation.decoder_protocol import Decoder
from vita_demo.generation.events import Sampled
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.run_ahead import AHEAD, PinnedSlot, Readback, generate_ahead
from vita_demo.generation.sampling import Sampler, sample


def generate_tokens(
    decoder: Decoder, inputs_embeds: Tensor, sampler: Sampler, options: GenerationOptions
) -> Generator[Sampled, None, None]:
    """Yield ``options.max_new_tokens`` tokens after the prompt [1, S, D].

    Stop tokens end nothing here: the reader closes the generator.  On the CPU nothing is computed ahead of the
    reader; a GPU runs ahead, unless log-probabilities are wanted.
    """
    count = options.max_new_tokens
    if decoder.runs_ahead and options.top_logprobs is None:
        yield from generate_ahead(decoder, inputs_embeds, sampler, count, Readback(AHEAD, PinnedSlot))
        return
    answer = torch.empty(1, count, dtype=torch.long, device=inputs_embeds.device)
    token: Tensor | None = None
    for step in range(count):
        # Entered for each token: a generator that yields inside would leave its reader in inference mode.
        with torch.inference_mode():
            logits = decoder.prefill(inputs_embeds) if token is None else decoder.step(token)  # [1, vocab_size]
            token, sampled = sample(sampler, logits, answer, step, options.top_logprobs)
        yield sampled
