"""From logits to the next token: greedy, or drawn from the distribution after penalties and filters.

These are transformers' own logits processors, in the order in which its ``generate`` applies them, so that options
mean the same in both engines.  Their module takes seconds to import, so it is imported only when an option needs it.
Sampling is not part of a captured step but launched after it; since nothing in it synchronizes with the device,
every option can run ahead and none needs a CUDA graph of its own.
"""

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from vita_demo.errors import ConfigError
from vita_demo.generation.events import Sampled
from vita_demo.generation.options import GenerationOptions

# Logits divided by less than this overflow float32, and their softmax is no distribution.
LOWEST_TEMPERATURE = 1e-30

Sampler = Callable[[Tensor, Tensor], Tensor]
"""Maps logits [1, vocab_size] and the answer's token ids so far [1, n] to the next token id [1]."""

Processor = Callable[..., Tensor]
"""Maps the answer's token ids so far [1, n] and float32 logits [1, vocab_size] to new logits."""


def sample(
    sampler: Sampler, logits: Tensor, answer: Tensor, step: int, top_logprobs: int | None
) -> tuple[Tensor, Sampled]:
    """Sample token number ``step`` from logits [1, vocab_size], and write it into the answer's ids [1, n].

    Returns:
        The token's id [1] on the device, and the token; with ``top_logprobs`` it carries its log-probability and that
        many of the likeliest tokens.
    """
    token = sampler(logits, answer[:, :step])  # [1]
    answer[:, step] = token
    token_id = int(token)
    if top_logprobs is None:
        return token, Sampled(token_id)
    logprobs = logits[0].log_softmax(dim=-1, dtype=torch.float32)  # [vocab_size]
    best = logprobs.topk(min(top_logprobs, len(logprobs)))
    pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
    return token, Sampled(token_id, logprobs[token_id].item(), tuple(pairs))


def make_sampler(options: GenerationOptions, stop_ids: frozenset[int], device: torch.device) -> Sampler:
    """Build the sampler for ``options``; greedy without penalties is one argmax."""
    processors = make_processors(options, stop_ids, device)
    if not options.do_sample:
        return partial(_take_likeliest, processors) if processors else likeliest
    generator = torch.Generator(device)
    if options.seed is None:
        generator.seed()
    else:
        generator.manual_seed(options.seed)

    def draw(logits: Tensor, answer: Tensor) -> Tensor:
        probabilities = _process(processors, logits, answer).softmax(dim=-1)
        # As torch.multinomial does it, without its checks, which synchronize with the device.
        races = torch.empty_like(probabilities).exponential_(generator=generator)  # [1, vocab_size]
        return probabilities.div_(races).argmax(dim=-1)  # [1]

    return draw


def likeliest(logits: Tensor, _answer: Tensor) -> Tensor:
    """Map logits [B, vocab_size] to the likeliest tokens' ids [B]."""
    return logits.argmax(dim=-1)  # [B]


def _take_likeliest(processors: list[Processor], logits: Tensor, answer: Tensor) -> Tensor:
    return _process(processors, logits, answer).argmax(dim=-1)  # [1]


def _process(processors: list[Processor], logits: Tensor, answer: Tensor) -> Tensor:
    logits = logits.to(torch.float32, copy=True)
    for processor in processors:
        logits = processor(answer, logits)
    return logits


def make_processors(options: GenerationOptions, stop_ids: frozenset[int], device: torch.device) -> list[Processor]:
    """Return transformers' processors for the options that differ from their neutral value."""
    o, draws = options, options.do_sample
    table: tuple[tuple[bool, Callable[[Any], Processor]], ...] = (
        (o.repetition_penalty != 1, lambda lp: lp.RepetitionPenaltyLogitsProcessor(o.repetition_penalty)),
        (bool(o.bad_words_ids), lambda _: BadWords(o.bad_words_ids, stop_ids, device)),
        (
            o.min_new_tokens > 0,
            lambda lp: lp.MinNewTokensLengthLogitsProcessor(0, o.min_new_tokens, sorted(stop_ids), device=str(device)),
        ),
        (draws and o.temperature != 1, lambda lp: lp.TemperatureLogitsWarper(max(o.temperature, LOWEST_TEMPERATURE))),
        (draws and o.top_k > 0, lambda lp: lp.TopKLogitsWarper(o.top_k)),
        (draws and o.top_p < 1, lambda lp: lp.TopPLogitsWarper(o.top_p)),
        (draws and o.min_p > 0, lambda lp: lp.MinPLogitsWarper(o.min_p)),
    )
    makers = [make for needed, make in table if needed]
    if not makers:
        return []
    from transformers.generation import logits_process

    return [make(logits_process) for make in makers]


class BadWords:
    """transformers' ``NoBadWordsLogitsProcessor`` with its ids on the device, where that uploads them for each token.

    Args:
        words: sequences of token ids that must not appear; a stop token alone is allowed, as there.
        stop_ids: the stop tokens.
        device: where the logits are.

    Raises:
        ConfigError: when a word is empty or has a negative id.
    """

    def __init__(self, words: Sequence[Sequence[int]], stop_ids: frozenset[int], device: torch.device) -> None:
        wrong = next((word for word in words if not word or min(word) < 0), None)
        if wrong is not None:
            raise ConfigError(f"bad_words_ids hold {list(wrong)}; give words of at least one token id, none negative")
        single = [word[0] for word in words if len(word) == 1 and word[0] not in stop_ids]
        self._single = torch.tensor(single, dtype=torch.long, device=device)
        self._longer = [(torch.tensor(word[:-1], device=device), word[-1]) for word in words if len(word) > 1]
        self._largest = max(token_id for word in words for token_id in word)

    def __call__(self, answer: Tensor, logits: Tensor) -> Tensor:
        """Forbid the tokens that would complete a bad word after the answer [1, n]; changes logits [1, vocab_size].

        Raises:
            ConfigError: when a bad word has an id that is no token.
        """
        if self._largest >= logits.shape[1]:
            raise ConfigError(f"bad_words_ids hold {self._largest}, and the vocabulary ends at {logits.shape[1] - 1}")
        logits.index_fill_(1, self._single, float("-inf"))
        for prefix, last in self._longer:
            # Checked only once the answer is as long as the whole word, as there.
            if answer.shape[1] > len(prefix):
                matches = (answer[0, -len(prefix) :] == prefix).all()  # scalar
                logits[0, last].masked_fill_(matches, float("-inf"))
        return logits
