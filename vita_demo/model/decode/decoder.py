"""One generation's hold on the language model: its cache, and the fastest way to take a step."""

import torch
from torch import Tensor

from vita_demo.errors import GenerationError
from vita_demo.model.decode.cpu_step import TokenStep
from vita_demo.model.decode.cuda_graph import make_capture
from vita_demo.model.decode.gpu_step import BucketStep
from vita_demo.model.language_model import KVCache, LanguageModel


class Decoder:
    """Reads the prompt once, then one token a step.

    Args:
        language_model: the weights.
        cache: keys and values, which may hold earlier positions.
        captured: replay steps as CUDA graphs, where there is a GPU.
        compiled: let torch's compiler fuse the steps.
        kernels: try the package's own kernels where steps are captured.

    Attributes:
        runs_ahead: steps are launched without waiting for them, so ``launch`` serves before their tokens are known.
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
        self._bucket_step: BucketStep | None = None
        self._token_step: TokenStep | BucketStep | None = None
        with torch.inference_mode():
            if self.runs_ahead or compiled:
                capture = make_capture(cache.keys.device) if self.runs_ahead and captured else None
                self._token_step = self._bucket_step = BucketStep(
                    language_model, cache, capture, compiled=compiled, kernels=kernels
                )
            elif TokenStep.serves(language_model):
                self._token_step = TokenStep(language_model, cache)

    @property
    def prepares(self) -> bool:
        """Whether its steps are compiled or captured, which another decoder would have to do again."""
        return self._bucket_step is not None

    @torch.inference_mode()
    def prefill(self, inputs_embeds: Tensor) -> Tensor:
        """Read the prompt [1, S, D]; return the next token's logits [1, vocab_size]."""
        logits: Tensor = self.language_model(inputs_embeds, self.cache)
        return logits

    def step(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size], valid until the next step.

        To be called in inference mode, which costs too much to enter twice for each token.
        """
        if self._token_step is not None:
            return self._token_step(token_id)
        embeds = self.language_model.embed_tokens(token_id)[None]  # [1, 1, D]
        logits: Tensor = self.language_model(embeds, self.cache)
        return logits

    def launch(self, token_id: Tensor, ahead: int) -> Tensor:
        """Launch a decode step for one token [1] without synchronizing, into cache slot ``length + ahead``.

        Returns the logits as ``step`` does.  Unless ``commit`` follows, the next step overwrites the slot.
        """
        if self._bucket_step is None:
            raise GenerationError("this decoder's steps cannot be launched; this is a defect of vita-demo")
        return self._bucket_step.launch(token_id, self.cache.length + ahead)

    def verify(self, token_ids: Tensor) -> Tensor:
        """Read tokens [n] in one pass; return the logits after each [n, vocab_size], valid until the next step.

        Only the first token is committed; see ``commit``.  To be called in inference mode, as ``step``.
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
