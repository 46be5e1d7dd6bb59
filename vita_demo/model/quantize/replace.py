"""Which matrices of the language model are held in few bits, and how they get there.

Knows the layers' names; knows nothing of checkpoints.  Embedding table and norms stay as they are.  The output head
is held in 8 bits in either format: in 4, rounding would choose other tokens.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from vita_demo.checkpoint.config import TextConfig
from vita_demo.errors import InputError
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.quantize.int4 import Int4Linear
from vita_demo.model.quantize.int8 import Int8Linear
from vita_demo.model.quantize.linear import QuantizedLinear, row_blocks

FORMATS: Mapping[str, type[QuantizedLinear]] = {"int8": Int8Linear, "int4": Int4Linear}


def check_format(quantize: str | None) -> None:
    """Refuse a format that is not there.

    Raises:
        InputError: naming those that are.
    """
    if quantize is not None and quantize not in FORMATS:
        raise InputError(f"--quantize {quantize} is unknown; give {' or '.join(FORMATS)}, or leave it out")


def replace_linears(model: LanguageModel, quantize: str) -> dict[str, QuantizedLinear]:
    """Put unfilled quantized layers in the places of the linear ones, and return them by name.

    Raises:
        ConfigError: when a matrix's shape does not fit the format.
    """
    replaced = {
        name: (Int8Linear if linear is model.lm_head else FORMATS[quantize]).like(linear)
        for name, linear in _linears(model)
    }
    for name, layer in replaced.items():
        owner, _, leaf = name.rpartition(".")
        setattr(model.get_submodule(owner), leaf, layer)
    return replaced


def quantize_in_place(model: LanguageModel, quantize: str) -> None:
    """Quantize a model that is in memory, one matrix after the other.

    Raises:
        ConfigError: when a matrix's shape does not fit the format.
    """
    weights = {name: linear.weight for name, linear in _linears(model)}
    with torch.no_grad():
        for name, layer in replace_linears(model, quantize).items():
            weight = weights.pop(name)
            for rows in row_blocks(*weight.shape):
                layer.fill(rows, weight[rows])
            layer.settle()


def weights_bytes(config: TextConfig, quantize: str | None, item_bytes: int) -> int:
    """Count the bytes of the language model's weights; what is not quantized takes ``item_bytes`` a value.

    Raises:
        ConfigError: when a matrix's shape does not fit the format.
    """
    with torch.device("meta"):
        model = LanguageModel(config)
    if quantize is not None:
        replace_linears(model, quantize)
    numbers = torch.get_default_dtype()
    return sum(p.numel() * item_bytes if p.dtype == numbers else p.nbytes for p in model.parameters())


def count_values(model: nn.Module) -> int:
    """Count the numbers that a model's weights stand for, however few bits hold them."""
    layers = [module for module in model.modules() if isinstance(module, QuantizedLinear)]
    held = sum(layer.packed.numel() + layer.scales.numel() for layer in layers)
    meant = sum(layer.out_features * layer.in_features for layer in layers)
    return sum(parameter.numel() for parameter in model.parameters()) - held + meant


def _linears(model: LanguageModel) -> Iterator[tuple[str, nn.Linear]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
