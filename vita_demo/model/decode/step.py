"""One decode step of fixed shapes: what its implementations have in common.

Token and position are tensors on the device, and attention reads one bucket of the cache, so shapes and addresses stay
the same from step to step.  That is what a CUDA graph needs to replay a step, and a compiler to fuse it once.
"""

from abc import ABC, abstractmethod
from typing import ClassVar

import torch.nn.functional as F
from torch import Tensor

from vita_demo.model.language_model import DecoderLayer, KVCache, LanguageModel


class DecodeStep(ABC):
    """Reads one token through all layers.  An object serves one step and is made inside of what is captured.

    The implementations' logits differ in rounding only.  Which is the fastest depends on the GPU and on the model's
    shape; ``GpuStep`` measures it.

    Args:
        model: the weights.
        cache: takes the token's keys and values.
        position: the cache slot that the token takes, [1], on the device.
        bucket: how many cache slots attention may read.

    Attributes:
        name: of the implementation, for messages.
    """

    name: ClassVar[str]

    def __init__(self, model: LanguageModel, cache: KVCache, position: Tensor, bucket: int) -> None:
        self.model, self.cache, self.position, self.bucket = model, cache, position, bucket

    def __call__(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size]."""
        x = F.embedding(token_id, self.model.embed_tokens.weight)  # [1, D]
        layers = zip(self.model.layers, self.cache.keys[:, 0], self.cache.values[:, 0], strict=True)
        for layer, keys, values in layers:
            qkv = self.project(layer, x)  # type: ignore[arg-type]  # [heads + 2·kv, head_dim]
            attended = self.attend(qkv, keys, values)  # [1, heads · head_dim]
            x = self.finish(layer, x, attended)  # type: ignore[arg-type]  # [1, D]
        return self.predict(self.model, x)

    @abstractmethod
    def project(self, layer: DecoderLayer, x: Tensor) -> Tensor:
        """Normalize x [1, D] and project it to queries, keys and values [heads + 2·kv, head_dim]."""

    @abstractmethod
    def attend(self, qkv: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Rotate query and key, append key and value to the cache, and attend to all positions up to this one.

        Args:
            qkv: from ``project``, [heads + 2·kv, head_dim].
            keys: the layer's part of the cache, [kv heads, capacity, head_dim].
            values: like ``keys``.

        Returns:
            [1, heads · head_dim].
        """

    @abstractmethod
    def finish(self, layer: DecoderLayer, x: Tensor, attended: Tensor) -> Tensor:
        """Add the attention's output projection and then the MLP to the residual stream x [1, D]."""

    @abstractmethod
    def predict(self, model: LanguageModel, x: Tensor) -> Tensor:
        """Map the last layer's x [1, D] to the next token's logits [1, vocab_size]."""
