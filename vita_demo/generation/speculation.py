"""Prompt lookup: what comes next is guessed from the text so far, and several guesses are checked in one pass.

An answer that repeats the prompt or itself needs fewer passes through the model (Saxena 2023, prompt lookup decoding).
Every token is sampled from the model's own logits, as without guesses: greedy or drawn, with or without penalties.
Knows logits and token ids; knows neither text nor VITA.
"""

from collections.abc import Generator, Iterator, Sequence
from itertools import cycle, islice, takewhile
from typing import Protocol

import torch
from torch import Tensor

from vita_demo.generation.events import Sampled
from vita_demo.generation.loop import Decoder, judge
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import Sampler
from vita_demo.metrics import Drafts

# How many last tokens must have occurred before, the longest first.  A single one foretells too little: of what it
# guesses most is wrong, and a pass over wrong guesses takes longer than one over none.
_MATCHED = (3, 2)


class VerifyingDecoder(Decoder, Protocol):
    """A decoder that reads several tokens in one pass, and keeps of them what it is told to."""

    def verify(self, token_ids: Tensor) -> Tensor:
        """Read tokens [n]; return the logits after each [n, vocab_size], valid until the next step.

        Only the first token is committed; the next pass overwrites the cache slots of the others.
        """


class PromptLookup:
    """Guesses that what followed the last tokens before follows them again.

    Args:
        token_ids: the prompt's; negative ones stand for pictures and sound, which are never guessed.
    """

    def __init__(self, token_ids: Sequence[int]) -> None:
        self._ids: list[int] = []
        # Where the ids of each match last ended; the ids at the very end are not in it before the next one is known.
        self._ends: dict[tuple[int, ...], int] = {}
        for token_id in token_ids:
            self.append(token_id)

    def append(self, token_id: int) -> None:
        """Take the next token."""
        for match in self._matches():
            self._ends[match] = len(self._ids)
        self._ids.append(token_id)

    def draft(self, count: int) -> list[int]:
        """Guess up to ``count`` tokens: those after the longest match, and of such the latest."""
        end = next((self._ends[match] for match in self._matches() if match in self._ends), None)
        if end is None:
            return []
        followed = self._ids[end : end + count]
        # Near the end little followed yet; a text that repeats itself goes on with the same.
        return list(islice(takewhile(lambda token_id: token_id >= 0, cycle(followed)), count))

    def _matches(self) -> Iterator[tuple[int, ...]]:
        """Give the last tokens, the longest first."""
        return (tuple(self._ids[-length:]) for length in _MATCHED if length <= len(self._ids))


def speculate_tokens(
    decoder: VerifyingDecoder,
    inputs_embeds: Tensor,
    input_ids: Sequence[int],
    sampler: Sampler,
    options: GenerationOptions,
    drafts: Drafts,
) -> Generator[Sampled, None, None]:
    """Yield the tokens of ``generate_tokens`` after the prompt [1, S, D], up to 1 + ``options.speculate`` a pass.

    The decoder commits a token only when the one after it is yielded: whoever closes this finds the decoder as it is
    without speculation.

    Args:
        decoder: reads the prompt and the answer.
        inputs_embeds: the prompt [1, S, D].
        input_ids: the prompt's ids, with negative ones where pictures and sound are.
        sampler: chooses each token.
        options: how to generate.
        drafts: counts what was guessed.
    """
    lookup, step, last = PromptLookup(input_ids), 0, 0
    answer = torch.empty(1, options.max_new_tokens, dtype=torch.long, device=inputs_embeds.device)
    while step < options.max_new_tokens:
        # Entered anew for each pass: a generator must not leave its consumer in inference mode.
        with torch.inference_mode():
            if step:
                draft = lookup.draft(min(options.speculate, options.max_new_tokens - step - 1))
                drafts.proposed += len(draft)
                logits = decoder.verify(torch.tensor([last, *draft], device=answer.device))
            else:
                draft, logits = [], decoder.prefill(inputs_embeds)
            tokens = list(_choose(logits, draft, sampler, answer, step, options.top_logprobs))
        for token in tokens:
            if token.together:
                decoder.commit()
                drafts.accepted += 1
            lookup.append(token.token_id)
            yield token
        step, last = step + len(tokens), tokens[-1].token_id


def _choose(
    logits: Tensor, draft: list[int], sampler: Sampler, answer: Tensor, step: int, top_logprobs: int | None
) -> Generator[Sampled, None, None]:
    """Sample token ``step`` after the first row of logits [1 + n, vocab_size], and go on while the draft was right."""
    for row, guess in enumerate([*draft, None]):
        rows = logits[row : row + 1]  # [1, vocab_size]
        token = sampler(rows, answer[:, : step + row])  # [1]
        answer[:, step + row] = token
        token_id = int(token)
        sampled = Sampled(token_id) if top_logprobs is None else judge(rows, token_id, top_logprobs)
        yield sampled._replace(together=row > 0)
        if token_id != guess:
            return
