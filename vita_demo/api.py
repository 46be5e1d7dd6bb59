"""The functions of the callbacks guide, and helpers that make their inputs from files.

model, tokenizer = load_pretrained("VITA-MLLM/VITA-1.5")
inputs = prepare_inputs(model, tokenizer, "Describe this image.", image_path="photo.jpg")
generate_with_callbacks(model, tokenizer, **inputs, callbacks=[ProgressCallback(128)], max_new_tokens=128)
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from vita_demo.checkpoint.locate import EMBEDDED
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.engine.generate import stream_generation
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.errors import GenerationError, InputError
from vita_demo.generation.background import BackgroundIterator, text_producer
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import answer_of
from vita_demo.generation.text_stream import TextStream
from vita_demo.pipeline import Pipeline
from vita_demo.preprocess.media import load_media
from vita_demo.prompt import build_prompt
from vita_demo.request import Request


def load_pretrained(
    model_path: str = EMBEDDED, device: str = "auto", dtype: str = "auto", quantize: str | None = None
) -> tuple[VitaForGeneration, VitaTokenizer]:
    """Load a model and its tokenizer; see ``Pipeline.load``."""
    pipeline = Pipeline.load(model_path, device=device, dtype=dtype, quantize=quantize)
    return pipeline.model, pipeline.tokenizer


def prepare_inputs(
    model: VitaForGeneration,
    tokenizer: VitaTokenizer,
    question: str = "",
    *,
    image_path: str | Path | Sequence[str | Path] = (),
    video_path: str | Path | None = None,
    audio_path: str | Path | None = None,
) -> dict[str, Any]:
    """Read files and build ``input_ids``, ``images`` and ``audios`` as ``generate`` takes them.

    Returns:
        ``input_ids`` int64 [1, L] with -200 and -500; ``images`` whitened tiles [N, 3, S, S] or None; ``audios`` the
        original's dict ("audios" [1, T, mel bins], "lengths", "lengths_for_llm") or None.

    Raises:
        InputError: when a path does not exist or there is nothing to ask.
        MediaError: when a file cannot be read.
    """
    images = [image_path] if isinstance(image_path, str | Path) else image_path
    request = Request(
        question=question,
        image_paths=tuple(Path(path) for path in images),
        video_path=None if video_path is None else Path(video_path),
        audio_path=None if audio_path is None else Path(audio_path),
    )
    media = load_media(request, model.config)
    tiles = 0 if media.tiles is None else -(-len(media.tiles) // model.config.tiles_per_feature)
    prompt = build_prompt(question, tokenizer.encode, media.modality, tiles, media.fbank is not None)
    pixel_values = audios = None
    if media.tiles is not None:
        pixel_values = model.vision_encoder.normalize(torch.from_numpy(media.tiles).to(model.device))
    if media.fbank is not None:
        frames = len(media.fbank)
        audios = {
            "audios": torch.from_numpy(media.fbank)[None],
            "lengths": torch.tensor([frames]),
            "lengths_for_llm": torch.tensor([model.config.audio.positions(frames)]),
        }
    return {"input_ids": torch.tensor([prompt.input_ids]), "images": pixel_values, "audios": audios}


def generate_with_streaming(
    model: VitaForGeneration, tokenizer: Any, input_ids: Any, images: Any = None, audios: Any = None, **arguments: Any
) -> Tensor:
    """Print the answer to stdout as it is made; return its ids [1, n]."""
    printer = TextStream(tokenizer)
    output_ids = []
    for event in stream_generation(model, tokenizer, (input_ids, images, audios), arguments):
        printer.on_finalized_text(event.text, stream_end=event.finish_reason is not None)
        if event.token_id is not None:
            output_ids.append(event.token_id)
    return torch.tensor([output_ids], dtype=torch.long)  # [1, n]


def generate_with_callbacks(
    model: VitaForGeneration,
    tokenizer: Any,
    input_ids: Any,
    images: Any = None,
    audios: Any = None,
    callbacks: Sequence[GenerationCallback] = (),
    max_new_tokens: int = 1024,
    **arguments: Any,
) -> Tensor:
    """Generate with callbacks called for the start, each token and the end; return the ids [1, n]."""
    arguments["max_new_tokens"] = max_new_tokens
    events = stream_generation(model, tokenizer, (input_ids, images, audios), arguments, callbacks)
    return torch.tensor([answer_of(events).token_ids], dtype=torch.long)  # [1, n]


def generate_with_iterator_streamer(
    model: VitaForGeneration,
    tokenizer: Any,
    input_ids: Any,
    images: Any = None,
    audios: Any = None,
    timeout_s: float | None = None,
    **arguments: Any,
) -> BackgroundIterator[str]:
    """Iterate over the answer's text, which a thread makes; closing the iterator ends the generation.

    Raises:
        GenerationError: from ``next``, when no text comes for ``timeout_s``.
    """
    media = (input_ids, images, audios)
    stream = text_producer(lambda signal: stream_generation(model, tokenizer, media, arguments, signal=signal))
    return BackgroundIterator(stream, timeout_s)


class VITAModelWithCallbacks:
    """Wraps a model and its tokenizer; every generation calls the callbacks that were added.

    Attributes:
        callbacks: in the order in which they are called.
    """

    def __init__(self, model: VitaForGeneration, tokenizer: Any) -> None:
        self.model = model
        self.tokenizer = tokenizer
        self.callbacks: list[GenerationCallback] = []
        self._generating = False

    def add_callback(self, callback: GenerationCallback | type[GenerationCallback]) -> None:
        """Add a callback, or an instance of a callback class.

        Raises:
            GenerationError: while a generation runs.
        """
        self._refuse_while_generating("add")
        self.callbacks.append(callback() if isinstance(callback, type) else callback)

    def remove_callback(self, callback: GenerationCallback | type[GenerationCallback]) -> None:
        """Remove a callback, or all of a class.

        Raises:
            InputError: when it is not there.
            GenerationError: while a generation runs.
        """
        self._refuse_while_generating("remove")
        kept = [
            each
            for each in self.callbacks
            if not (isinstance(each, callback) if isinstance(callback, type) else each is callback)
        ]
        if len(kept) == len(self.callbacks):
            name = callback.__name__ if isinstance(callback, type) else type(callback).__name__
            raise InputError(f"callback {name} is not there to be removed; add_callback adds one")
        self.callbacks = kept

    def generate(self, input_ids: Any, images: Any = None, audios: Any = None, **arguments: Any) -> Tensor:
        """Generate with all callbacks; see ``generate_with_callbacks``.

        Raises:
            GenerationError: while another generation of this wrapper runs.
        """
        self._refuse_while_generating("generate")
        self._generating = True
        try:
            return generate_with_callbacks(
                self.model, self.tokenizer, input_ids, images, audios, self.callbacks, **arguments
            )
        finally:
            self._generating = False

    def _refuse_while_generating(self, what: str) -> None:
        if self._generating:
            raise GenerationError(f"cannot {what} while a generation runs; wait for its end")
