"""Chooses the engine that makes the tokens, and turns its tokens into watched events."""

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from torch import Tensor

from vita_demo.engine.device import peak_memory_bytes, synchronizer
from vita_demo.errors import ConfigError
from vita_demo.generation.callbacks import CallbackList, GenerationCallback, watch_events
from vita_demo.generation.events import EndEvent, Sampled, TokenEvent, Tokenizer, stream_events
from vita_demo.generation.loop import generate_tokens
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import make_sampler
from vita_demo.generation.speculation import VerifyingDecoder, speculate_tokens
from vita_demo.generation.stopping import StopSignal
from vita_demo.metrics import Drafts, RunRecorder
from vita_demo.model.vita import VitaModel

logger = logging.getLogger("vita_demo.engine.engine")


@dataclass
class Watch:
    """Who watches one generation: callbacks, a signal to end it, and a recorder of times."""

    recorder: RunRecorder
    callbacks: Sequence[GenerationCallback] = ()
    signal: StopSignal = field(default_factory=StopSignal)


def record(model: VitaModel, on_stage: Callable[[str], None] = lambda _: None) -> RunRecorder:
    """Begin the record of a run on the model's device; t₀ is now."""
    before = dict(model.language_model.prepared_s)

    def prepared_s() -> dict[str, float]:
        return {name: now - before[name] for name, now in model.language_model.prepared_s.items() if now > before[name]}

    return RunRecorder(
        synchronize=synchronizer(model.device),
        peak_memory_bytes=lambda: peak_memory_bytes(model.device),
        on_stage=on_stage,
        prepared_s=prepared_s,
    )


def warm_up(model: VitaModel, options: GenerationOptions) -> None:
    """Import what ``options`` need, seconds for parts of transformers, so that it does not count as generation.

    Raises:
        ConfigError: when the native engine is asked for what it has not, or the other one with quantized weights.
    """
    needs = options.needs_transformers
    if needs and options.engine == "native":
        raise ConfigError(f"{needs} is not in the native engine; leave --engine out or give --engine transformers")
    options.check_quantized(model.quantize)
    if needs and options.engine == "auto":
        logger.warning("%s is not in the native engine: transformers' engine generates", needs)
    if options.uses_transformers:
        model.as_transformers()
    make_sampler(options, frozenset(), model.device)


def make_tokens(
    model: VitaModel,
    inputs_embeds: Tensor,
    options: GenerationOptions,
    stop_ids: frozenset[int],
    input_ids: Sequence[int] = (),
    drafts: Drafts | None = None,
) -> Iterator[Sampled]:
    """Make what yields the tokens after the prompt [1, S, D]; nothing is computed before the first is asked for.

    Speculation guesses from ``input_ids``, the prompt's, and counts in ``drafts``.
    """
    if options.uses_transformers:
        from vita_demo.generation.transformers_loop import generate_with_transformers

        return generate_with_transformers(model.as_transformers(), inputs_embeds, options, stop_ids)

    def lent() -> Iterator[Sampled]:
        with model.lend_decoder(inputs_embeds.shape[1] + options.max_new_tokens) as decoder:
            yield from _native_tokens(decoder, inputs_embeds, options, stop_ids, input_ids, drafts)

    return lent()


def _native_tokens(
    decoder: VerifyingDecoder,
    inputs_embeds: Tensor,
    options: GenerationOptions,
    stop_ids: frozenset[int],
    input_ids: Sequence[int],
    drafts: Drafts | None,
) -> Iterator[Sampled]:
    sampler = make_sampler(options, stop_ids, inputs_embeds.device)
    if options.speculate:
        return speculate_tokens(decoder, inputs_embeds, input_ids, sampler, options, drafts or Drafts())
    return generate_tokens(decoder, inputs_embeds, sampler, options)


def watched_events(
    model: VitaModel,
    tokenizer: Tokenizer,
    inputs_embeds: Tensor,
    input_ids: Sequence[int],
    options: GenerationOptions,
    watch: Watch,
) -> Iterator[TokenEvent | EndEvent]:
    """Generate after the prompt [1, S, D], with callbacks called and times recorded."""
    stop_ids = frozenset((*tokenizer.stop_ids, *options.stop_token_ids))
    wanted = [top for callback in watch.callbacks if (top := getattr(callback, "top_logprobs", None)) is not None]
    if wanted:
        options = replace(options, top_logprobs=max(*wanted, options.top_logprobs or 0))
    watch.recorder.tokens_timed = options.num_beams == 1
    watch.recorder.drafts = Drafts() if options.speculate else None
    tokens = make_tokens(model, inputs_embeds, options, stop_ids, input_ids, watch.recorder.drafts)
    return _watch_tokens(tokens, tokenizer, input_ids, inputs_embeds.shape[1], options, watch)


def continued_events(
    decoder: VerifyingDecoder,
    tokenizer: Tokenizer,
    inputs_embeds: Tensor,
    input_ids: Sequence[int],
    options: GenerationOptions,
    watch: Watch,
) -> Iterator[TokenEvent | EndEvent]:
    """Generate with the native engine after what ``decoder`` has read and the new positions [1, S, D].

    The positions that the statistics count are the new ones.
    """
    stop_ids = frozenset((*tokenizer.stop_ids, *options.stop_token_ids))
    watch.recorder.drafts = Drafts() if options.speculate else None
    tokens = _native_tokens(decoder, inputs_embeds, options, stop_ids, input_ids, watch.recorder.drafts)
    return _watch_tokens(tokens, tokenizer, input_ids, inputs_embeds.shape[1], options, watch)


def _watch_tokens(
    tokens: Iterator[Sampled],
    tokenizer: Tokenizer,
    input_ids: Sequence[int],
    positions: int,
    options: GenerationOptions,
    watch: Watch,
) -> Iterator[TokenEvent | EndEvent]:
    callbacks = CallbackList(watch.callbacks, options.strict_callbacks, max_new_tokens=options.max_new_tokens)
    events = stream_events(tokens, tokenizer, options, watch.signal, watch.recorder.clock)
    return watch_events(events, callbacks, watch.signal, watch.recorder, input_ids, positions)
