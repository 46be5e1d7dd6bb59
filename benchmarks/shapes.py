"""Language models of a chosen shape with random weights, made in place: no checkpoint, no download."""

import json
from dataclasses import dataclass

import click
import torch

from vita_demo.config import TextConfig
from vita_demo.model.language_model import LanguageModel
from vita_demo.resources import resource

QWEN_05B = TextConfig(
    vocab_size=151_936,
    hidden_size=896,
    intermediate_size=4864,
    num_hidden_layers=24,
    num_attention_heads=14,
    num_key_value_heads=2,
    max_position_embeddings=32_768,
    rope_theta=1e6,
    rms_norm_eps=1e-6,
    tie_word_embeddings=True,
)
_FILES = {"tiny": ("assets", "miniature"), "vita15": ("configs", "vita15")}
SHAPES = (*_FILES, "0.5b")


@dataclass(frozen=True)
class Shape:
    """A language model's shape and what its weights are.

    Attributes:
        name: for tables.
        config: the shape.
        device, dtype: of the weights.
        seed: of the random weights.
    """

    name: str
    config: TextConfig
    device: torch.device
    dtype: torch.dtype
    seed: int = 0

    def build(self) -> LanguageModel:
        """Make the model on its device and fill it in place: normal weights, norms of ones, small biases.

        The deviation of a matrix is 1 / √columns, so that no layer drowns another, whatever the width.
        """
        with torch.device("meta"):
            model = LanguageModel(self.config).to(self.dtype)
        model = model.to_empty(device=self.device)
        if self.config.tie_word_embeddings:
            model.lm_head.weight = model.embed_tokens.weight
        generator = torch.Generator(self.device).manual_seed(self.seed)
        with torch.inference_mode():
            for name, tensor in model.named_parameters():
                if name.endswith("norm.weight"):
                    tensor.fill_(1)
                else:
                    tensor.normal_(0, tensor.shape[-1] ** -0.5, generator=generator)
        return model.eval().requires_grad_(False)

    def prompt(self, positions: int) -> torch.Tensor:
        """Make a prompt of random embeddings [1, positions, D]."""
        generator = torch.Generator(self.device).manual_seed(self.seed + 1)
        shape = (1, positions, self.config.hidden_size)
        return torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)


def read_shape(name: str) -> TextConfig:
    """Return the shape that ``name`` stands for: "tiny" is the embedded model's, "vita15" the released one's."""
    if name == "0.5b":
        return QWEN_05B
    path = resource(*_FILES[name]) / "config.json"
    return TextConfig.from_dict(json.loads(path.read_text(encoding="utf-8")), path)


def explicit_shape(layers: int, width: int, heads: int, kv_heads: int, intermediate: int, vocab: int) -> TextConfig:
    """Return a shape by numbers; 0 stands for what goes with the width.

    Raises:
        click.UsageError: when heads do not divide the width, or key-value heads the heads.
    """
    heads = heads or max(1, width // (32 if width % 32 == 0 else 16))
    kv_heads = kv_heads or (heads // 3 if heads % 3 == 0 else heads // 2 if heads % 2 == 0 else 1)
    if width % (2 * heads) or heads % kv_heads:
        raise click.UsageError(f"{heads} heads and {kv_heads} key-value heads do not fit a width of {width}")
    return TextConfig(
        vocab_size=vocab,
        hidden_size=width,
        intermediate_size=intermediate or 16 * round(width / 6),
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        max_position_embeddings=32_768,
        rope_theta=1e6,
        rms_norm_eps=1e-6,
        tie_word_embeddings=False,
    )
