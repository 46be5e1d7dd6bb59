"""``model.generate`` as users of the original model call it, with its arguments and transformers' streamers."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from vita_demo.answer import PromptSummary
from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.engine.generation import Generation
from vita_demo.engine.inputs import Inputs, check_fits
from vita_demo.errors import ConfigError, InputError
from vita_demo.generation.options import GenerationOptions

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
    model: "VitaForGeneration", input_ids: Tensor | Sequence[int], images: Any = None, audios: Any = None
) -> Inputs:
    """Encode and splice what the original model's ``generate`` takes.

    Args:
        model: the model.
        input_ids: [1, L], [L] or a list, with -200 and -500 where pictures and sound are.
        images: whitened tiles [N, 3, S, S], or a list of such; ignored without a placeholder, as there.
        audios: a filter bank [T, mel bins] or [1, T, mel bins], or the original's dict with "audios" and "lengths";
            ignored without a placeholder.

    Raises:
        InputError: when placeholders and media do not match, input_ids are a batch, or the context is too short.
    """
    ids = input_ids.tolist() if isinstance(input_ids, Tensor) else list(input_ids)
    if ids and isinstance(ids[0], list):
        if len(ids) > 1:
            raise InputError(f"input_ids are a batch of {len(ids)}; generate answers one at a time")
        ids = ids[0]
    features = sound = None
    if IMAGE_TOKEN_ID in ids and images is not None:
        pixel_values = torch.cat(list(images)) if isinstance(images, list | tuple) else images
        features = model.encode_images(pixel_values)  # [G, P, D]
    if AUDIO_TOKEN_ID in ids and audios is not None:
        sound = model.encode_audio(_filter_bank(audios))  # [P, D]
    embeds = model.embed(ids, features, sound)  # [1, S, D]
    tokens = embeds.shape[1]
    summary = PromptSummary(
        tokens=tokens,
        image_tokens=0 if features is None else features.shape[0] * features.shape[1],
        audio_tokens=0 if sound is None else len(sound),
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
        arguments: ``stopping_criteria``, ``return_dict_in_generate``, ``output_scores`` and the options of
            transformers' ``generate``; those that the native engine has not go to transformers' by themselves.

    Returns:
        The generated ids [1, n] without the prompt; with ``return_dict_in_generate`` an object that has them as
        ``sequences``, and with ``output_scores`` that of transformers.

    Raises:
        ConfigError: for options that contradict each other or that neither engine knows.
    """
    with _errors_to(streamer):
        return _generate(model, (input_ids, images, audios), streamer, arguments)


def _generate(model: "VitaForGeneration", media: tuple[Any, Any, Any], streamer: Any, arguments: dict[str, Any]) -> Any:
    criteria = arguments.pop("stopping_criteria", None) or []
    as_dict = arguments.pop("return_dict_in_generate", False)
    for name in ("output_scores", "output_logits"):
        if not arguments.get(name, False):
            arguments.pop(name, None)
    options = GenerationOptions.from_generate(model.config.generation_defaults, arguments)
    if streamer is not None and options.num_beams > 1:
        raise ConfigError(f"num_beams {options.num_beams} cannot stream: beams are chosen at the end; leave one out")
    generation = Generation(model, options, model.config.stop_token_ids)
    with generation.guard():
        inputs = embed_inputs(model, *media)
    options = generation.fitted(inputs)
    if any(name.startswith("output_") for name in options.extra):
        from vita_demo.generation.transformers_loop import run_generate

        options = replace(options, extra={**options.extra, "return_dict_in_generate": True})
        with generation.guard():
            return run_generate(model.as_transformers(), inputs.embeds, options, generation.stop_ids)
    with generation.running(inputs, options) as tokens:
        answer = _collect((token.token_id for token in tokens), generation.stop_ids, criteria, streamer)
    sequences = torch.tensor([answer], dtype=torch.long, device=model.device)  # [1, n]
    return GenerateOutput(sequences) if as_dict else sequences


def _collect(token_ids: Iterator[int], stop_ids: frozenset[int], criteria: Sequence[Any], streamer: Any) -> list[int]:
    ids: list[int] = []
    if streamer is not None:
        streamer.put(torch.empty(1, 0, dtype=torch.long))
    for token_id in token_ids:
        ids.append(token_id)
        if streamer is not None:
            streamer.put(torch.tensor([token_id]))
        answer = torch.tensor([ids]) if criteria else None
        if token_id in stop_ids or any(bool(torch.as_tensor(stop(answer, None)).all()) for stop in criteria):
            break
    if streamer is not None:
        streamer.end()
    return ids


@contextmanager
def _errors_to(streamer: Any) -> Iterator[None]:
    """Tell a streamer that can be told, so that its reader in another thread does not wait for ever."""
    try:
        yield
    except BaseException as error:
        if hasattr(streamer, "fail"):
            streamer.fail(error)
        raise
