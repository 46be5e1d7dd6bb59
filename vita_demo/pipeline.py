"""From a request to an answer: the one place where media, prompt, model and generation meet."""

import logging
import time
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Self

from torch import Tensor

from vita_demo.checkpoint.locate import EMBEDDED
from vita_demo.checkpoint.settings import Settings
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.engine.device import (
    memory_guard,
    reset_peak_memory,
    resolve_device,
    resolve_dtype,
    synchronizer,
)
from vita_demo.engine.engine import Watch, record, warm_up, watched_events
from vita_demo.engine.features import encode_media
from vita_demo.engine.threads import use_threads
from vita_demo.errors import GenerationError, InputError
from vita_demo.generation.background import BackgroundIterator, iterate_async, pushed
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import EndEvent, TokenEvent
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import FinishReason, StopSignal
from vita_demo.metrics import RunRecorder, RunStats
from vita_demo.model.decode.compile_ahead import kernels_compiled_beside
from vita_demo.model.loading.checkpoint import Checkpoint, Progress
from vita_demo.model.quantize.replace import check_format
from vita_demo.model.vita import VitaModel
from vita_demo.preprocess.media import Media, load_media
from vita_demo.prompt import Prompt, build_prompt
from vita_demo.request import Request

logger = logging.getLogger("vita_demo.pipeline")


@dataclass(frozen=True)
class Inputs:
    """What the language model reads.

    Attributes:
        prompt: text and ids with placeholders.
        inputs_embeds: the spliced embeddings [1, S, D].
        image_tokens, audio_tokens: how many of the S positions are media.
        media: where they come from.
    """

    prompt: Prompt
    inputs_embeds: Tensor
    image_tokens: int
    audio_tokens: int
    media: Media

    @property
    def positions(self) -> int:
        """Positions of the prompt in all."""
        return self.inputs_embeds.shape[1]


@dataclass(frozen=True)
class Answer:
    """What the model answered, and how fast.

    Attributes:
        text: the answer without state token, stop token and stop string.
        state: what the model took the query for: "text", "speech", "noise", or None when it did not say.
        token_ids: all generated ids, state and stop tokens included, without the prompt.
        finish_reason: why it ended.
        prompt_tokens: positions of the prompt in all; ``image_tokens`` and ``audio_tokens`` of them are media.
        frames: video frames that were seen.
        notes: one line on each file: what of it was used.
        stats: times and rates.
    """

    text: str
    state: str | None
    token_ids: tuple[int, ...]
    finish_reason: FinishReason
    prompt_tokens: int
    image_tokens: int
    audio_tokens: int
    frames: int
    notes: tuple[str, ...]
    stats: RunStats

    @classmethod
    def of(cls, inputs: Inputs, tokens: Sequence[TokenEvent], end: EndEvent) -> Self:
        """Sum up the events of one generation."""
        if end.stats is None:
            raise GenerationError("the generation was not recorded; this is a defect of vita-demo")
        return cls(
            text="".join(event.text for event in tokens) + end.text,
            state=tokens[0].state if tokens else None,
            token_ids=tuple(event.token_id for event in tokens),
            finish_reason=end.finish_reason,
            prompt_tokens=inputs.positions,
            image_tokens=inputs.image_tokens,
            audio_tokens=inputs.audio_tokens,
            frames=inputs.media.frames,
            notes=inputs.media.notes,
            stats=end.stats,
        )


class Pipeline:
    """A loaded model that answers requests, one at a time.

    Attributes:
        model: the weights.
        settings: where they come from.
        load_s: seconds that loading took.
        compile_s: seconds that compiling took beforehand; 0 where it was not asked for.
        on_stage: learns the name of each stage of a run when it begins; does nothing until it is set.
    """

    def __init__(self, model: VitaModel, settings: Settings, load_s: float = 0.0, compile_s: float = 0.0) -> None:
        self.model = model
        self.settings = settings
        self.load_s = load_s
        self.compile_s = compile_s
        self.on_stage: Callable[[str], None] = lambda _: None

    @property
    def tokenizer(self) -> VitaTokenizer:
        """The checkpoint's tokenizer."""
        return self.settings.tokenizer

    @classmethod
    def load(  # noqa: PLR0913 - each is a flag of the command line
        cls,
        model: str | Settings = EMBEDDED,
        *,
        device: str = "auto",
        dtype: str = "auto",
        quantize: str | None = None,
        threads: int | None = None,
        compiled: bool = False,
        progress: Progress | None = None,
    ) -> Self:
        """Load a checkpoint.

        Args:
            model: a folder, a hub id, "embedded", or settings that were read before.
            device: "auto", "cpu", "cuda" or "cuda:N".
            dtype: "auto", "float32", "float16" or "bfloat16".
            quantize: "int8" or "int4" holds the language model's matrices in so few bits; None in ``dtype``.
            threads: how many compute on the CPU, in the whole process; None is torch's number, at most one a core.
            compiled: on a GPU, have torch's compiler fuse the decode step now, which takes from seconds to a minute.
            progress: called with the bytes read so far and in all, from several threads.

        Raises:
            VitaDemoError: when the checkpoint, the device, the dtype, the format or the threads cannot be used.
        """
        use_threads(threads)
        check_format(quantize)
        start = time.perf_counter()
        settings = model if isinstance(model, Settings) else Settings.read(model)
        where = resolve_device(device)
        checkpoint = Checkpoint.open(settings.folder, settings.config, len(settings.tokenizer))
        precision = resolve_dtype(dtype, settings.config.torch_dtype, where, checkpoint.parameters)
        with memory_guard(
            f"loading in {precision} on {where} needs more than there is: choose --dtype bfloat16, --quantize int8 "
            "or another --device"
        ):
            text = checkpoint.config.text
            with kernels_compiled_beside(text, where, precision, quantize):
                weights = checkpoint.load(where, precision, progress, quantize)
        synchronizer(where)()
        loaded = time.perf_counter()
        if compiled and where.type == "cuda":
            weights.compiled = True
            weights.prepare_steps()
            synchronizer(where)()
        elif compiled:
            logger.warning("--compile is left out on the CPU, where the step as it is is faster than a compiled one")
        compile_s = time.perf_counter() - loaded if weights.compiled else 0.0
        return cls(weights, replace(settings, config=weights.config), loaded - start, compile_s)

    def generate(
        self,
        request: Request,
        options: GenerationOptions | None = None,
        *,
        callbacks: Sequence[GenerationCallback] = (),
        signal: StopSignal | None = None,
    ) -> Answer:
        """Answer ``request`` in one piece; see ``stream``."""
        *_, answer = self.stream(request, options, callbacks=callbacks, signal=signal)
        if not isinstance(answer, Answer):
            raise GenerationError("the generation ended without an answer; this is a defect of vita-demo")
        return answer

    def stream(
        self,
        request: Request,
        options: GenerationOptions | None = None,
        *,
        callbacks: Sequence[GenerationCallback] = (),
        signal: StopSignal | None = None,
        media: Media | None = None,
    ) -> Iterator[TokenEvent | EndEvent | Answer]:
        """Answer ``request`` token by token: token events, an end event, and at last the whole answer.

        Args:
            request: what to answer.
            options: how to generate; None is the checkpoint's defaults, greedy.
            callbacks: who watches; see ``GenerationCallback``.
            signal: ends the answer from outside.
            media: the request's files, if they were read before.

        Raises:
            MediaError: when a file cannot be read.
            InputError: when the prompt does not fit into the context.
            GenerationError: when memory runs out.
        """
        options = options or GenerationOptions.resolve(self.settings.config.generation_defaults)
        warm_up(self.model, options)
        recorder = record(self.model, self.on_stage)
        reset_peak_memory(self.model.device)
        recorder.already("load", self.load_s)
        if self.compile_s:
            recorder.already("compile", self.compile_s)
        if media is None:
            with recorder.stage("media"):
                media = load_media(request, self.settings.config)
        else:
            recorder.already("media", media.read_s, since_t0=True)
        with memory_guard("lower --max_frames, --max_new_tokens or the number of pictures, or choose --dtype bfloat16"):
            inputs = self.prepare(request, media, recorder)
            yield from self._answer(inputs, options, Watch(recorder, callbacks, signal or StopSignal()))

    def prepare(self, request: Request, media: Media, recorder: RunRecorder) -> Inputs:
        """Encode the media, build the prompt and splice them.

        Raises:
            InputError: when the prompt does not fit into the context, or needs another projector.
        """
        model = self.model
        features = encode_media(model, request, media, recorder)
        images, sound = features.images, features.sound
        prompt = build_prompt(
            request.question, self.tokenizer.encode, media.modality, images=features.count, audio=sound is not None
        )
        image_tokens, audio_tokens = features.image_tokens, features.audio_tokens
        positions = prompt.text_tokens + image_tokens + audio_tokens
        limit = model.config.text.max_position_embeddings
        if positions >= limit:
            raise InputError(
                f"the prompt takes {positions:,} positions ({image_tokens:,} of them pictures) and the model has "
                f"{limit:,}: give fewer pictures, lower --max_frames, or ask a shorter question"
            )
        return Inputs(prompt, model.embed(prompt.input_ids, images, sound), image_tokens, audio_tokens, media)

    def _answer(
        self, inputs: Inputs, options: GenerationOptions, watch: Watch
    ) -> Iterator[TokenEvent | EndEvent | Answer]:
        room = self.model.config.text.max_position_embeddings - inputs.positions
        options = replace(options, max_new_tokens=min(options.max_new_tokens, room))
        ids, embeds = inputs.prompt.input_ids, inputs.inputs_embeds
        tokens: list[TokenEvent] = []
        end: EndEvent | None = None
        for event in watched_events(self.model, self.tokenizer, embeds, ids, options, watch):
            if isinstance(event, TokenEvent):
                tokens.append(event)
            else:
                end = event
            yield event
        if end is not None:
            yield Answer.of(inputs, tokens, end)

    def astream(
        self,
        request: Request,
        options: GenerationOptions | None = None,
        *,
        callbacks: Sequence[GenerationCallback] = (),
        timeout_s: float | None = None,
    ) -> AsyncGenerator[str, None]:
        """Yield the answer's text for ``async for``, made in a thread that ends when the loop is left.

        Raises:
            GenerationError: also when no text comes for ``timeout_s``.
        """
        return iterate_async(pushed(self._texts(request, options, callbacks)), timeout_s)

    def iterate(
        self,
        request: Request,
        options: GenerationOptions | None = None,
        *,
        callbacks: Sequence[GenerationCallback] = (),
        timeout_s: float | None = None,
    ) -> BackgroundIterator[str]:
        """Yield the answer's text from a thread, so that generation goes on while the reader is busy.

        Raises:
            GenerationError: also when no text comes for ``timeout_s``.
        """
        return BackgroundIterator(pushed(self._texts(request, options, callbacks)), timeout_s)

    def _texts(
        self, request: Request, options: GenerationOptions | None, callbacks: Sequence[GenerationCallback]
    ) -> Callable[[StopSignal], Iterator[str]]:
        def texts(signal: StopSignal) -> Iterator[str]:
            for event in self.stream(request, options, callbacks=callbacks, signal=signal):
                if not isinstance(event, Answer) and event.text:
                    yield event.text

        return texts
