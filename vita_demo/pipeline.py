"""From a request to an answer: the one place where media, prompt, model and generation meet."""

import time
from collections.abc import AsyncGenerator, Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Self

import torch

from vita_demo.answer import Answer, PromptSummary
from vita_demo.checkpoint.locate import EMBEDDED
from vita_demo.checkpoint.settings import Settings
from vita_demo.checkpoint.source import ModelSource
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.engine.device import memory_guard, resolve_device, resolve_dtype, synchronizer
from vita_demo.engine.features import encode_media
from vita_demo.engine.generation import Generation
from vita_demo.engine.inputs import Inputs, check_fits
from vita_demo.engine.threads import use_threads
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.generation.background import BackgroundIterator, Run, iterate_async, text_producer
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import Event, answer_of
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.metrics import RunRecorder
from vita_demo.model.loading.checkpoint import Checkpoint, Progress
from vita_demo.preprocess.media import Media, load_media
from vita_demo.prompt import build_prompt
from vita_demo.request import Request, check_request
from vita_demo.scheduling.claim import claim_slots
from vita_demo.scheduling.many import ManyAnswers
from vita_demo.scheduling.owner import ModelOwner


class Pipeline:
    """A loaded model that answers requests, one at a time.

    Attributes:
        model: the weights.
        settings: the checkpoint's small files.
        source: what was loaded, with the device, the dtype and the threads that were chosen for it.
        load_s: seconds that loading took.
    """

    def __init__(
        self,
        model: VitaForGeneration,
        settings: Settings,
        source: ModelSource | None = None,
        *,
        load_s: float = 0.0,
    ) -> None:
        self.model = model
        self.model.tokenizer = settings.tokenizer
        self.settings = settings
        self.source = source or ModelSource(str(settings.folder))
        self.load_s = load_s

    @property
    def tokenizer(self) -> VitaTokenizer:
        """The checkpoint's tokenizer."""
        return self.settings.tokenizer

    @classmethod
    def load(
        cls,
        model: str = EMBEDDED,
        *,
        device: str = "auto",
        dtype: str = "auto",
        quantize: str | None = None,
        threads: int | None = None,
    ) -> Self:
        """Load a checkpoint: a folder, a hub id, or "embedded"; see ``ModelSource`` for the other arguments.

        Raises:
            VitaDemoError: when the checkpoint, the device, the dtype, the format or the threads cannot be used.
        """
        source = ModelSource(model, device=device, dtype=dtype, quantize=quantize, threads=threads)
        return cls.of(source)

    @classmethod
    def of(cls, source: ModelSource, settings: Settings | None = None, progress: Progress | None = None) -> Self:
        """Load what ``source`` names.

        Args:
            source: which model, where and in what precision.
            settings: the small files, if they were read before.
            progress: called with the bytes read so far and in all, from several threads.

        Raises:
            VitaDemoError: see ``load``.
        """
        use_threads(source.threads)
        start = time.perf_counter()
        settings = settings or source.read()
        device = resolve_device(source.device)
        checkpoint = Checkpoint.open(settings.folder, settings.config, len(settings.tokenizer))
        dtype = resolve_dtype(source.dtype, settings.config.torch_dtype, device, checkpoint.parameters)
        with memory_guard(
            f"loading in {dtype} on {device} needs more than there is: choose --dtype bfloat16, --quantize int8 "
            "or another --device"
        ):
            model = checkpoint.load(VitaForGeneration, device, dtype, progress, source.quantize)
            model.prepare()
        synchronizer(device)()
        load_s = time.perf_counter() - start
        dtype_name, threads = str(dtype).removeprefix("torch."), torch.get_num_threads()
        used = replace(source, device=str(device), dtype=dtype_name, threads=threads)
        settings = replace(settings, config=model.config)
        return cls(model, settings, used, load_s=load_s)

    def generate(
        self,
        request: Request,
        options: GenerationOptions | None = None,
        *,
        callbacks: Sequence[GenerationCallback] = (),
        signal: StopSignal | None = None,
    ) -> Answer:
        """Answer ``request`` in one piece; see ``stream``."""
        return answer_of(self.stream(request, options, callbacks=callbacks, signal=signal))

    def stream(
        self,
        request: Request,
        options: GenerationOptions | None = None,
        *,
        callbacks: Sequence[GenerationCallback] = (),
        signal: StopSignal | None = None,
        media: Media | None = None,
        on_stage: Callable[[str], None] = lambda _: None,
    ) -> Iterator[Event]:
        """Answer ``request`` token by token: the last event says why it ended and has the whole answer.

        Media are read and encoded at once, the tokens are made as they are asked for.

        Args:
            request: what to answer.
            options: how to generate; None is the checkpoint's defaults, greedy.
            callbacks: who watches; see ``GenerationCallback``.
            signal: ends the answer from outside.
            media: the request's files, if they were read before.
            on_stage: learns the name of each stage when it begins.

        Raises:
            MediaError: when a file cannot be read.
            InputError: when the prompt does not fit into the context.
            GenerationError: when memory runs out.
        """
        check_request(request)
        options = options or GenerationOptions.resolve(self.settings.config.generation_defaults)
        generation = Generation(
            self.model, options, self.tokenizer.stop_ids, callbacks=callbacks, signal=signal, on_stage=on_stage
        )
        recorder = generation.recorder
        recorder.add_stage("load", self.load_s)
        if media is None:
            with recorder.stage("media"):
                media = load_media(request, self.settings.config)
        else:
            recorder.add_stage("media", media.read_s, since_t0=True)
        with generation.guard():
            inputs = self.prepare(request, media, recorder)
        return generation.events(inputs, self.tokenizer)

    def prepare(self, request: Request, media: Media, recorder: RunRecorder) -> Inputs:
        """Encode the media, build the prompt and splice them.

        Raises:
            InputError: when the prompt does not fit into the context, or needs another projector.
        """
        features = encode_media(self.model, request, media, recorder)
        has_sound = features.sound is not None
        prompt = build_prompt(request.question, self.tokenizer.encode, media.modality, features.count, has_sound)
        tokens = prompt.text_tokens + features.image_tokens + features.audio_tokens
        summary = PromptSummary(
            tokens=tokens,
            image_tokens=features.image_tokens,
            audio_tokens=features.audio_tokens,
            free_tokens=self.model.config.text.max_position_embeddings - tokens,
            frames=media.frames,
            notes=media.notes,
        )
        check_fits(summary)
        embeds = self.model.embed(prompt.input_ids, features.images, features.sound)  # [1, S, D]
        return Inputs(embeds, prompt.input_ids, summary)

    def own(self, slots: int | None = None, positions: int | None = None, waiting: int | None = 64) -> ModelOwner:
        """Start the thread that makes several answers at once for requests that come from anywhere.

        Args:
            slots: how many answers at once; None takes what fits, up to 8.
            positions: of each slot, prompt and answer together; None takes what fits, up to the context.
            waiting: the most requests that wait; None is no limit.

        Raises:
            ConfigError: when there is no memory for the slots.
        """
        return ModelOwner(self.model, self.tokenizer, claim_slots(self.model, slots, positions), waiting)

    def stream_many(
        self,
        requests: Iterable[Request],
        options: GenerationOptions | None = None,
        *,
        slots: int | None = None,
        signal: StopSignal | None = None,
        isolated: bool = False,
    ) -> Generator[tuple[int, Event], None, None]:
        """Answer many requests, several at once: in float32 each answer has the ids that it has alone.

        Requests are taken from ``requests`` as slots become free, so that it may be endless, and their files are read
        in other threads meanwhile.  One that fails ends with an event that has its ``error``, and the others go on.
        Closing the iterator ends all answers.

        Args:
            requests: what to answer.
            options: how to generate each of them; None is the checkpoint's defaults, greedy.
            slots: how many answers at once; None takes what fits, up to 8.
            signal: ends all answers from outside.
            isolated: let decoding processes read all files; see ``load_media``.

        Yields:
            The number of a request, from 0, and the next event of its answer.

        Raises:
            ConfigError: when there is no memory for the slots.
        """
        options = options or GenerationOptions.resolve(self.settings.config.generation_defaults)
        maker = ManyAnswers(self.model, self.tokenizer, options, claim_slots(self.model, slots), isolated=isolated)
        yield from maker.stream(requests, signal or StopSignal())

    def generate_many(
        self, requests: Iterable[Request], options: GenerationOptions | None = None, *, slots: int | None = None
    ) -> list[Answer]:
        """Answer many requests, several at once, and return the answers in order; see ``stream_many``.

        Raises:
            VitaDemoError: the first error of a request; ``stream_many`` gives the answers of the others.
        """
        answers: dict[int, Answer] = {}
        for index, event in self.stream_many(requests, options, slots=slots):
            if event.error is not None:
                raise event.error
            if event.answer is not None:
                answers[index] = event.answer
        return [answers[index] for index in sorted(answers)]

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
        return BackgroundIterator(self._texts(request, options, callbacks), timeout_s)

    def astream(
        self,
        request: Request,
        options: GenerationOptions | None = None,
        *,
        callbacks: Sequence[GenerationCallback] = (),
        timeout_s: float | None = None,
    ) -> AsyncGenerator[str, None]:
        """Do the same for ``async for``; see ``iterate``."""
        return iterate_async(self._texts(request, options, callbacks), timeout_s)

    def _texts(
        self, request: Request, options: GenerationOptions | None, callbacks: Sequence[GenerationCallback]
    ) -> Run[str]:
        return text_producer(lambda signal: self.stream(request, options, callbacks=callbacks, signal=signal))
