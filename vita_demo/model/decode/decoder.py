"""What one generation holds: a cache, and the implementation of a decode step that suits device and dtype."""

from collections.abc import Callable

import torch
from torch import Tensor

from vita_demo.errors import GenerationError
from vita_demo.model.decode.cpu_step import CpuStep
from vita_demo.model.decode.cuda_graph import Capture
from vita_demo.model.decode.gpu_step import GpuStep
from vita_demo.model.decode.prefill import Prefill
from vita_demo.model.language_model import KVCache, LanguageModel


class Decoder:
    """Reads a prompt, then one token a step; a conversation goes on with the next prompt.

    Args:
        language_model: the weights.
        cache: keys and values, possibly of earlier turns.
        capture: captures the steps, for a GPU; see ``capture_on``.
        kernels: try Triton kernels where steps are captured.
        prefill: reads prompts; by default the modules do.

    Attributes:
        runs_ahead: whether ``launch`` may be called before the tokens of earlier steps are known to the host.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        cache: KVCache,
        *,
        capture: Capture | None = None,
        kernels: bool = True,
        prefill: Prefill | None = None,
    ) -> None:
        self.language_model = language_model
        self.cache = cache
        self._read: Callable[[Tensor, KVCache], Tensor] = prefill or language_model
        self.runs_ahead = cache.keys.is_cuda
        self._step: CpuStep | GpuStep | None = None
        with torch.inference_mode():
            if self.runs_ahead or capture is not None:
                self._step = GpuStep(language_model, cache, capture, kernels=kernels)
            elif CpuStep.serves(language_model):
                self._step = CpuStep(language_model, cache)

    @torch.inference_mode()
    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        """Read a prompt [1, S, D] after what the cache holds; return the next token's logits [1, vocab_size]."""
        return self._read(inputs_embeds, self.cache)

    def step(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size], valid until the next step.

        Call it in inference mode: entering that here again would cost too much for each token.
        """
        if self._step is not None:
            return self._step(token_id)
        embeds = self.language_model.embed_tokens(token_id)[None]  # [1, 1, D]
        logits: Tensor = self.language_model(embeds, self.cache)
        return logits

    def launch(self, token_id: Tensor, ahead: int) -> Tensor:
        """Launch a decode step for one token [1] without synchronizing, into cache slot ``length + ahead``.

        Returns the logits as ``step`` does.  Unless ``commit`` follows, the next step overwrites the slot.
        """
        if not isinstance(self._step, GpuStep):
            raise GenerationError("this decoder's steps cannot be launched; this is a defect of vita-demo")
        return self._step.launch(token_id, self.cache.length + ahead)

    def verify(self, token_ids: Tensor) -> Tensor:
        """Read tokens [n] in one forward pass; return the logits after each [n, vocab_size], valid until the next step.

        Only the first token is committed; see ``commit``.  Call it in inference mode.
        """
        if len(token_ids) == 1:
            return self.step(token_ids)
        committed = self.cache.length + 1
        try:
            embeds = self.language_model.embed_tokens(token_ids)[None]  # [1, n, D]
            logits: Tensor = self.language_model(embeds, self.cache, last=len(token_ids))
        finally:
            self.cache.truncate(committed)
        return logits

    def commit(self) -> None:
        """Advance the cache's length by one: the oldest token launched (or verified) becomes part of the sequence."""
        self.cache.length += 1
