"""Small models with random weights, and stand-ins for what only a GPU has."""

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor, nn

from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.decode.cpu_step import CpuStep
from vita_demo.model.language_model import KVCache, LanguageModel
from vita_demo.model.quantize.linear import QuantizedLinear
from vita_demo.model.quantize.replace import FORMATS

CONFIG = TextConfig(
    vocab_size=97,
    hidden_size=48,
    intermediate_size=80,
    num_hidden_layers=3,
    num_attention_heads=6,
    num_key_value_heads=2,
    max_position_embeddings=512,
    rope_theta=1e6,
    rms_norm_eps=1e-6,
    tie_word_embeddings=False,
)
# Matrices that every quantized format takes.
WIDE = replace(CONFIG, hidden_size=192, intermediate_size=320, vocab_size=101)
# Heads as wide as Triton kernels need them.
SMALL = replace(CONFIG, hidden_size=64, intermediate_size=64, num_hidden_layers=1, num_attention_heads=4)
SHAPES = {
    "grouped": CONFIG,
    "one key-value head": replace(CONFIG, num_key_value_heads=1),
    "no groups": replace(CONFIG, num_key_value_heads=6, tie_word_embeddings=True),
    "striped": replace(CONFIG, hidden_size=192, intermediate_size=800, vocab_size=1400),
}
PROMPT = 9
IDS = [3, 96, 0, 41, 41, 7]


def randomize(module: nn.Module, seed: int = 0) -> nn.Module:
    generator = torch.Generator().manual_seed(seed)
    for tensor in [*module.parameters(), *module.buffers()]:
        if tensor.is_floating_point():
            tensor.data.normal_(generator=generator).mul_(0.3)
    return module.eval()


def make_model(config=CONFIG, dtype: torch.dtype = torch.float32) -> LanguageModel:
    model = randomize(LanguageModel(config))
    for layer in model.layers:
        layer.input_layernorm.weight.data.add_(1)
    return model.to(dtype).requires_grad_(False)


@torch.inference_mode()
def walk(model: LanguageModel, ids: list[int]) -> tuple[list[Tensor], list[Tensor]]:
    """Logits after each id, through the step and through the modules."""
    prompt = torch.randn(1, PROMPT, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    caches = [model.allocate_cache(PROMPT + len(ids)) for _ in range(2)]
    for cache in caches:
        model(prompt.to(model.norm.weight.dtype), cache)
    step = CpuStep(model, caches[0])
    ours, theirs = [], []
    for token_id in ids:
        token = torch.tensor([token_id])
        ours.append(step(token).clone())
        theirs.append(model(model.embed_tokens(token)[None], caches[1]))
    assert caches[0].length == caches[1].length
    return ours, theirs


def make_layer(quantize: str, weight: Tensor, bias: Tensor | None = None) -> QuantizedLinear:
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    layer = FORMATS[quantize].like(linear)
    layer.quantize(slice(None), weight)
    return layer


class Tape:
    """Stands in for a GPU's graphs: notes what was captured, and runs it again when replayed."""

    def __init__(self, error: Exception | None = None, empty: bool = False) -> None:
        self.error, self.empty, self.captures, self.replays = error, empty, 0, 0

    def __call__(self, call: Callable[[], object]) -> Callable[[], object]:
        self.captures += 1
        if self.error is not None:
            raise self.error

        def replay() -> None:
            self.replays += 1
            if not self.empty:
                call()

        return replay


def filled_cache(model: LanguageModel, positions: int, room: int = 40) -> KVCache:
    """A cache whose unfilled part holds what no computation survives."""
    cache = model.allocate_cache(positions + room)
    cache.keys.fill_(float("nan"))
    cache.values.fill_(float("inf"))
    prompt = torch.randn(1, positions, model.config.hidden_size, generator=torch.Generator().manual_seed(1))
    model(prompt.to(cache.keys.dtype), cache)
    return cache


@torch.inference_mode()
def through_the_modules(model: LanguageModel, cache: KVCache, ids: list[int]) -> list[Tensor]:
    return [model(model.embed_tokens(torch.tensor([token_id]))[None], cache) for token_id in ids]


def close(ours: list[Tensor], theirs: list[Tensor], tolerance: float = 1e-5) -> bool:
    pairs = zip(ours, theirs, strict=True)
    return all(float((one - other).abs().max()) <= tolerance * float(other.abs().max()) for one, other in pairs)
