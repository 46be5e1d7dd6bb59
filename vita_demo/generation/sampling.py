"""From logits to the next token: greedy, or drawn from a shaped distribution.

The shaping is transformers' own logits processors, in the order in which its ``generate`` applies them, so that
options mean here what they mean there.  Their module costs seconds to import and is left alone until an option
needs it.  Sampling is no part of a captured step: it is launched behind it, and as nothing in it waits for the device,
every option may run ahead and none needs a graph of its own.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vita_demo.errors import ConfigError
from vita_demo.generation.options import GenerationOptions

Sampler = Callable[[Tensor, Tensor], Tensor]
"""Takes logits [1, vocab_size] and the answer's token ids so far [1, n]; returns the next token id [1]."""

Processor = Callable[..., Tensor]
"""Takes the answer's token ids so far [1, n] and float32 logits [1, vocab_size]; returns such logits."""


def make_sampler(options: GenerationOptions, stop_ids: frozenset[int], device: torch.device) -> Sampler:
    """Build the sampler for ``options``; greedy without penalties is one argmax."""
    processors = make_processors(options, stop_ids, device)
    if not options.do_sample:
        return lambda logits, answer: _process(processors, logits, answer).argmax(dim=-1)  # [1]
    generator = torch.Generator(device)
    if options.seed is None:
        generator.seed()
    else:
        generator.manual_seed(options.seed)

    def draw(logits: Tensor, answer: Tensor) -> Tensor:
        probabilities = _process(processors, logits, answer).softmax(dim=-1)
        # What torch.multinomial computes, without its checks, for which a host would wait.
        races = torch.empty_like(probabilities).exponential_(generator=generator)  # [1, vocab_size]
        return probabilities.div_(races).argmax(dim=-1)  # [1]

    return draw


def _process(processors: list[Processor], logits: Tensor, answer: Tensor) -> Tensor:
    if not processors:
        return logits.float()
    logits = logits.to(torch.float32, copy=True)
    for processor in processors:
        logits = processor(answer, logits)
    return logits


def make_processors(options: GenerationOptions, stop_ids: frozenset[int], device: torch.device) -> list[Processor]:
    """Return transformers' processors for the options that differ from their neutral value."""
    shapes = options.do_sample and (options.temperature != 1 or options.top_k or options.top_p < 1 or options.min_p > 0)
    if not (shapes or options.repetition_penalty != 1 or options.bad_words_ids or options.min_new_tokens):
        return []
    from transformers.generation import logits_process as lp

    ends = sorted(stop_ids)
    processors: list[Processor] = []
    if options.repetition_penalty != 1:
        processors.append(lp.RepetitionPenaltyLogitsProcessor(options.repetition_penalty))
    if options.bad_words_ids:
        processors.append(BadWords(options.bad_words_ids, stop_ids, device))
    if options.min_new_tokens:
        processors.append(lp.MinNewTokensLengthLogitsProcessor(0, options.min_new_tokens, ends, device=str(device)))
    return processors + (_warpers(options) if options.do_sample else [])


class BadWords:
    """transformers' ``NoBadWordsLogitsProcessor``, for which a GPU waits at each token, as it uploads its ids anew.

    Args:
        words: token ids that must not follow one another; a stop token alone is allowed, as there.
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
        """Forbid what would end a bad word after the answer so far [1, n]; changes logits [1, vocab_size].

        Raises:
            ConfigError: when a bad word has an id that is no token.
        """
        if self._largest >= logits.shape[1]:
            raise ConfigError(f"bad_words_ids hold {self._largest}, and the vocabulary ends at {logits.shape[1] - 1}")
        logits.index_fill_(1, self._single, float("-inf"))
        for beginning, last in self._longer:
            # Not before the answer is as long as the whole word, as there.
            if answer.shape[1] > len(beginning):
                begun = (answer[0, -len(beginning) :] == beginning).all()  # scalar
                logits[0, last].masked_fill_(begun, float("-inf"))
        return logits


def _warpers(options: GenerationOptions) -> list[Processor]:
    from transformers.generation import logits_process as lp

    warpers: list[Processor] = []
    if options.temperature != 1:
        warpers.append(lp.TemperatureLogitsWarper(options.temperature))
    if options.top_k:
        warpers.append(lp.TopKLogitsWarper(options.top_k))
    if options.top_p < 1:
        warpers.append(lp.TopPLogitsWarper(options.top_p))
    if options.min_p > 0:
        warpers.append(lp.MinPLogitsWarper(options.min_p))
    return warpers
