"""The one place where a generation begins: options are checked, the clock starts, an engine is chosen."""

import logging
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import torch

from vita_demo.answer import Answer, PromptSummary
from vita_demo.engine.device import memory_guard, peak_memory_bytes, reset_peak_memory, synchronizer
from vita_demo.engine.inputs import Inputs
from vita_demo.errors import ConfigError
from vita_demo.generation.callbacks import Answering, CallbackList, GenerationCallback, Watch, wanted_logprobs
from vita_demo.generation.events import Event, EventMaker, Sampled, Tokenizer
from vita_demo.generation.loop import generate_tokens
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.sampling import make_sampler
from vita_demo.generation.speculation import speculate_tokens
from vita_demo.generation.stopping import StopSignal
from vita_demo.generation.transformers_loop import generate_with_transformers
from vita_demo.metrics import Drafts, RunRecorder
from vita_demo.model.decode.decoder import Decoder

if TYPE_CHECKING:
    from vita_demo.engine.vita import VitaForGeneration

logger = logging.getLogger("vita_demo.engine")

_ADVICE = "lower --max_frames, --max_new_tokens or the number of pictures, or choose --dtype bfloat16"


class Generation:
    """One generation.  Making it accepts the request: t₀ is now.

    The way of a token: the loop behind ``running`` samples its id, ``EventMaker`` makes text of it, and in
    ``Answering`` the callbacks and the recorder see it.

    Args:
        model: the weights.
        options: how to generate.
        stop_ids: ids that end an answer, beside those of ``options``.
        callbacks: who watches; see ``GenerationCallback``.
        criteria: transformers' stopping criteria, called with the answer's ids so far [1, n].
        signal: ends the answer from outside.
        on_stage: learns the name of each stage when it begins.
        advice: what to do when memory runs out.

    Attributes:
        options: as given, with the log-probabilities that callbacks ask for.
        stop_ids: all ids that end the answer.
        recorder: takes the times; whoever makes the inputs tells it the stages before prefill.

    Raises:
        ConfigError: when an engine is asked for what it cannot do.
    """

    def __init__(  # noqa: PLR0913 - what one generation depends on, each with a default
        self,
        model: "VitaForGeneration",
        options: GenerationOptions,
        stop_ids: Iterable[int],
        *,
        callbacks: Sequence[GenerationCallback] = (),
        criteria: Sequence[Callable[..., object]] = (),
        signal: StopSignal | None = None,
        on_stage: Callable[[str], None] = lambda _: None,
        advice: str = _ADVICE,
    ) -> None:
        self.options = replace(options, top_logprobs=wanted_logprobs(options.top_logprobs, callbacks))
        self.stop_ids = options.all_stop_ids(stop_ids)
        self._model = model
        self._callbacks = callbacks
        self._criteria = criteria
        self._signal = signal or StopSignal()
        self._advice = advice
        # Parts of transformers take seconds to import, which are not part of the generation.
        import_engine(model, options)
        reset_peak_memory(model.device)
        self.recorder = RunRecorder(
            synchronize=synchronizer(model.device),
            peak_memory_bytes=lambda: peak_memory_bytes(model.device),
            on_stage=on_stage,
            tokens_timed=options.num_beams == 1,
            drafts=Drafts() if options.speculate else None,
        )

    def guard(self) -> AbstractContextManager[None]:
        """Turn "out of memory" inside into one line of advice; ``running`` and ``events`` do so by themselves."""
        return memory_guard(self._advice)

    @contextmanager
    def running(
        self, inputs: Inputs, options: GenerationOptions, decoder: Decoder | None = None
    ) -> Iterator[Iterator[Sampled]]:
        """Give the iterator of sampled tokens; its engine is released at the end.

        Args:
            inputs: the prompt.
            options: as ``fitted`` gives them.
            decoder: what has read the beginning of the prompt already; None takes an empty one from the pool.
        """
        with self.guard(), ExitStack() as stack:
            if options.uses_transformers:
                model = self._model.as_transformers()
                tokens = generate_with_transformers(model, inputs.embeds, options, self.stop_ids, self._signal)
            else:
                capacity = inputs.summary.tokens + options.max_new_tokens
                decoder = decoder or stack.enter_context(self._model.lend_decoder(capacity))
                tokens = self._decode(decoder, inputs, options)
            yield stack.enter_context(closing(tokens))

    def _decode(self, decoder: Decoder, inputs: Inputs, options: GenerationOptions) -> Generator[Sampled, None, None]:
        sampler = make_sampler(options, self.stop_ids, inputs.embeds.device)
        if self.recorder.drafts is None:
            return generate_tokens(decoder, inputs.embeds, sampler, options)
        return speculate_tokens(decoder, inputs.embeds, inputs.input_ids, sampler, options, self.recorder.drafts)

    def fitted(self, prompt: PromptSummary) -> GenerationOptions:
        """Return the options with no more new tokens than the context, or ``max_length``, has room for.

        Raises:
            ConfigError: when ``max_length`` is no longer than the prompt.
        """
        room, longest = prompt.free_tokens, self.options.max_length
        if longest is not None:
            room = min(room, longest - prompt.tokens)
            if room < 1:
                raise ConfigError(f"max_length {longest} must be above the prompt's {prompt.tokens:,} positions")
        count = min(self.options.max_new_tokens, room)
        return replace(self.options, max_new_tokens=count, min_new_tokens=min(self.options.min_new_tokens, count))

    def events(
        self,
        inputs: Inputs,
        tokenizer: Tokenizer,
        decoder: Decoder | None = None,
        on_end: Callable[[Answer | None], None] = lambda _: None,
    ) -> Iterator[Event]:
        """Generate after ``inputs``, with callbacks called and times recorded.

        Args:
            inputs: the prompt.
            tokenizer: makes text of ids.
            decoder: see ``running``.
            on_end: takes the answer exactly once, also of a reader that leaves early; None after an error.

        Raises:
            GenerationError: when memory runs out.
        """
        options = self.fitted(inputs.summary)
        with (
            self.answering(inputs, options, tokenizer, on_end) as answering,
            self.running(inputs, options, decoder) as sampled,
        ):
            for token in watch_criteria(sampled, self._criteria, self._signal):
                yield answering.push(token)
                if answering.reason is not None:
                    break
            yield answering.end()

    @contextmanager
    def answering(
        self,
        inputs: Inputs,
        options: GenerationOptions,
        tokenizer: Tokenizer,
        on_end: Callable[[Answer | None], None] = lambda _: None,
    ) -> Iterator[Answering]:
        """Call the callbacks' start hooks, give what makes the events of the answer's tokens, and call the end hooks.

        Args:
            inputs: the prompt.
            options: as ``fitted`` gives them.
            tokenizer: makes text of ids.
            on_end: see ``events``.
        """
        callbacks = CallbackList(self._callbacks, options.strict_callbacks, max_new_tokens=options.max_new_tokens)
        watch = Watch(callbacks, self._signal, self.recorder, inputs.summary)
        try:
            with watch.hooks(inputs.input_ids):
                yield Answering(EventMaker(tokenizer, options, self._signal, self.recorder.clock), watch)
        finally:
            on_end(watch.answer)


def watch_criteria(
    tokens: Iterator[Sampled], criteria: Sequence[Callable[..., object]], signal: StopSignal
) -> Iterator[Sampled]:
    """Pass tokens on; set ``signal`` when one of transformers' stopping criteria holds for the ids so far [1, n]."""
    if not criteria:
        yield from tokens
        return
    token_ids: list[int] = []
    for token in tokens:
        token_ids.append(token.token_id)
        answer = torch.tensor([token_ids])  # [1, n]
        if any(bool(torch.as_tensor(stop(answer, None)).all()) for stop in criteria):
            signal.request("stop")
        yield token


def import_engine(model: "VitaForGeneration", options: GenerationOptions) -> None:
    """Import what ``options`` need, which may take seconds, and check that the model can follow them.

    Raises:
        ConfigError: when it cannot.
    """
    needs = options.needs_transformers
    if needs and options.engine == "native":
        raise ConfigError(f"{needs} is not in the native engine; leave --engine out or give --engine transformers")
    options.check_quantized(model.quantize)
    if options.speculate and model.device.type == "cuda":
        raise ConfigError(
            f"--speculate {options.speculate} is slower than single steps on a GPU, which are captured; leave it out"
        )
    if needs and options.engine == "auto":
        logger.warning("%s is not in the native engine: transformers' engine generates", needs)
    if options.uses_transformers:
        model.as_transformers()
    make_sampler(options, frozenset(), model.device)
