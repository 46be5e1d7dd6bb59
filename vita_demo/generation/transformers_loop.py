"""The other engine: transformers' own ``generate`` as an iterator of tokens.

It is an independent check of the native loop, and provides options that the native loop lacks.  It works with any
causal language model of transformers.
"""

import warnings
from collections.abc import Callable, Generator
from typing import Any

import torch
from torch import Tensor

from vita_demo.errors import ConfigError
from vita_demo.generation.background import BackgroundIterator
from vita_demo.generation.events import Sampled
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal

# With inputs_embeds the first one fails and the second one gives wrong tokens without an error (transformers 5.17).
_BROKEN = {"prefill_chunk_size": "leave it out", "prompt_lookup_num_tokens": "give speculate instead"}


def generation_config(options: GenerationOptions, stop_ids: frozenset[int]) -> Any:
    """Translate options to a transformers ``GenerationConfig``.

    Raises:
        ConfigError: for options that transformers does not know or gets wrong with embedded prompts.
    """
    from transformers import GenerationConfig

    for name in options.extra:
        if name in _BROKEN:
            raise ConfigError(f"{name} does not work with prompts that hold pictures or sound; {_BROKEN[name]}")
        if not hasattr(GenerationConfig(), name):
            raise ConfigError(f"{name} is no option of this package or of transformers' generate; check its spelling")
    values: dict[str, Any] = {
        "max_new_tokens": options.max_new_tokens,
        "min_new_tokens": options.min_new_tokens or None,
        "do_sample": options.do_sample,
        "num_beams": options.num_beams,
        "repetition_penalty": options.repetition_penalty,
        "bad_words_ids": [list(ids) for ids in options.bad_words_ids] or None,
        "eos_token_id": sorted(stop_ids) or None,
        "pad_token_id": min(stop_ids, default=0),
    }
    if options.do_sample:
        values.update(temperature=options.temperature, top_k=options.top_k, top_p=options.top_p, min_p=options.min_p)
    return GenerationConfig(**{**values, **options.extra})


def generate_with_transformers(
    model: Any, inputs_embeds: Tensor, options: GenerationOptions, stop_ids: frozenset[int]
) -> Generator[Sampled, None, None]:
    """Yield the tokens of ``model.generate`` after the prompt [1, S, D].

    ``generate`` runs in a thread, which ends when this is closed.  Beam search has no tokens before its end: they are
    all yielded then.
    """
    if options.num_beams > 1:
        yield from (Sampled(token_id) for token_id in run_generate(model, inputs_embeds, options, stop_ids)[0].tolist())
        return

    def run(signal: StopSignal, emit: Callable[[int], object]) -> None:
        run_generate(model, inputs_embeds, options, stop_ids, signal, emit)

    with BackgroundIterator[int](run) as token_ids:
        yield from (Sampled(token_id) for token_id in token_ids)


def run_generate(
    model: Any,
    inputs_embeds: Tensor,
    options: GenerationOptions,
    stop_ids: frozenset[int],
    signal: StopSignal | None = None,
    emit: Callable[[int], object] | None = None,
) -> Any:
    """Call ``model.generate`` with ``options``; return its result.

    Args:
        model: a causal language model of transformers.
        inputs_embeds: the prompt [1, S, D].
        options: how to generate.
        stop_ids: ids that end the answer.
        signal: ends the generation from another thread.
        emit: called with each token id as it is generated.
    """
    devices = [inputs_embeds.device] if inputs_embeds.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.inference_mode(), warnings.catch_warnings():
        # The warning says that penalties count the answer's tokens only, as they do in the native engine.
        warnings.filterwarnings("ignore", message=".*with `inputs_embeds`", category=UserWarning)
        if options.seed is not None:
            torch.manual_seed(options.seed)
        return model.generate(
            inputs_embeds=inputs_embeds,
            attention_mask=torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device),
            generation_config=generation_config(options, stop_ids),
            streamer=_IdStreamer(emit) if emit else None,
            stopping_criteria=stopping_criteria(signal or StopSignal()),
        )


def stopping_criteria(signal: StopSignal) -> Any:
    """Return criteria that stop transformers' ``generate`` after the current token, once ``signal`` is set."""
    from transformers import StoppingCriteriaList

    def stopped(input_ids: Tensor, _scores: object, **_: object) -> Tensor:
        return torch.full((len(input_ids),), signal.reason is not None, device=input_ids.device)

    return StoppingCriteriaList([stopped])


class _IdStreamer:
    """A streamer for ``generate`` that passes ids on, except for the first ``put``, which is the prompt."""

    def __init__(self, emit: Callable[[int], object]) -> None:
        self._emit = emit
        self._prompt_seen = False

    def put(self, value: Tensor) -> None:
        """Add the prompt's ids, then one token at a time."""
        if self._prompt_seen:
            self._emit(int(value))
        self._prompt_seen = True

    def end(self) -> None:
        """Do nothing: the thread ends with ``generate``."""
