"""Shapes of language models by name, for which no checkpoint is needed."""

from collections.abc import Mapping

from vita_demo.checkpoint.config import TextConfig, read_json
from vita_demo.resources import resource

SETTINGS: Mapping[str, tuple[str, str]] = {"tiny": ("assets", "vita-tiny"), "vita15": ("configs", "vita15")}
"""The folders whose settings have a name: those of the embedded model, and those of the released one."""
SHAPES = ("tiny", "0.5b", "vita15")

_QWEN_05B = TextConfig(
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


def read_shape(name: str) -> TextConfig:
    """Return the language model's shape that one of ``SHAPES`` stands for."""
    if name == "0.5b":
        return _QWEN_05B
    path = resource(*SETTINGS[name]) / "config.json"
    return TextConfig.from_dict(read_json(path), path)
