"""Models with random weights, made in place: no checkpoint, no download."""

from typing import TypeVar

import torch
from torch import nn

from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.language_model import LanguageModel, RMSNorm

Module = TypeVar("Module", bound=nn.Module)

_NORMS = (RMSNorm, nn.LayerNorm, nn.BatchNorm1d)


def make_language_model(config: TextConfig, device: torch.device, dtype: torch.dtype, seed: int = 0) -> LanguageModel:
    """Make a language model on its device, with random weights."""
    with torch.device("meta"):
        model = LanguageModel(config).to(dtype)
    return fill(model, model, device, seed)


def fill(model: Module, language_model: LanguageModel, device: torch.device, seed: int) -> Module:
    """Give a model of the meta device memory, and fill it: normal weights, small biases, norms of ones.

    The deviation of a matrix is 1 / √columns, so that no layer drowns another, whatever the width.

    Args:
        model: what to fill.
        language_model: it, or its part that is one.
        device: where to.
        seed: of the random numbers.
    """
    model = model.to_empty(device=device)
    if language_model.config.tie_word_embeddings:
        language_model.lm_head.weight = language_model.embed_tokens.weight
    norms = {id(module.weight) for module in model.modules() if isinstance(module, _NORMS)}
    generator = torch.Generator(device).manual_seed(seed)
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
