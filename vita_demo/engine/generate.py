"""``model.generate`` as users of the original model call it, with its arguments and transformers' streamers."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vita_demo.answer import PromptSummary
from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.engine.any_tokenizer import adapt_tokenizer
from vita_demo.engine.generation import Generation
from vita_demo.engine.inputs import Inputs, check_fits
from vita_demo.errors import ConfigError, InputError
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.generation.events import Event, Tokenizer
from vita_demo.generation.options import GenerationOptions
from vita_demo.generation.stopping import StopSignal
from vita_demo.generation.transformers_loop import run_generate, stop_string_criterion

if TYPE_CHECKING:
    from vita_demo.engine.vita import VitaForGeneration


@dataclass(frozen=True)
class GenerateOutput:
    """What ``return_dict_in_generate`` gives.

    Attributes:
        sequences: the generated ids [1, n], without the prompt.
    """

    sequences: Tensor


def embed_inputs(
    model: "VitaForGeneration",
    input_ids: Tensor | Sequence[int],
    images: Any = None,
    audios: Any = None,
    cached_tokens: int = 0,
) -> Inputs:
    """Encode and splice what the original model's ``generate`` takes.

    Args:
        model: the model.
        input_ids: [1, L], [L] or a list, with -200 and -500 where pictures and sound are.
        images: whitened tiles [N, 3, S, S], or a list of such; ignored without a placeholder, as there.
        audios: a filter bank [T, mel bins] or [1, T, mel bins], or the original's dict with "audios" and "lengths";
            ignored without a placeholder.
        cached_tokens: how many positions before these a cache holds.

    Raises:
        InputError: when placeholders and media do not match, input_ids are a batch, or the context is too short.
    """
    ids = flat_ids(input_ids)
    features = sound = None
    if IMAGE_TOKEN_ID in ids and images is not None:
        pixel_values = torch.cat(list(images)) if isinstance(images, list | tuple) else images
        features = model.encode_images(pixel_values)  # [G, P, D]
    if AUDIO_TOKEN_ID in ids and audios is not None:
        sound = model.encode_audio(_filter_bank(audios))  # [P, D]
    embeds = model.embed(ids, features, sound)  # [1, S, D]
    tokens = cached_tokens + embeds.shape[1]
    summary = PromptSummary(
        tokens=tokens,
        image_tokens=0 if features is None else features.shape[0] * features.shape[1],
        audio_tokens=0 if sound is None else len(sound),
        cached_tokens=cached_tokens,
        free_tokens=model.config.text.max_position_embeddings - tokens,
    )
    check_fits(summary)
    return Inputs(embeds, ids, summary)


def _filter_bank(audios: Any) -> Tensor:
    length = None
    if isinstance(audios, dict):
        audios, length = audios["audios"], audios.get("lengths")
    fbank = torch.from_numpy(audios) if isinstance(audios, np.ndarray) else audios
    fbank = fbank[0] if fbank.dim() == 3 else fbank  # [T, mel bins]
    return fbank if length is None else fbank[: int(torch.as_tensor(length).flatten()[0])].float()


def flat_ids(input_ids: Tensor | Sequence[int]) -> list[int]:
    """Return the ids of one prompt, given as [1, L], [L] or a list.

    Raises:
        InputError: when they are a batch, or no ids.
    """
    ids = input_ids.tolist() if isinstance(input_ids, Tensor) else input_ids
    if isinstance(ids, list | tuple) and len(ids) > 0 and isinstance(ids[0], list | tuple):
        if len(ids) > 1:
            raise InputError(f"input_ids are a batch of {len(ids)}; one answer is made at a time")
        ids = ids[0]
    if not isinstance(ids, list | tuple) or not ids or not all(isinstance(token_id, int) for token_id in ids):
        raise InputError(
            f"input_ids {str(ids)[:40]!r} are no token ids; prepare_inputs(model, tokenizer, …) makes them"
        )
    return list(ids)


def generate(
    model: "VitaForGeneration",
    input_ids: Tensor | Sequence[int],
    images: Any = None,
    audios: Any = None,
    *,
    streamer: Any = None,
    **arguments: Any,
) -> Any:
    """Generate token ids after a prompt with pictures and sound.

    Args:
        model: the model.
        input_ids: see ``embed_inputs``.
        images: see ``embed_inputs``.
        audios: see ``embed_inputs``.
        streamer: anything with ``put`` and ``end``; it gets an empty prompt, then one id at a time.
        arguments: ``stopping_criteria``, ``tokenizer`` (whose text ``stop_strings`` are looked for in; the model's own
            by default), ``return_dict_in_generate``, ``output_scores``, ``generation_config`` and the options of
            transformers' ``generate``; those that the native engine has not go to transformers' by themselves.

    Returns:
        The generated ids [1, n] without the prompt, or [num_return_sequences, n]; with ``return_dict_in_generate`` an
        object that has them as ``sequences``, and with ``output_scores`` that of transformers.

    Raises:
        ConfigError: for options that contradict each other or that neither engine knows.
    """
    with _errors_to(streamer):
        as_dict = arguments.pop("return_dict_in_generate", False)
        call = _Call.of(model, arguments.pop("tokenizer", None), arguments)
        if streamer is not None and call.options.num_beams > 1:
            raise ConfigError(
                f"num_beams {call.options.num_beams} cannot stream: beams are chosen at the end; leave one out"
            )
        if call.options.answers_at_once:
            return _generate_at_once(model, call, (input_ids, images, audios), streamer, as_dict)
        sequences = _collect(call.events(model, (input_ids, images, audios)), streamer).to(model.device)
        return GenerateOutput(sequences) if as_dict else sequences


def stream_generation(
    model: "VitaForGeneration",
    tokenizer: Any,
    media: tuple[Any, Any, Any],
    arguments: Mapping[str, Any],
    callbacks: Sequence[GenerationCallback] = (),
    signal: StopSignal | None = None,
) -> Iterator[Event]:
    """Generate for (input_ids, images, audios) with the keyword ``arguments`` of ``generate``; yield the events."""
    return _Call.of(model, tokenizer, arguments).events(model, media, callbacks, signal)


@dataclass(frozen=True)
class _Call:
    """The keyword arguments of one ``generate``, sorted."""

    options: GenerationOptions
    tokenizer: Tokenizer
    criteria: tuple[Any, ...]

    @classmethod
    def of(cls, model: "VitaForGeneration", tokenizer: Any, arguments: Mapping[str, Any]) -> "_Call":
        arguments = dict(arguments)
        criteria = tuple(arguments.pop("stopping_criteria", None) or ())
        tokenizer = model.tokenizer if tokenizer is None else tokenizer
        if arguments.get("stop_strings") and tokenizer is None:
            raise ConfigError(f"stop_strings {arguments['stop_strings']!r} need the tokenizer; give tokenizer=… too")
        options = GenerationOptions.from_generate(model.config.generation_defaults, arguments)
        options = replace(options, stop_token_ids=(*options.stop_token_ids, *model.config.stop_token_ids))
        return cls(options, adapt_tokenizer(tokenizer), criteria)

    def events(
        self,
        model: "VitaForGeneration",
        media: tuple[Any, Any, Any],
        callbacks: Sequence[GenerationCallback] = (),
        signal: StopSignal | None = None,
    ) -> Iterator[Event]:
        generation = Generation(
            model, self.options, self.tokenizer.stop_ids, callbacks=callbacks, criteria=self.criteria, signal=signal
        )
        generation.recorder.begin_model()
        with generation.guard():
            inputs = embed_inputs(model, *media)
        return generation.events(inputs, self.tokenizer)


def _collect(events: Iterator[Event], streamer: Any) -> Tensor:
    """Read the events to their end; return the ids [1, n]."""
    ids: list[int] = []
    if streamer is not None:
        streamer.put(torch.empty(1, 0, dtype=torch.long))
    for event in events:
        if event.token_id is not None:
            ids.append(event.token_id)
            if streamer is not None:
                streamer.put(torch.tensor([event.token_id]))
    if streamer is not None:
        streamer.end()
    return torch.tensor([ids], dtype=torch.long)  # [1, n]


def _generate_at_once(
    model: "VitaForGeneration", call: _Call, media: tuple[Any, Any, Any], streamer: Any, as_dict: bool
) -> Any:
    """Let transformers' engine make what is no stream of tokens: scores, beams, several sequences."""
    generation = Generation(model, call.options, call.tokenizer.stop_ids)
    with generation.guard():
        inputs = embed_inputs(model, *media)
        options = generation.fitted(inputs.summary)
        scores = any(name.startswith("output_") for name in options.extra)
        options = replace(options, extra={**options.extra, "return_dict_in_generate": as_dict or scores})
        criteria = (*call.criteria, stop_string_criterion(options.stop_strings, call.tokenizer.decode))
        return run_generate(
            model.as_transformers(), inputs.embeds, options, generation.stop_ids, streamer=streamer, criteria=criteria
        )


@contextmanager
def _errors_to(streamer: Any) -> Iterator[None]:
    """Tell a streamer that can be told, so that its reader in another thread does not wait for ever."""
    try:
        yield
    except BaseException as error:
        if hasattr(streamer, "fail"):
            streamer.fail(error)
        raise
