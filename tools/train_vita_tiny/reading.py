"""The language model over packs: the same computation as answering, for many chains at once.

Three kinds of tokens go through the layers side by side: the prefix, once for all; the tiles, once for each sight; the
chains.  Each kind attends to itself and to the kinds before it, whose keys are never repeated.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from tools.train_vita_tiny.layout import GRID
from tools.train_vita_tiny.packs import NO_LABEL, Group
from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID
from vita_demo.model.language_model import Attention, DecoderLayer, LanguageModel, rotary_table

# Of one tile.
POSITIONS = GRID**2
# How much attention to what an answer is about counts beside the answer.
_POINTING = 0.2


@dataclass(frozen=True)
class _Block:
    """Sequences of one length, somewhere among the tokens.

    Attributes:
        count: n, how many.
        length: S, how long.
        first: position of their first token.
        owners: which tiles each of them sees, [n]; None for those that see none.
    """

    count: int
    length: int
    first: int
    owners: Tensor | None = None

    @property
    def tokens(self) -> int:
        """How many tokens they have in all."""
        return self.count * self.length


@dataclass(frozen=True)
class _Projected:
    """A block's rotated queries [n, heads, S, head_dim], rotated keys and values [n, kv heads, S, head_dim]."""

    query: Tensor
    key: Tensor
    value: Tensor


def answer_loss(
    model: LanguageModel,
    prefix: Tensor,
    groups: Sequence[Group],
    image_features: Tensor | None,
    audio_features: Tensor | None,
    pointed_layers: Sequence[int],
) -> tuple[Tensor, Tensor]:
    """Learn the answers of a batch of packs.

    Args:
        model: the language model.
        prefix: ids [P] before everything.
        groups: the packs' chains.
        image_features: [packs, tiles · P, D]; None when nothing is shown.
        audio_features: [positions, D] in the order of the slots.
        pointed_layers: layers that are asked for attention to what an answer is about.

    Returns:
        the mean cross-entropy over the answers' tokens, and the share of them that come first.
    """
    count, width = len(prefix), model.config.hidden_size
    tiles = 0 if image_features is None else image_features.shape[1]
    blocks, pieces = [_Block(1, count, 0)], [model.embed_tokens(prefix)]
    if image_features is not None:
        blocks.append(_Block(len(image_features), tiles, count))
        pieces.append(image_features.reshape(-1, width).float())
    for group in groups:
        owners = torch.from_numpy(group.owners).to(prefix.device) if tiles else None
        chains, length = group.ids.shape
        blocks.append(_Block(chains, length, count + tiles, owners))
    answering = _embed(model, groups, audio_features)  # [tokens, D]
    x, looks = _run_layers(model, blocks, torch.cat([*pieces, answering]), pointed_layers)
    x = x[-len(answering) :]  # [tokens, D]
    labels = torch.from_numpy(np.concatenate([group.labels.flatten() for group in groups])).to(prefix.device)
    chosen = labels != NO_LABEL
    logits = model.lm_head(model.norm(x[chosen])).float()  # [answer tokens, vocab_size]
    loss = F.cross_entropy(logits, labels[chosen])
    if looks:
        places = torch.from_numpy(np.concatenate([group.places.flatten() for group in groups])).to(prefix.device)
        loss = loss + _POINTING * pointing_loss(torch.cat(looks), places.repeat(len(pointed_layers)))
    return loss, (logits.argmax(-1) == labels[chosen]).float().mean()


def pointing_loss(looks: Tensor, places: Tensor) -> Tensor:
    """Ask for attention to the positions that an answer is about.

    From the answers alone attention to the one thing that a question names is learned very late: before, all things
    are looked at, and what is answered is one of the things that are there.

    Args:
        looks: [tokens, heads, P], attention to the last tile.
        places: [tokens], sums of powers of two; 0 asks for nothing.

    Returns:
        the mean of -log(attention to these positions).
    """
    chosen = places > 0
    if not chosen.any():
        return looks.new_zeros(())
    wanted = (places[chosen, None] >> torch.arange(looks.shape[2], device=places.device)) & 1  # [chosen, P]
    mass = (looks[chosen].float() * wanted[:, None]).sum(-1)  # [chosen, heads]
    return -(mass + 1e-3).log().mean()


def _embed(model: LanguageModel, groups: Sequence[Group], sounds: Tensor | None) -> Tensor:
    """Embed the groups' tokens, with sounds in their slots: [tokens, D]."""
    ids = torch.from_numpy(np.concatenate([group.ids.flatten() for group in groups]))
    ids = ids.to(model.norm.weight.device)  # [tokens]
    x: Tensor = model.embed_tokens(ids.clamp(min=0))  # [tokens, D]
    if sounds is not None:
        x = x.index_copy(0, (ids == AUDIO_TOKEN_ID).nonzero().squeeze(1), sounds.to(x.dtype))
    return x


def _run_layers(
    model: LanguageModel, blocks: Sequence[_Block], x: Tensor, pointed_layers: Sequence[int]
) -> tuple[Tensor, list[Tensor]]:
    """Run the layers over the tokens [M, D] of all blocks, one block after the other.

    Returns:
        the tokens [M, D], and how those of blocks that see tiles look at the last one, [tokens, heads, P] each.
    """
    looks: list[Tensor] = []
    cos, sin = rotary_table(model.config, max(block.first + block.length for block in blocks), x.device)
    for index, module in enumerate(model.layers):
        layer = cast(DecoderLayer, module)
        qkv = layer.self_attn.qkv_proj(layer.input_layernorm(x))  # [M, (heads + 2·kv) · head_dim]
        parts = torch.split(qkv, [block.tokens for block in blocks])
        own = [_project(layer.self_attn, *part, cos, sin) for part in zip(blocks, parts, strict=True)]
        attended = []
        for number, block in enumerate(blocks):
            before = own[: min(number, 1)]
            if block.owners is not None:
                before.append(_Projected(own[1].query, own[1].key[block.owners], own[1].value[block.owners]))
            result, weights = _attend(own[number], before)
            attended.append(result)
            if index in pointed_layers and block.owners is not None:
                looks.append(_look(weights[1], block))
        x = x + layer.self_attn.o_proj(torch.cat(attended))
        x = x + layer.mlp(layer.post_attention_layernorm(x))
    return x, looks


def _look(weights: Tensor, block: _Block) -> Tensor:
    """Return how the first group of heads attends to the last tile: [n·S, heads, P]."""
    heads = weights[:, 0, :, -POSITIONS:].view(block.count, -1, block.length, POSITIONS)  # [n, heads, S, P]
    return heads.transpose(1, 2).flatten(0, 1)  # [n·S, heads, P]


def _project(attention: Attention, block: _Block, qkv: Tensor, cos: Tensor, sin: Tensor) -> _Projected:
    """Split and rotate a block's queries, keys and values [n·S, (heads + 2·kv) · head_dim]."""
    qkv = qkv.view(block.count, block.length, -1, attention.head_dim)  # [n, S, heads + 2·kv, head_dim]
    turning = attention.heads + attention.kv_heads
    here = slice(block.first, block.first + block.length)
    cosine, sine = cos[here, None].to(qkv.dtype), sin[here, None].to(qkv.dtype)  # [S, 1, head_dim]
    turned = qkv[:, :, :turning]
    turned = turned * cosine + turned.roll(attention.head_dim // 2, dims=-1) * sine
    turned = turned.transpose(1, 2)  # [n, heads + kv, S, head_dim]
    query, key = turned[:, : attention.heads], turned[:, attention.heads :]
    return _Projected(query, key, qkv[:, :, turning:].transpose(1, 2))


def _attend(own: _Projected, before: Sequence[_Projected]) -> tuple[Tensor, Sequence[Tensor]]:
    """Attend to all of ``before`` and causally to the block itself.

    Returns:
        what was found [n·S, D], and the weights [n, kv, groups·S, T] of each part.

    What has one row only, the prefix, is attended to by all rows in one product.
    """
    n, heads, length, head_dim = own.query.shape
    kv_heads = own.key.shape[1]
    # The queries of one group of heads stand below each other, so that their keys need not be repeated.
    query = (own.query / math.sqrt(head_dim)).reshape(n, kv_heads, -1, head_dim)  # [n, kv, groups·S, head_dim]
    causal = torch.full((length, length), -1e4, dtype=query.dtype, device=query.device).triu(1)
    causal = causal.repeat(heads // kv_heads, 1)  # [groups·S, S]
    scores = [_product(query, part.key.transpose(2, 3)) for part in before]
    scores.append(_product(query, own.key.transpose(2, 3)) + causal)
    weights = torch.softmax(torch.cat(scores, dim=-1), dim=-1, dtype=scores[0].dtype)  # [n, kv, groups·S, T]
    parts = torch.split(weights, [part.shape[-1] for part in scores], dim=-1)
    attended = _product(parts[-1], own.value)  # [n, kv, groups·S, head_dim]
    for weight, part in zip(parts, before, strict=False):
        attended = attended + _product(weight, part.value)
    return attended.view(n, heads, length, head_dim).transpose(1, 2).reshape(n * length, -1), parts  # [n·S, D]


def _product(rows: Tensor, matrix: Tensor) -> Tensor:
    """Multiply [n, kv, R, K] by [n or 1, kv, K, C]."""
    if len(matrix) == len(rows):
        return rows @ matrix
    flat = rows.transpose(0, 1).flatten(1, 2)  # [kv, n·R, K]
    product = flat @ matrix[0]  # [kv, n·R, C]
    return product.view(len(flat), len(rows), -1, product.shape[-1]).transpose(0, 1)  # [n, kv, R, C]
