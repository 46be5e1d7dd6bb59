"""Several sequences at once: a cache with a slot for each, and steps that read one token for many of them."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vita_demo.model.decode.batch_step import BatchStep, make_batch_step
from vita_demo.model.decode.cuda_graph import Capture
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.decode.gpu_batch_step import GpuBatchStep
from vita_demo.model.decode.prefill import Prefill
from vita_demo.model.language_model import KVCache, LanguageModel


class Slots:
    """Independent sequences of one model, whose memory is allocated once.

    Args:
        model: the weights.
        count: of slots.
        capacity: positions of each slot.
        capture: captures the steps, for a GPU; see ``capture_on``.
        prefill: reads prompts; by default the modules do.
    """

    def __init__(
        self,
        model: LanguageModel,
        count: int,
        capacity: int,
        capture: Capture | None = None,
        prefill: Prefill | None = None,
    ) -> None:
        self.count, self.capacity = count, capacity
        self._model, self._capture = model, capture
        self._read: Callable[[Tensor, KVCache], Tensor] = prefill or model
        gpu = capture is not None or model.norm.weight.is_cuda
        with torch.inference_mode():
            cache = model.allocate_cache(capacity + gpu, count)
            self._step: BatchStep | GpuBatchStep | None
            self._step = GpuBatchStep(model, cache, capture) if gpu else make_batch_step(model, cache)
        self.nbytes = cache.keys.nbytes + cache.values.nbytes
        self._caches = [cache.sequences(slot, 1) for slot in range(count)]
        self._decoders: dict[int, Decoder] = {}

    def length(self, slot: int) -> int:
        """Return how many positions of a slot are filled."""
        return self._caches[slot].length

    def truncate(self, slot: int, length: int) -> None:
        """Forget all positions of a slot from ``length`` on."""
        self._caches[slot].truncate(length)

    def prefill(self, slot: int, inputs_embeds: Tensor) -> Tensor:
        """Read a prompt or a part of it [1, S, D] after what the slot holds.

        Returns:
            The next token's logits [1, vocab_size].
        """
        return self._read(inputs_embeds, self._caches[slot])

    def step(self, slots: Sequence[int], token_ids: Tensor) -> Tensor:
        """Read one token for each of some slots, at the slot's own position.

        Call it in inference mode.

        Args:
            slots: distinct, each with a free position.
            token_ids: [B].

        Returns:
            The next tokens' logits [B, vocab_size], valid until the next step.
        """
        if self._step is None or (len(slots) == 1 and isinstance(self._step, GpuBatchStep)):
            rows = [self._decoder(slot).step(token_ids[row : row + 1]).clone() for row, slot in enumerate(slots)]
            return torch.cat(rows)  # [B, vocab_size]
        logits = self._step(slots, [cache.length for cache in self._caches], token_ids)
        for slot in slots:
            self._caches[slot].length += 1
        return logits

    def _decoder(self, slot: int) -> Decoder:
        """Return the steps of a slot alone, which are made when they are first needed."""
        if slot not in self._decoders:
            self._decoders[slot] = Decoder(self._model, self._caches[slot], capture=self._capture)
        return self._decoders[slot]
