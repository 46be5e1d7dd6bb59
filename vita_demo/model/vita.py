"""The whole model: encoders, projector and decoder, and how their outputs become one sequence."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import groupby
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.media_markers import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.errors import ConfigError, InputError
from vita_demo.model.audio_encoder import AudioEncoder
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.ops.upload import upload
from vita_demo.model.vision_encoder import VisionEncoder

# A decoder that is kept for the next generation has room for a multiple of so many positions.
_CAPACITY_STEP = 1024


class VitaModel(nn.Module):
    """VITA-1.5 for one conversation at a time, batch size 1.

    Attributes:
        config: its settings.
        quantize: the format of the language model's matrices, "int8" or "int4"; None where they are not quantized.
        compiled: decoders that are made from now on have their steps fused by torch's compiler.
    """

    def __init__(self, config: VitaConfig) -> None:
        super().__init__()
        self.config = config
        width = config.text.hidden_size
        self.vision_encoder = VisionEncoder(config.vision)
        self.projector = nn.Sequential(nn.Linear(config.mm_hidden_size, width), nn.GELU(), nn.Linear(width, width))
        self.audio_encoder = AudioEncoder(config.audio)
        self.language_model = LanguageModel(config.text)
        self.compiled = False
        self._spare: list[Decoder] = []
        self.quantize: str | None = None
        # In a tuple, so that torch does not take it for a submodule.
        self._transformers: tuple[Any] | None = None

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return self.language_model.norm.weight.device

    @property
    def dtype(self) -> torch.dtype:
        """The weights' dtype."""
        return self.language_model.norm.weight.dtype

    @torch.inference_mode()
    def encode_tiles(self, tiles: NDArray[np.uint8]) -> Tensor:
        """Encode 8-bit tiles [N, S, S, 3]; see ``encode_images``."""
        return self.encode_images(self.vision_encoder.normalize(upload(torch.from_numpy(tiles), self.device)))

    @torch.inference_mode()
    def encode_images(self, pixel_values: Tensor) -> Tensor:
        """Encode whitened tiles [N, 3, S, S] to image features [G, P, D] in the language model's width.

        G is N, or ⌈N / 5⌉ with a frameCat projector, which sees five tiles side by side; a last group that is not
        full is filled with tiles of the mean colour.
        """
        group = self.config.tiles_per_feature
        missing = -len(pixel_values) % group
        if missing:
            filler = pixel_values.new_zeros(missing, *pixel_values.shape[1:])
            pixel_values = torch.cat([pixel_values, filler])  # [G·group, 3, S, S]
        features = self.vision_encoder(pixel_values.to(self.device, self.dtype))  # [G·group, P, F]
        patches, width = features.shape[1:]
        joined = features.view(-1, group, patches, width).transpose(1, 2)  # [G, P, group, F]
        projected: Tensor = self.projector(joined.reshape(-1, patches, group * width))  # [G, P, D]
        return projected

    @torch.inference_mode()
    def encode_audio(self, fbank: NDArray[np.float32] | Tensor) -> Tensor:
        """Encode a clip's filter bank [T, mel bins] to audio features [P, D] in the language model's width."""
        encoded: Tensor = self.audio_encoder(upload(torch.as_tensor(fbank), self.device)[None])  # [1, P, D]
        return encoded[0]  # [P, D]

    @torch.inference_mode()
    def embed(
        self, input_ids: Sequence[int], image_features: Tensor | None = None, audio_features: Tensor | None = None
    ) -> Tensor:
        """Splice features into the prompt: each image placeholder takes a row of [G, P, D], the audio one [P, D].

        Returns:
            inputs_embeds [1, S, D].

        Raises:
            InputError: when placeholders and features do not match in number.
        """
        images = [] if image_features is None else list(image_features)
        sounds = [] if audio_features is None else [audio_features]
        for name, token_id, features in (("image", IMAGE_TOKEN_ID, images), ("audio", AUDIO_TOKEN_ID, sounds)):
            count = list(input_ids).count(token_id)
            if count != len(features):
                raise InputError(f"input_ids hold {count} {name} placeholders ({token_id}) for {len(features)} {name}s")
        pieces = []
        for is_media, ids in groupby(input_ids, key=lambda token_id: token_id < 0):
            if is_media:
                pieces += [images.pop(0) if token_id == IMAGE_TOKEN_ID else sounds.pop(0) for token_id in ids]
            else:
                pieces.append(self.language_model.embed_tokens(upload(torch.tensor(list(ids)), self.device)))
        return torch.cat(pieces)[None]  # [1, S, D]

    def generate(
        self,
        input_ids: Tensor | Sequence[int],
        images: Any = None,
        audios: Any = None,
        **arguments: Any,
    ) -> Any:
        """Generate as the original model's ``generate`` does; see ``vita_demo.engine.generate.generate``."""
        from vita_demo.engine.generate import generate

        return generate(self, input_ids, images, audios, **arguments)

    def as_transformers(self) -> Any:
        """Return the language model as transformers' ``Qwen2ForCausalLM``, made once, with the same tensors.

        Raises:
            ConfigError: when the weights are quantized, so that there are no tensors to share.
        """
        if self.quantize is not None:
            raise ConfigError(
                f"transformers' engine runs no {self.quantize} weights; load the model without --quantize"
            )
        if self._transformers is None:
            from vita_demo.model.loading.transformers_bridge import to_transformers

            self._transformers = (to_transformers(self.language_model),)
        return self._transformers[0]

    def decoder(self, capacity: int, previous: Decoder | None = None) -> Decoder:
        """Begin a generation of at most ``capacity`` positions, prompt and answer together.

        With a ``previous`` decoder the generation continues after the positions that it holds: by itself, or with a
        larger copy of its cache where that is too small.
        """
        if previous is not None and previous.cache.capacity >= capacity:
            return previous
        with torch.inference_mode():
            if previous is None:
                cache = self.language_model.allocate_cache(capacity)
            else:
                cache = self.language_model.grow_cache(previous.cache, capacity)
            return Decoder(self.language_model, cache, compiled=self.compiled)

    @contextmanager
    def lend_decoder(self, capacity: int) -> Iterator[Decoder]:
        """Lend an empty decoder for one generation; see ``decoder``.

        One that had to prepare its steps is kept for the next generation, as its preparations go with its cache.
        """
        decoder = self._spare.pop() if self._spare else None
        if decoder is None or decoder.cache.capacity < capacity:
            # Dropped first, so that two caches are never held.
            decoder = None
            decoder = self.decoder(self._room(capacity))
        decoder.cache.truncate(0)
        try:
            yield decoder
        finally:
            if decoder.prepares and not self._spare:
                self._spare.append(decoder)

    @torch.inference_mode()
    def prepare_steps(self) -> None:
        """Take one step for nothing, so that the first generation need not compile or capture it."""
        nothing = torch.zeros(1, dtype=torch.long, device=self.device)
        with self.lend_decoder(2) as decoder:
            decoder.prefill(self.language_model.embed_tokens(nothing)[None])
            decoder.step(nothing)

    def _room(self, capacity: int) -> int:
        """Round up where a decoder is kept, so that it also serves a generation that is a little longer."""
        if self.device.type == "cpu" and not self.compiled:
            return capacity
        limit = max(capacity, self.config.text.max_position_embeddings)
        return min(-(-capacity // _CAPACITY_STEP) * _CAPACITY_STEP, limit)
