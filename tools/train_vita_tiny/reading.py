"""The language model over packs: the same computation as answering, for many chains at once.

The prefix that all rows share is computed once, along with them.
"""

import math
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor

from tools.train_vita_tiny.packs import AUDIO_SLOT, IMAGE_SLOT, NO_LABEL, Batch
from vita_demo.model.language_model import Attention, DecoderLayer, LanguageModel, rotary_table


def answer_loss(
    model: LanguageModel, prefix: Tensor, batch: Batch, image_features: Tensor | None, audio_features: Tensor | None
) -> tuple[Tensor, Tensor]:
    """Learn the answers of a batch.

    Args:
        model: the language model.
        prefix: ids [P] before every row.
        batch: rows of L tokens.
        image_features: [tiles, 16, D] in the order of the slots.
        audio_features: [positions, D], likewise.

    Returns:
        the mean cross-entropy over the answers' tokens, and the share of them that come first.
    """
    labels = torch.from_numpy(batch.labels).flatten().to(prefix.device)  # [B·L]
    x = _hidden(model, prefix, batch, _embed(model, batch, image_features, audio_features)).flatten(0, 1)  # [B·L, D]
    chosen = labels != NO_LABEL
    logits = model.lm_head(model.norm(x[chosen])).float()  # [answer tokens, vocab_size]
    wanted = labels[chosen]
    return F.cross_entropy(logits, wanted), (logits.argmax(-1) == wanted).float().mean()


def _embed(model: LanguageModel, batch: Batch, images: Tensor | None, sounds: Tensor | None) -> Tensor:
    ids = torch.from_numpy(batch.ids).to(model.norm.weight.device)  # [B, L]
    x: Tensor = model.embed_tokens(ids.clamp(min=0))  # [B, L, D]
    for slot, features in ((IMAGE_SLOT, images), (AUDIO_SLOT, sounds)):
        if features is not None:
            rows = (ids == slot).flatten().nonzero().squeeze(1)  # [slots]
            flat = features.reshape(-1, x.shape[-1]).to(x.dtype)  # [slots, D]
            x = x.flatten(0, 1).index_copy(0, rows, flat).view_as(x)
    return x


def _hidden(model: LanguageModel, prefix: Tensor, batch: Batch, x: Tensor) -> Tensor:
    """Run the layers over the prefix [P] and the rows [B, L, D] side by side; return the rows."""
    count = len(prefix)
    head = model.embed_tokens(prefix)[None]  # [1, P, D]
    offsets = torch.from_numpy(batch.offsets).to(x.device) + count  # [B, L]
    cos, sin = rotary_table(model.config, int(offsets.max()) + 1, x.device)
    dtype = torch.bfloat16 if torch.is_autocast_enabled(x.device.type) else x.dtype
    seen = torch.from_numpy(batch.mask(count)).to(x.device)
    bias = torch.zeros(seen.shape, dtype=dtype, device=x.device).masked_fill_(~seen, -1e4)  # [B, L, P + L]
    causal = torch.full((1, count, count), -1e4, dtype=dtype, device=x.device).triu(1)
    head_angles = (cos[:count, None], sin[:count, None])  # each [P, 1, head_dim]
    angles = (cos[offsets][:, :, None], sin[offsets][:, :, None])  # each [B, L, 1, head_dim]
    for module in model.layers:
        layer = cast(DecoderLayer, module)
        attention = layer.self_attn
        query, key, value = _project(attention, layer.input_layernorm(head), *head_angles)
        rows = _project(attention, layer.input_layernorm(x), *angles)
        head = head + attention.o_proj(_attend(query, key, value, causal))
        keys = torch.cat([key.expand(len(x), -1, -1, -1), rows[1]], dim=2)  # [B, kv, P + L, head_dim]
        values = torch.cat([value.expand(len(x), -1, -1, -1), rows[2]], dim=2)  # [B, kv, P + L, head_dim]
        x = x + attention.o_proj(_attend(rows[0], keys, values, bias))
        head = head + layer.mlp(layer.post_attention_layernorm(head))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return x


def _project(attention: Attention, x: Tensor, cos: Tensor, sin: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Return rotated query [N, heads, S, head_dim], rotated key and value [N, kv, S, head_dim]."""
    qkv = attention.qkv_proj(x).view(*x.shape[:2], -1, attention.head_dim)  # [N, S, heads + 2·kv, head_dim]
    turning = attention.heads + attention.kv_heads
    turned = qkv[:, :, :turning]
    turned = turned * cos.to(qkv.dtype) + turned.roll(attention.head_dim // 2, dims=-1) * sin.to(qkv.dtype)
    turned = turned.transpose(1, 2)  # [N, heads + kv, S, head_dim]
    return turned[:, : attention.heads], turned[:, attention.heads :], qkv[:, :, turning:].transpose(1, 2)


def _attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor) -> Tensor:
    """Attend from [N, heads, S, head_dim] over [N, kv, T, head_dim] with ``bias`` [N, S, T]; return [N, S, D]."""
    n, heads, length, head_dim = query.shape
    groups = heads // key.shape[1]
    # The queries of one group stand below each other, so that their keys need not be repeated.
    rows = (query / math.sqrt(head_dim)).reshape(n * key.shape[1], groups * length, head_dim)
    scores = rows @ key.flatten(0, 1).transpose(1, 2)  # [N·kv, groups·S, T]
    scores = scores.view(n, heads, length, -1) + bias[:, None]  # [N, heads, S, T]
    weights = torch.softmax(scores, dim=-1, dtype=scores.dtype).view(n * key.shape[1], groups * length, -1)
    attended = (weights @ value.flatten(0, 1)).view(n, heads, length, head_dim)
    return attended.transpose(1, 2).flatten(2)  # [N, S, D]
