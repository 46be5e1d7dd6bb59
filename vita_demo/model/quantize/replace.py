"""Replaces the language model's linear layers by quantized ones.

The embedding table and the norms stay as they are.  The output head is in int8 in either format: rounding to int4
would change which token is the likeliest.
"""

from collections.abc import Iterator, Mapping

import torch
from torch import nn

from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.language_model import LanguageModel
from vita_demo.model.quantize.int4 import Int4Linear
from vita_demo.model.quantize.int8 import Int8Linear
from vita_demo.model.quantize.linear import QuantizedLinear, row_blocks

FORMATS: Mapping[str, type[QuantizedLinear]] = {"int8": Int8Linear, "int4": Int4Linear}


def replace_linears(model: LanguageModel, quantize: str) -> dict[str, QuantizedLinear]:
    """Replace every linear layer by a quantized one without values; return the new layers by name.

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
    """Quantize a model that is in memory, one matrix after the other, each of which is freed at once.

    Raises:
        ConfigError: when a matrix's shape does not fit the format.
    """
    weights = {name: linear.weight for name, linear in _linears(model)}
    with torch.no_grad():
        for name, layer in replace_linears(model, quantize).items():
            weight = weights.pop(name)
            for rows in row_blocks(*weight.shape):
                layer.quantize(rows, weight[rows])
            layer.pack()


def weights_bytes(config: TextConfig, quantize: str | None, item_bytes: int) -> int:
    """Count the bytes of the language model's weights without allocating them.

    Args:
        config: the language model's shape.
        quantize: "int8", "int4" or None.
        item_bytes: of a value that is not quantized.

    Raises:
        ConfigError: when a matrix's shape does not fit the format.
    """
    with torch.device("meta"):
        model = LanguageModel(config)
    if quantize is not None:
        replace_linears(model, quantize)
    unquantized = torch.get_default_dtype()
    return sum(p.numel() * item_bytes if p.dtype == unquantized else p.nbytes for p in model.parameters())


def count_values(model: nn.Module) -> int:
    """Count the parameters of a model; a quantized weight counts as the matrix that it stands for."""
    layers = [module for module in model.modules() if isinstance(module, QuantizedLinear)]
    stored = sum(layer.packed.numel() + layer.scales.numel() for layer in layers)
    weights = sum(layer.out_features * layer.in_features for layer in layers)
    return sum(parameter.numel() for parameter in model.parameters()) - stored + weights


def _linears(model: LanguageModel) -> Iterator[tuple[str, nn.Linear]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear))
