"""Prompt lookup decoding (Saxena 2023): drafts come from n-grams of the text so far, and one pass verifies several.

An answer that repeats the prompt or itself needs fewer passes through the model.  Every token is sampled from the
model's own logits, as without drafts: greedy or drawn, with or without penalties.
Knows logits and token ids; knows neither text nor VITA.
"""

from collections.abc import Generator, Iterator, Sequence
from itertools import cycle, islice, takewhile

import torch
from torch import Tensor

from vita_demo.generation.decoder_protocol import Decoder
from vita_demo.generation.events import Sampled
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import Sampler, sample
from vita_demo.metrics import Drafts

# Lengths of the n-grams that are looked up, the longest first.  Drafts after single tokens are mostly wrong, and a pass
# over a wrong draft takes longer than one without.
_NGRAM_LENGTHS = (3, 2)


class PromptLookup:
    """Drafts the tokens that followed the last n-gram where it occurred before.

    Args:
        token_ids: the prompt's; negative ones stand for pictures and sound, and are never drafted.
    """

    def __init__(self, token_ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        # n-gram → index after its latest occurrence.  The text's last n-gram is added with the next token, so a
        # lookup never finds itself.
        self._ends: dict[tuple[int, ...], int] = {}
        for token_id in token_ids:
            self.append(token_id)

    def append(self, token_id: int) -> None:
        """Add the next token of the text."""
        for ngram in self._last_ngrams():
            self._ends[ngram] = len(self._ids)
        self._ids.append(token_id)

    def draft(self, count: int) -> list[int]:
        """Draft up to ``count`` tokens: those after the latest occurrence of the longest n-gram that occurred."""
        end = next((self._ends[ngram] for ngram in self._last_ngrams() if ngram in self._ends), None)
        if end is None:
            return []
        followed = self._ids[end : end + count]
        # An occurrence near the end has too few successors; they are repeated, as a looping text goes on.
        return list(islice(takewhile(lambda token_id: token_id >= 0, cycle(followed)), count))

    def _last_ngrams(self) -> Iterator[tuple[int, ...]]:
        """Yield the n-grams at the end of the text, the longest first."""
        return (tuple(self._ids[-length:]) for length in _NGRAM_LENGTHS if length <= len(self._ids))


def speculate_tokens(
    decoder: Decoder,
    inputs_embeds: Tensor,
    input_ids: Sequence[int],
    sampler: Sampler,
    options: GenerationOptions,
    drafts: Drafts,
) -> Generator[Sampled, None, None]:
    """Yield the tokens of ``generate_tokens`` after the prompt [1, S, D], up to 1 + ``options.speculate`` per pass.

    A token is committed when the one after it is yielded, so that closing this at any token leaves the cache as
    ``generate_tokens`` leaves it.

    Args:
        decoder: reads the prompt and the answer.
        inputs_embeds: the prompt [1, S, D].
        input_ids: the prompt's ids, with negative ones where pictures and sound are.
        sampler: chooses each token.
        options: how to generate.
        drafts: counts the drafted tokens.
    """
    lookup, step, last = PromptLookup(input_ids), 0, 0
    answer = torch.empty(1, options.max_new_tokens, dtype=torch.long, device=inputs_embeds.device)
    while step < options.max_new_tokens:
        # Entered for each pass: a generator that yields inside would leave its reader in inference mode.
        with torch.inference_mode():
            if step:
                draft = lookup.draft(min(options.speculate, options.max_new_tokens - step - 1))
                drafts.proposed += len(draft)
                logits = decoder.verify(torch.tensor([last, *draft], device=answer.device))
            else:
                draft, logits = [], decoder.prefill(inputs_embeds)
            tokens = list(_accepted(logits, draft, sampler, answer, step, options.top_logprobs))
        for token in tokens:
            if token.together:
                decoder.commit()
                drafts.accepted += 1
            lookup.append(token.token_id)
            yield token
        step, last = step + len(tokens), tokens[-1].token_id


def _accepted(
    logits: Tensor, draft: list[int], sampler: Sampler, answer: Tensor, step: int, top_logprobs: int | None
) -> Iterator[Sampled]:
    """Sample tokens number ``step`` and following from logits [1 + n, vocab_size], while they equal the draft."""
    for row, drafted in enumerate([*draft, None]):
        _, token = sample(sampler, logits[row : row + 1], answer, step + row, top_logprobs)
        yield token._replace(together=row > 0)
        if token.token_id != drafted:
            return
