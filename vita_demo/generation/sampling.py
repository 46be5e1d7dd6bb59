"""From logits to the next token: greedy, or drawn from a shaped distribution.

The shaping is transformers' own logits processors, in the order in which its ``generate`` applies them, so that
options mean here what they mean there.  Their module costs seconds to import and is left alone until an option
needs it.  Sampling is no part of a captured step: it is launched behind it, and as nothing in it waits for the device,
every option may run ahead and none needs a graph of its own.
"""

from collections.abc import Callable

import torch
from torch import Tensor

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
        processors.append(lp.NoBadWordsLogitsProcessor([list(ids) for ids in options.bad_words_ids], eos_token_id=ends))
    if options.min_new_tokens:
        processors.append(lp.MinNewTokensLengthLogitsProcessor(0, options.min_new_tokens, ends, device=str(device)))
    return processors + (_warpers(options) if options.do_sample else [])


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
