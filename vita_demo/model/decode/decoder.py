"""What one generation holds: a cache, and the implementation of a decode step that suits device and dtype."""

from collections.abc import Mapping

import torch
from torch import Tensor

from vita_demo.errors import GenerationError
from vita_demo.model.decode.cpu_step import CpuStep
from vita_demo.model.decode.cuda_graph import make_capture
from vita_demo.model.decode.gpu_step import GpuStep
from vita_demo.model.language_model import KVCache, LanguageModel


class Decoder:
    """Reads a prompt, then one token a step; a conversation goes on with the next prompt.

    Args:
        language_model: the weights.
        cache: keys and values, possibly of earlier turns.
        captured: on a GPU, replay steps as CUDA graphs.
        compiled: let torch's compiler fuse the steps.
        kernels: try Triton kernels where steps are captured.

    Attributes:
        runs_ahead: whether ``launch`` may be called before the tokens of earlier steps are known to the host.
    """

    def __init__(
        self,
        language_model: LanguageModel,
        cache: KVCache,
        *,
        captured: bool = True,
        compiled: bool = False,
        kernels: bool = True,
    ) -> None:
        self.language_model = language_model
        self.cache = cache
        self.runs_ahead = cache.keys.is_cuda
        self._gpu_step: GpuStep | None = None
        self._step: CpuStep | GpuStep | None = None
        with torch.inference_mode():
            if self.runs_ahead or compiled:
                capture = make_capture(cache.keys.device) if self.runs_ahead and captured else None
                self._step = self._gpu_step = GpuStep(
                    language_model, cache, capture, compiled=compiled, kernels=kernels
                )
            elif CpuStep.serves(language_model):
                self._step = CpuStep(language_model, cache)

    @property
    def prepares(self) -> bool:
        """Whether its steps are compiled or captured, which another decoder would have to do again."""
        return self._gpu_step is not None

    @property
    def prepared_s(self) -> Mapping[str, float]:
        """Seconds that the steps since the last ``prefill`` spent on "compile" and "capture"; empty where none did."""
        return {} if self._gpu_step is None else self._gpu_step.prepared_s

    @torch.inference_mode()
    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        """Read a prompt [1, S, D] after what the cache holds; return the next token's logits [1, vocab_size]."""
        if self._gpu_step is not None:
            self._gpu_step.prepared_s.clear()
        logits: Tensor = self.language_model(inputs_embeds, self.cache)
        return logits

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
        if self._gpu_step is None:
            raise GenerationError("this decoder's steps cannot be launched; this is a defect of vita-demo")
        return self._gpu_step.launch(token_id, self.cache.length + ahead)

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
