"""The ways in which a device decodes, on the same random weights, prompts and tokens: their logits can be compared."""

from collections.abc import Callable, Mapping
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from vita_demo.errors import ConfigError, GenerationError
from vita_demo.model.decode.batch_step import make_batch_step
from vita_demo.model.decode.cpu_step import CpuStep
from vita_demo.model.decode.cuda_graph import capture_on
from vita_demo.model.decode.decoder import Decoder
from vita_demo.model.decode.gpu_batch_step import GpuBatchStep
from vita_demo.model.decode.gpu_step import triton_serves
from vita_demo.model.decode.prefill import Prefill
from vita_demo.model.language_model import KVCache, LanguageModel
from vita_demo.model.quantize.linear import row_blocks
from vita_demo.model.quantize.replace import replace_linears

CAPACITY = 512
# Among few positions an off-by-one in a mask is visible; many have several blocks of keys before the last.
_LENGTHS = (3, 300)
_TOKENS = (3, 96, 0, 41)
_SEQUENCES = len(_TOKENS)
# Positions of the prompt that a pass of captured prompts reads.
_PROMPT = 100

Read = Callable[[Tensor], Tensor]


class LeftOutError(Exception):
    """This machine or this shape does not offer a path; the message says why."""


@dataclass(frozen=True)
class DecodePath:
    """One way to decode.

    Attributes:
        model: the weights.
        cache: says how many positions are filled.
        prefill: reads a prompt [1, S, D]; returns the logits after it [1, vocab_size].
        read: reads tokens [n]; returns the logits after each [n, vocab_size].
        tokens: that one pass reads.
        sequences: for each of which one pass reads these.
        prompt: positions of the prompt that one pass reads instead; 0 for none.
    """

    model: LanguageModel
    cache: KVCache
    prefill: Read
    read: Read
    tokens: int = 1
    sequences: int = 1
    prompt: int = 0

    def logits(self) -> Tensor:
        """Read some prompts, and the same tokens after each; return all logits [N, vocab_size]."""
        return torch.cat([self._logits_after(length) for length in _LENGTHS])

    def _logits_after(self, length: int) -> Tensor:
        first = self.read_prompt(length).clone()  # [1, vocab_size]
        return torch.cat([first, self.read(self._ids())])  # [1 + n, vocab_size]

    def read_prompt(self, length: int) -> Tensor:
        """Read a prompt of so many positions from the start; return the logits after it [1, vocab_size]."""
        self.cache.truncate(0)
        return self.prefill(self._prompt(length))

    def read_once(self) -> None:
        """Read what one pass reads, and forget it again unless it is a prompt."""
        if self.prompt:
            self.read_prompt(self.prompt)
            return
        length = self.cache.length
        self.read(self._ids()[: self.tokens])
        self.cache.truncate(length)

    @property
    def read_bytes(self) -> int:
        """Bytes that one pass must read: the weights, and the filled positions of each sequence."""
        return self.model.bytes_per_token(self.sequences * self.cache.length)

    def _prompt(self, length: int) -> Tensor:
        weight = self.model.norm.weight
        generator = torch.Generator(weight.device).manual_seed(1)
        shape = 1, CAPACITY, len(weight)
        return torch.randn(shape, generator=generator, device=weight.device, dtype=weight.dtype)[:, :length]

    def _ids(self) -> Tensor:
        return torch.tensor(_TOKENS, device=self.model.norm.weight.device)


Maker = Callable[[LanguageModel], DecodePath]
"""Makes a path, or raises ``LeftOutError``."""


def modules(model: LanguageModel) -> DecodePath:
    """Make the plain path: each token goes through the modules, as a prompt does."""
    cache = model.allocate_cache(CAPACITY)

    def read(token_ids: Tensor) -> Tensor:
        return torch.cat([model(model.embed_tokens(token_id)[None], cache) for token_id in torch.split(token_ids, 1)])

    return DecodePath(model, cache, lambda prompt: model(prompt, cache), read)


def steps(model: LanguageModel, *, captured: bool = True, kernels: bool = True) -> DecodePath:
    """Make the steps of a decoder, as an answer takes them."""
    capture = capture_on(model.norm.weight.device) if captured else None
    return _of_decoder(Decoder(model, model.allocate_cache(CAPACITY), capture=capture, kernels=kernels))


def kernels(model: LanguageModel, *, captured: bool) -> DecodePath:
    """Make the steps of this package's Triton kernels, captured or launched one by one."""
    if not triton_serves(model.norm.weight.device, model.config.head_dim):
        raise LeftOutError("Triton is not installed, or its kernels take no heads of this width")
    if captured:
        return steps(model)
    from vita_demo.model.decode.triton_step import TritonStep

    cache = model.allocate_cache(CAPACITY)
    step = TritonStep(model, cache)

    def read_one(token_id: Tensor) -> Tensor:
        logits: Tensor = step(token_id, torch.full_like(token_id, cache.length))
        cache.length += 1
        return logits

    return DecodePath(model, cache, lambda prompt: model(prompt, cache), partial(_read_each, read_one))


def prompts(model: LanguageModel) -> DecodePath:
    """Make the captured calls that read short prompts; the tokens after a prompt go through the modules."""
    path, prefill = modules(model), Prefill(model)
    capture = capture_on(model.norm.weight.device, share_memory=True)
    if capture is None:
        raise LeftOutError("prompts are captured on a GPU only")
    prefill.prepare(capture)
    return replace(path, prefill=lambda prompt: prefill(prompt, path.cache), prompt=_PROMPT)


def verification(model: LanguageModel) -> DecodePath:
    """Make the pass over several tokens by which speculation verifies its drafts."""
    decoder = Decoder(model, model.allocate_cache(CAPACITY), capture=None)
    return DecodePath(model, decoder.cache, decoder.prefill, decoder.verify, tokens=len(_TOKENS))


def sequences(model: LanguageModel) -> DecodePath:
    """Make the steps of several sequences at once, which all read the same here; each answers in turn."""
    caches = model.allocate_cache(CAPACITY, _SEQUENCES)
    capture = capture_on(caches.keys.device)
    step = make_batch_step(model, caches) if capture is None else GpuBatchStep(model, caches, capture)
    if step is None:
        if not CpuStep.serves(model):
            raise LeftOutError("on a CPU it takes float32 and bfloat16 only")
        raise GenerationError("Numba cannot compile the step: sequences take theirs one after the other")
    parts = [caches.sequences(row, 1) for row in range(_SEQUENCES)]

    def prefill(prompt: Tensor) -> Tensor:
        for part in parts:
            part.truncate(0)
            logits: Tensor = model(prompt, part)
        return logits

    def read(token_ids: Tensor) -> Tensor:
        rows, start, found = [*range(_SEQUENCES)], parts[-1].length, []
        for index, token_id in enumerate(torch.split(token_ids, 1)):
            found.append(step(rows, [start + index] * _SEQUENCES, token_id.expand(_SEQUENCES))[index].clone())
        return torch.stack(found)

    return DecodePath(model, parts[-1], prefill, read, sequences=_SEQUENCES)


def quantized(model: LanguageModel, *, quantize: str) -> DecodePath:
    """Make the steps of quantized weights, and round the weights of ``model`` to what these stand for.

    So the modules of ``model`` compute what the quantized ones must, without a third copy of the weights.
    """
    # Modules are copied, tensors are not.
    copy = deepcopy(model, {id(parameter): parameter for parameter in model.parameters()})
    try:
        layers = replace_linears(copy, quantize)
    except ConfigError as error:
        raise LeftOutError(str(error)) from error
    for name, layer in layers.items():
        weight = model.get_parameter(f"{name}.weight")
        for rows in row_blocks(*weight.shape):
            layer.quantize(rows, weight[rows])
            weight[rows] = layer.dequantize(rows, weight.dtype)
        layer.pack()
    return steps(copy)


def _of_decoder(decoder: Decoder) -> DecodePath:
    return DecodePath(decoder.language_model, decoder.cache, decoder.prefill, partial(_read_each, decoder.step))


def _read_each(read_one: Read, token_ids: Tensor) -> Tensor:
    return torch.cat([read_one(token_id).clone() for token_id in torch.split(token_ids, 1)])


PLAIN = "modules"
"""The path that all others are compared with."""
_ON_CPU: Mapping[str, Maker] = {"CPU step": steps}
_ON_GPU: Mapping[str, Maker] = {
    "torch operations": partial(steps, captured=False),
    "captured operations": partial(steps, kernels=False),
    "captured prompt": prompts,
}
# What could take the GPU with it comes last.
_KERNELS: Mapping[str, Maker] = {
    "Triton kernels": partial(kernels, captured=False),
    "captured kernels": partial(kernels, captured=True),
}


def paths_of(device: torch.device) -> dict[str, Maker]:
    """Return the paths of a device by name; those that round the weights come last."""
    gpu = device.type == "cuda"
    return {
        PLAIN: modules,
        **(_ON_GPU if gpu else _ON_CPU),
        f"{len(_TOKENS)} tokens at once": verification,
        f"{_SEQUENCES} sequences": sequences,
        **(_KERNELS if gpu else {}),
        "int8": partial(quantized, quantize="int8"),
        "int4": partial(quantized, quantize="int4"),
    }
