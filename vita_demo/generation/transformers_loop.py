"""The other engine: transformers' own ``generate`` as an iterator of tokens.

It is an independent check of the native loop, and provides options that the native loop lacks.  It works with any
causal language model of transformers.
"""

import warnings
from collections.abc import Callable, Generator, Sequence
from typing import Any

import torch
from torch import Tensor

from vita_demo.errors import ConfigError
from vita_demo.generation.background import BackgroundIterator
from vita_demo.generation.events import Sampled
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import LOWEST_TEMPERATURE
from vita_demo.generation.stopping import StopSignal

# Arguments of ``generate`` that are no values of its configuration.
# With inputs_embeds the first one fails and the second one gives wrong tokens without an error (transformers 5.17).
_CALL_ARGUMENTS = ("logits_processor", "prefix_allowed_tokens_fn")
_BROKEN = {"prefill_chunk_size": "leave it out", "prompt_lookup_num_tokens": "give speculate instead"}


def generation_config(options: GenerationOptions, stop_ids: frozenset[int]) -> Any:
    """Translate options to a transformers ``GenerationConfig``.

    Raises:
        ConfigError: for options that transformers does not know or gets wrong with embedded prompts.
    """
    from transformers import GenerationConfig

    extra = {name: value for name, value in options.extra.items() if name not in _CALL_ARGUMENTS}
    for name in extra:
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
        temperature = max(options.temperature, LOWEST_TEMPERATURE)
        values.update(temperature=temperature, top_k=options.top_k, top_p=options.top_p, min_p=options.min_p)
    if options.answers_at_once:
        values["max_time"] = options.time_limit_s
    try:
        return GenerationConfig(**{**values, **extra})
    except (TypeError, ValueError) as error:
        raise ConfigError(f"transformers refuses these options: {' '.join(str(error).split())}") from error


def generate_with_transformers(
    model: Any, inputs_embeds: Tensor, options: GenerationOptions, stop_ids: frozenset[int], signal: StopSignal
) -> Generator[Sampled, None, None]:
    """Yield the tokens of ``model.generate`` after the prompt [1, S, D].

    ``generate`` runs in a thread, which ends when this is closed.  Beam search has no tokens before its end: those of
    the best beam are all yielded then; ``signal`` or the time limit ends it early, with the best beam so far.
    """
    if options.num_beams > 1:
        criteria = (signal_criterion(signal),)
        best = run_generate(model, inputs_embeds, options, stop_ids, criteria=criteria)[0]  # [n]
        yield from (Sampled(token_id) for token_id in best.tolist())
        return

    def run(ended: StopSignal, emit: Callable[[int], object]) -> None:
        criteria = (signal_criterion(ended),)
        run_generate(model, inputs_embeds, options, stop_ids, streamer=_IdStreamer(emit), criteria=criteria)

    with BackgroundIterator[int](run) as token_ids:
        yield from (Sampled(token_id) for token_id in token_ids)


def run_generate(
    model: Any,
    inputs_embeds: Tensor,
    options: GenerationOptions,
    stop_ids: frozenset[int],
    *,
    streamer: Any = None,
    criteria: Sequence[Any] = (),
) -> Any:
    """Call ``model.generate`` with ``options``; return its result.

    Args:
        model: a causal language model of transformers.
        inputs_embeds: the prompt [1, S, D].
        options: how to generate.
        stop_ids: ids that end the answer.
        streamer: gets an empty prompt, then each token id as it is generated.
        criteria: stopping criteria, called with the ids so far.
    """
    from transformers import StoppingCriteriaList

    config = generation_config(options, stop_ids)
    others = {name: value for name, value in options.extra.items() if name in _CALL_ARGUMENTS}

    devices = [inputs_embeds.device] if inputs_embeds.device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.inference_mode(), warnings.catch_warnings():
        # The warning says that penalties count the answer's tokens only, as they do in the native engine.
        warnings.filterwarnings("ignore", message=".*with `inputs_embeds`", category=UserWarning)
        if options.seed is not None:
            torch.manual_seed(options.seed)
        return model.generate(
            inputs_embeds=inputs_embeds,
            attention_mask=torch.ones(inputs_embeds.shape[:2], dtype=torch.long, device=inputs_embeds.device),
            generation_config=config,
            streamer=streamer,
            stopping_criteria=StoppingCriteriaList([one_per_row(each) for each in criteria]),
            **others,
        )


def signal_criterion(signal: StopSignal) -> Callable[..., bool]:
    """Return a criterion that stops transformers' ``generate`` after the current token, once ``signal`` is set."""
    return lambda _input_ids, _scores, **_: signal.reason is not None


def stop_string_criterion(strings: Sequence[str], decode: Callable[..., str]) -> Callable[..., Tensor]:
    """Return a criterion that ends each row of ids [rows, n] whose text holds one of ``strings``."""

    def found(input_ids: Tensor, _scores: object, **_: object) -> Tensor:
        texts = [decode(row) for row in input_ids.tolist()]
        return torch.tensor([any(string in text for string in strings) for text in texts], device=input_ids.device)

    return found


def one_per_row(criterion: Callable[..., Any]) -> Callable[..., Tensor]:
    """Let a criterion return a bool, as older ones do, where ``generate`` wants one for each row."""

    def checked(input_ids: Tensor, scores: object, **kwargs: object) -> Tensor:
        result = torch.as_tensor(criterion(input_ids, scores, **kwargs), device=input_ids.device)
        return result.expand(len(input_ids)) if result.dim() == 0 else result  # [rows]

    return checked


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
