"""The whole model: encoders, projector and language model, and how their outputs become one sequence."""

from collections.abc import Sequence
from itertools import groupby

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.errors import InputError
from vita_demo.model.audio_encoder import AudioEncoder
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.vision_encoder import VisionEncoder


class VitaModel(nn.Module):
    """The architecture of VITA-1.5, batch size 1: what it computes, not how an answer comes of it.

    Attributes:
        config: its settings.
    """

    def __init__(self, config: VitaConfig) -> None:
        super().__init__()
        self.config = config
        width = config.text.hidden_size
        self.vision_encoder = VisionEncoder(config.vision)
        self.projector = nn.Sequential(nn.Linear(config.mm_hidden_size, width), nn.GELU(), nn.Linear(width, width))
        self.audio_encoder = AudioEncoder(config.audio)
        self.language_model = LanguageModel(config.text)

    @property
    def quantize(self) -> str | None:
        """The format of the language model's matrices, "int8" or "int4"; None where they are not quantized."""
        return self.language_model.quantize

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
        return self.encode_images(self.vision_encoder.normalize(torch.from_numpy(tiles).to(self.device)))

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
        pixel_values = pixel_values.to(self.device, self.dtype)
        return self.encode_groups(pixel_values.reshape(-1, group, *pixel_values.shape[1:]))

    def encode_groups(self, groups: Tensor) -> Tensor:
        """Encode groups of tiles that the projector joins [G, group, 3, S, S] to image features [G, P, D]."""
        group = groups.shape[1]
        features = self.vision_encoder(groups.flatten(0, 1))  # [G·group, P, F]
        patches, width = features.shape[1:]
        joined = features.view(-1, group, patches, width).transpose(1, 2)  # [G, P, group, F]
        projected: Tensor = self.projector(joined.reshape(-1, patches, group * width))  # [G, P, D]
        return projected

    @torch.inference_mode()
    def encode_audio(self, fbank: NDArray[np.float32] | Tensor) -> Tensor:
        """Encode a clip's filter bank [T, mel bins] to audio features [P, D] in the language model's width."""
        return self.encode_clip(torch.as_tensor(fbank).to(self.device))

    def encode_clip(self, fbank: Tensor) -> Tensor:
        """Encode a filter bank on the model's device [T, mel bins] to audio features [P, D]."""
        encoded: Tensor = self.audio_encoder(fbank[None])  # [1, P, D]
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
                pieces.append(self.language_model.embed_tokens(torch.tensor(list(ids)).to(self.device)))
        return torch.cat(pieces)[None]  # [1, S, D]
