"""Models of a chosen shape with random weights, made in place: no checkpoint, no download."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import click
import torch

from vita_demo.checkpoint.config import TextConfig, VitaConfig
from vita_demo.checkpoint.shapes import SETTINGS, SHAPES, read_shape
from vita_demo.engine.device import configure
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.loading.random_weights import fill, make_language_model
from vita_demo.resources import resource


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
        configure(self.device)
        return make_language_model(self.config, self.device, self.dtype, self.seed)

    def build_whole(self) -> VitaForGeneration:
        """Make the whole model, with the encoders that go with the shape's name."""
        configure(self.device)
        with torch.device("meta"):
            model = VitaForGeneration(self.whole_config()).to(self.dtype)
            model.audio_encoder.cmvn.float()
        return fill(model, model.language_model, self.device, self.seed)

    def settings_folder(self) -> Path:
        """Return the folder of the encoders' settings: the released model's, or the embedded one's for small shapes."""
        return resource(*SETTINGS["vita15" if self.name in ("0.5b", "vita15") else "tiny"])

    def whole_config(self) -> VitaConfig:
        """Return the settings with encoders that lead into this language model."""
        config = VitaConfig.from_pretrained(self.settings_folder())
        return replace(config, text=self.config, audio=replace(config.audio, output_size=self.config.hidden_size))

    def prompt(self, positions: int) -> torch.Tensor:
        """Make a prompt of random embeddings [1, positions, D]."""
        generator = torch.Generator(self.device).manual_seed(self.seed + 1)
        shape = (1, positions, self.config.hidden_size)
        return torch.randn(shape, generator=generator, device=self.device, dtype=self.dtype)


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
