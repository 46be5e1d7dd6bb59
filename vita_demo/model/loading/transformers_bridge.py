"""The language model as a transformers ``Qwen2ForCausalLM`` that shares its tensors: no second copy in memory."""

from typing import Any

import torch
from torch import Tensor, nn

from vita_demo.model.language_model import LanguageModel, unpack_name


def to_transformers(model: LanguageModel) -> Any:
    """Build a ``Qwen2ForCausalLM`` whose parameters are views of the model's.

    A change in one is a change in the other.  Importing transformers' modelling code takes seconds.
    """
    from transformers import Qwen2Config, Qwen2ForCausalLM
    from transformers.models.qwen2.modeling_qwen2 import Qwen2RotaryEmbedding

    ours = model.config
    config = Qwen2Config(
        vocab_size=ours.vocab_size,
        hidden_size=ours.hidden_size,
        intermediate_size=ours.intermediate_size,
        num_hidden_layers=ours.num_hidden_layers,
        num_attention_heads=ours.num_attention_heads,
        num_key_value_heads=ours.num_key_value_heads,
        max_position_embeddings=ours.max_position_embeddings,
        rms_norm_eps=ours.rms_norm_eps,
        tie_word_embeddings=ours.tie_word_embeddings,
        rope_parameters={"rope_type": "default", "rope_theta": ours.rope_theta},
        dtype=model.norm.weight.dtype,
        bos_token_id=None,
        eos_token_id=None,
    )
    config._attn_implementation = "sdpa"  # noqa: SLF001 - its constructor's argument of that name is not declared
    with torch.device("meta"):
        theirs = Qwen2ForCausalLM(config)
    for name, view in views(model).items():
        owner, _, leaf = name.rpartition(".")
        setattr(theirs.get_submodule(owner), leaf, nn.Parameter(view, requires_grad=False))
    with model.norm.weight.device:
        theirs.model.rotary_emb = Qwen2RotaryEmbedding(config)
    return theirs.eval()


def views(model: LanguageModel) -> dict[str, Tensor]:
    """Return the model's tensors under transformers' names; the parts of a stacked matrix are views of its rows."""
    found: dict[str, Tensor] = {}
    for name, tensor in model.named_parameters(remove_duplicate=False):
        parts = unpack_name(name, len(tensor), model.config)
        tensors = torch.split(tensor.data, [rows for _, rows in parts])
        for (part, _), view in zip(parts, tensors, strict=True):
            found[part if part.startswith("lm_head") else f"model.{part}"] = view
    return found
