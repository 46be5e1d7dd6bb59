"""A decode step for GPUs: a CUDA graph, prepared when it is made and replayed for every token.

This package's Triton kernels take the step where they work and give the logits of torch's operations; else torch's
operations do.  It runs on any device.
"""

import logging

import torch
from torch import Tensor

from vita_demo.model.decode.agreement import check_agreement
from vita_demo.model.decode.cuda_graph import Call, Capture, fall_back_with_warning
from vita_demo.model.decode.torch_step import TorchStep
from vita_demo.model.language_model import KVCache, LanguageModel

logger = logging.getLogger("vita_demo.model")

# Positions after the cache's length at which implementations are compared: the first makes an off-by-one in a mask
# visible, the second has several blocks of keys before it.
_PROBES = (4, 300)


class GpuStep:
    """Reads one token after those in the cache.

    Args:
        model: the weights.
        cache: the generation's, with a free position; it may be truncated between steps.  Or an empty one of several
            sequences, whose tokens are read by ``launch_rows``.
        capture: turns a call into its replay; None launches torch's operations one by one.
        kernels: try Triton kernels where steps are captured.  Elsewhere they would not pay off: launching one from
            Python takes longer than launching one of torch's operations.
    """

    def __init__(
        self, model: LanguageModel, cache: KVCache, capture: Capture | None = None, *, kernels: bool = True
    ) -> None:
        self._model, self._cache = model, cache
        # Two tensors rather than one of two values: kernels are compiled for addresses that are multiples of 16.
        rows, device = cache.keys.shape[1], cache.keys.device
        self._token, self._position = (torch.zeros(rows, dtype=torch.long, device=device) for _ in range(2))
        self._logits = cache.keys.new_empty(rows, model.config.vocab_size)
        # Numbers to compare implementations by.  A mask multiplies them by zero, which must not meet infinity or NaN.
        generator = torch.Generator(cache.keys.device).manual_seed(0)
        for tensor in (cache.keys, cache.values):
            tensor[..., cache.length :, :].normal_(generator=generator)
        self._take = self._bind(TorchStep(model, cache))
        if capture is not None:
            self._take = self._prepare(self._take, capture, kernels)

    def __call__(self, token_id: Tensor) -> Tensor:
        """Read one token [1]; return the next one's logits [1, vocab_size], which the next step overwrites."""
        logits = self.launch(token_id, self._cache.length)
        self._cache.length += 1
        return logits

    def launch(self, token_id: Tensor, position: int) -> Tensor:
        """Launch the step of a token [1] into cache slot ``position`` without synchronizing or committing it.

        Returns:
            The next token's logits [1, vocab_size], which the next step overwrites.
        """
        self._token.copy_(token_id)
        self._position.fill_(position)
        self._take()
        return self._logits

    def launch_rows(self, token_ids: Tensor, positions: Tensor) -> Tensor:
        """Launch the step of one token of each sequence [B] at its position [B]; see ``launch``.

        Returns:
            The next tokens' logits [B, vocab_size], which the next step overwrites.
        """
        self._position.copy_(positions)
        self._token.copy_(token_ids)
        self._take()
        return self._logits

    def _bind(self, step: TorchStep) -> Call:
        # Without a reference to this object, which would be a cycle and keep the cache until the next collection.
        token, position, logits = self._token, self._position, self._logits
        return lambda: logits.copy_(step(token, position))

    def _prepare(self, plain: Call, capture: Capture, kernels: bool) -> Call:
        """Choose an implementation and capture it; return ``plain`` where nothing can be captured."""
        expected = self._probe(plain)  # [probes · B, vocab_size]
        chosen = plain
        if kernels and len(self._token) == 1 and triton_serves(self._token.device, self._model.config.head_dim):
            with fall_back_with_warning("the decode step cannot use Triton kernels"):
                from vita_demo.model.decode.triton_step import TritonStep

                own = self._bind(TritonStep(self._model, self._cache))
                check_agreement(self._probe(own), expected)
                chosen = own
        with fall_back_with_warning("the decode step cannot be captured as a CUDA graph"):
            replay = capture(chosen)
            check_agreement(self._probe(replay), expected)
            name = "torch's operations" if chosen is plain else "Triton kernels"
            logger.info(
                "captured a decode step of %s for %d × %d positions", name, len(self._token), self._cache.capacity
            )
            return replay
        return plain

    def _probe(self, call: Call) -> Tensor:
        """Return the logits of ``call`` at the probes [probes · B, vocab_size]; only free positions are written."""
        found = []
        for offset in _PROBES:
            self._position.fill_(min(self._cache.length + offset, self._cache.capacity - 1))
            self._logits.zero_()
            call()
            found.append(self._logits.clone())
        return torch.cat(found)


def triton_serves(device: torch.device, head_dim: int) -> bool:
    """Tell whether Triton is installed and the kernels work on this device and for heads this wide."""
    try:
        from triton import knobs
    except ImportError:
        return False
    # Blocks have sizes of powers of two, and a matrix product has at least 16 columns.
    fits = head_dim >= 16 and head_dim & (head_dim - 1) == 0
    return fits and (device.type == "cuda" or knobs.runtime.interpret)
