"""Models of a chosen shape with random weights, made in place: no checkpoint, no download."""

import json
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import click
import torch
from torch import nn

from vita_demo.checkpoint.config import TextConfig, VitaConfig
from vita_demo.engine.device import configure
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.model.language_model import LanguageModel, RMSNorm
from vita_demo.resources import resource

Module = TypeVar("Module", bound=nn.Module)

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
_FILES = {"tiny": ("assets", "vita-tiny"), "vita15": ("configs", "vita15")}
SHAPES = (*_FILES, "0.5b")
_NORMS = (RMSNorm, nn.LayerNorm, nn.BatchNorm1d)


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

    def __str__(self) -> str:
        return f"{self.name}, {str(self.dtype).removeprefix('torch.')} on {self.device}"

    def build(self) -> LanguageModel:
        """Make the language model on its device, with random weights."""
        with torch.device("meta"):
            model = LanguageModel(self.config).to(self.dtype)
        return self._fill(model, model)

    def build_whole(self) -> VitaForGeneration:
        """Make the whole model, with the encoders that go with the shape's name."""
        with torch.device("meta"):
            model = VitaForGeneration(self.whole_config()).to(self.dtype)
            model.audio_encoder.cmvn.float()
        return self._fill(model, model.language_model)

    def settings_folder(self) -> Path:
        """Return the folder of the encoders' settings: the released model's, or the embedded one's for small shapes."""
        return resource(*_FILES["vita15" if self.name in ("0.5b", "vita15") else "tiny"])

    def whole_config(self) -> VitaConfig:
        """Return the settings with encoders that lead into this language model."""
        config = VitaConfig.from_pretrained(self.settings_folder())
        return replace(config, text=self.config, audio=replace(config.audio, output_size=self.config.hidden_size))

    def _fill(self, model: Module, language_model: LanguageModel) -> Module:
        """Give a model of the meta device memory, and fill it: normal weights, small biases, norms of ones.

        The deviation of a matrix is 1 / √columns, so that no layer drowns another, whatever the width.
        """
        configure(self.device)
        model = model.to_empty(device=self.device)
        if self.config.tie_word_embeddings:
            language_model.lm_head.weight = language_model.embed_tokens.weight
        norms = {id(module.weight) for module in model.modules() if isinstance(module, _NORMS)}
        generator = torch.Generator(self.device).manual_seed(self.seed)
        with torch.inference_mode():
            for tensor in model.parameters():
                if id(tensor) in norms:
                    tensor.fill_(1)
                else:
                    columns = tensor[0].numel() if tensor.dim() > 1 else len(tensor)
                    tensor.normal_(0, columns**-0.5, generator=generator)
            for name, buffer in model.named_buffers():
                buffer.fill_(name.endswith(("istd", "running_var")))
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


def shape_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the flags that choose a shape; see ``take_shape``."""
    options = (
        click.option("--shape", "name", type=click.Choice(SHAPES), help="A model's shape; or --layers and --width."),
        click.option("--layers", type=int, help="Decoder layers."),
        click.option("--width", type=int, help="Width of the model."),
        click.option("--heads", default=0, help="Query heads; by default 32 wide each, or 16."),
        click.option("--kv_heads", default=0, help="Key-value heads; by default a third or half of the heads."),
        click.option("--intermediate", default=0, help="Width of the gated layer; by default 8/3 of the model's."),
        click.option("--vocab", default=1017, show_default=True, help="Vocabulary size, where the shape has no name."),
        click.option("--device", default="cpu", show_default=True, help="cpu, cuda or cuda:N."),
        click.option("--dtype", default="float32", show_default=True, help="float32, float16 or bfloat16."),
        click.option("--seed", default=0, show_default=True, help="Of the random weights."),
        click.option("--threads", default=0, help="Threads; by default torch's choice."),
    )
    for option in reversed(options):
        command = option(command)
    return command


def take_shape(flags: dict[str, Any]) -> Shape:
    """Take the flags of ``shape_options`` out of ``flags``, and set the threads.

    Raises:
        click.UsageError: when neither a name nor numbers are given, or they make no model.
    """
    threads = flags.pop("threads")
    if threads:
        torch.set_num_threads(threads)
    name, layers, width = flags.pop("name"), flags.pop("layers"), flags.pop("width")
    sizes = [flags.pop(key) for key in ("heads", "kv_heads", "intermediate", "vocab")]
    if not name and not (layers and width):
        raise click.UsageError("give --shape, or --layers and --width")
    config = read_shape(name) if name else explicit_shape(layers, width, *sizes)
    place = torch.device(flags.pop("device")), getattr(torch, flags.pop("dtype"))
    return Shape(name or f"{layers} × {width}", config, *place, flags.pop("seed"))
