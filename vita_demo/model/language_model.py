"""The Qwen2 decoder with a static KV cache.

Knows embeddings, positions and its cache; knows nothing of pictures, sound, prompts or sampling.  Query, key and value
matrices are stacked into one, and so are gate and up: fewer and larger products for each token.
"""

from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.backends.cuda import SDPAParams, can_use_flash_attention

from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.ops.bfloat16_linear import Linear

# Rows per MLP call: its temporaries of 4 · intermediate_size values a row would dominate memory in long prompts.
MLP_POSITIONS = 2048


@dataclass
class KVCache:
    """Keys and values of one conversation, allocated once; or of several, which have their own lengths.

    Attributes:
        keys, values: [layers, sequences, key-value heads, capacity, head_dim].
        cos, sin: rotary tables [capacity, head_dim].
        length: how many positions are filled, from the first on.
    """

    keys: Tensor
    values: Tensor
    cos: Tensor
    sin: Tensor
    length: int = field(default=0)

    @property
    def capacity(self) -> int:
        """Number of positions: the longest text, prompt and answer together."""
        return self.keys.shape[3]

    def truncate(self, length: int) -> None:
        """Forget all positions from ``length`` on; they will be overwritten."""
        self.length = min(self.length, length)

    def sequences(self, start: int, count: int) -> "KVCache":
        """Return some of the sequences, empty, in the same memory."""
        part = slice(start, start + count)
        return KVCache(self.keys[:, part], self.values[:, part], self.cos, self.sin)


def rotary_table(config: TextConfig, length: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Cosine and signed sine of the rotary angles (Su et al. 2021), float32 [length, head_dim] each.

    The first half of the sine is negative, so that a rotation is ``x · cos + swap_halves(x) · sin``.
    """
    half = torch.arange(0, config.head_dim, 2, dtype=torch.float32, device=device) / config.head_dim
    # Multiplied by the rounded inverse, as in training: a division would move far positions by 1e-4 radians.
    angles = torch.arange(length, dtype=torch.float32, device=device)[:, None] * (1.0 / config.rope_theta**half)
    return torch.cat([angles.cos()] * 2, dim=-1), torch.cat([-angles.sin(), angles.sin()], dim=-1)


def rotate(x: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Apply rotary positions to [..., S, head_dim], with tables [S, head_dim] from ``rotary_table``."""
    return x * cos + x.roll(x.shape[-1] // 2, dims=-1) * sin


class RMSNorm(nn.Module):
    """Root-mean-square norm (Zhang and Sennrich 2019)."""

    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """Map [..., D] to [..., D]."""
        return F.rms_norm(x, self.weight.shape, self.weight, self.eps)


class Attention(nn.Module):
    """Grouped-query attention that appends to the cache."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.head_dim = (
            config.num_attention_heads,
            config.num_key_value_heads,
            config.head_dim,
        )
        self.qkv_proj = Linear(config.hidden_size, (self.heads + 2 * self.kv_heads) * self.head_dim)
        self.o_proj = Linear(self.heads * self.head_dim, config.hidden_size, bias=False)

    def forward(self, x: Tensor, cache: KVCache, layer: int) -> Tensor:
        """Map [1, S, D] to [1, S, D]; positions ``cache.length`` … ``cache.length + S`` of the cache are written."""
        start, end = cache.length, cache.length + x.shape[1]
        qkv = self.qkv_proj(x).view(1, x.shape[1], -1, self.head_dim).transpose(1, 2)  # [1, heads + 2·kv, S, head_dim]
        cos, sin = cache.cos[start:end], cache.sin[start:end]  # [S, head_dim]
        qk = rotate(qkv[:, : self.heads + self.kv_heads], cos, sin)  # [1, heads + kv, S, head_dim]
        cache.keys[layer, :, :, start:end] = qk[:, self.heads :]
        cache.values[layer, :, :, start:end] = qkv[:, self.heads + self.kv_heads :]
        attended = self._attend(qk[:, : self.heads], cache.keys[layer, :, :, :end], cache.values[layer, :, :, :end])
        out: Tensor = self.o_proj(attended.transpose(1, 2).flatten(2))  # [1, S, D]
        return out

    def _attend(self, query: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """Attend from the last S of the T positions: [1, heads, S, head_dim] over [1, kv heads, T, head_dim]."""
        new, filled = query.shape[2], keys.shape[2]
        if new == 1:
            # The queries of a group are the rows of one matrix over their common keys, so that no key is repeated.
            grouped = query.view(1, self.kv_heads, -1, self.head_dim)  # [1, kv heads, group, head_dim]
            return F.scaled_dot_product_attention(grouped, keys, values).reshape(query.shape)
        if new == filled:
            return F.scaled_dot_product_attention(query, keys, values, is_causal=True, enable_gqa=True)
        if query.is_cuda and _flash_serves(query, keys, values):
            # Called directly: scaled_dot_product_attention aligns its causal mask to the first key, not to the last.
            flash: Tensor = torch.ops.aten._scaled_dot_product_flash_attention(query, keys, values, is_causal=True)[0]  # noqa: SLF001
            return flash
        mask = torch.ones(new, filled, dtype=torch.bool, device=query.device).tril(filled - new)
        return F.scaled_dot_product_attention(query, keys, values, attn_mask=mask, enable_gqa=True)


def _flash_serves(query: Tensor, keys: Tensor, values: Tensor) -> bool:
    """Tell whether FlashAttention takes these, with grouped queries and a causal mask aligned to the last key."""
    params = SDPAParams(query, keys, values, None, 0.0, False, True)
    return query.shape[-1] % 8 == 0 and can_use_flash_attention(params)


class MLP(nn.Module):
    """Gated SiLU: down(silu(gate) · up)."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.gate_up_proj = Linear(config.hidden_size, 2 * config.intermediate_size, bias=False)
        self.down_proj = Linear(config.intermediate_size, config.hidden_size, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """Map [1, S, D] to [1, S, D]."""
        gate, up = self.gate_up_proj(x).chunk(2, dim=-1)  # each [1, S, intermediate]
        out: Tensor = self.down_proj(F.silu(gate) * up)
        return out


class DecoderLayer(nn.Module):
    """A pre-norm transformer layer."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.input_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.self_attn = Attention(config)
        self.post_attention_layernorm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.mlp = MLP(config)

    def forward(self, x: Tensor, cache: KVCache, layer: int) -> Tensor:
        """Map [1, S, D] to [1, S, D]."""
        x = x + self.self_attn(self.input_layernorm(x), cache, layer)
        parts = [part + self.mlp(self.post_attention_layernorm(part)) for part in torch.split(x, MLP_POSITIONS, 1)]
        return torch.cat(parts, dim=1) if len(parts) > 1 else parts[0]


def unpack_name(name: str, rows: int, config: TextConfig) -> list[tuple[str, int]]:
    """List the matrices that checkpoints and transformers keep apart and one of our parameters stacks.

    Args:
        name: of a parameter, "layers.0.self_attn.qkv_proj.weight".
        rows: of the parameter.
        config: tells how many rows each part has.

    Returns:
        Name and rows of each part, from the top: "layers.0.self_attn.q_proj.weight" and so on; a parameter that stacks
        nothing is its only part.
    """
    query, key = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
    packed = {
        "qkv_proj": {"q_proj": query, "k_proj": key, "v_proj": key},
        "gate_up_proj": {"gate_proj": config.intermediate_size, "up_proj": config.intermediate_size},
    }
    for ours, parts in packed.items():
        if f".{ours}." in name:
            return [(name.replace(ours, part), part_rows) for part, part_rows in parts.items()]
    return [(name, rows)]


class LanguageModel(nn.Module):
    """Embedding table, decoder layers, final norm and output head."""

    def __init__(self, config: TextConfig) -> None:
        super().__init__()
        self.config = config
        # Given a weight, Embedding skips its initialization, which on the meta device would import torch's compiler.
        table = torch.empty(config.vocab_size, config.hidden_size)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size, _weight=table)
        self.layers = nn.ModuleList(DecoderLayer(config) for _ in range(config.num_hidden_layers))
        self.norm = RMSNorm(config.hidden_size, config.rms_norm_eps)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        if config.tie_word_embeddings:
            self.lm_head.weight = self.embed_tokens.weight

    @property
    def quantize(self) -> str | None:
        """The format of the layers' weights, "int8" or "int4"; None where they are not quantized."""
        return getattr(self.get_submodule("layers.0.mlp.down_proj"), "format", None)

    def bytes_per_token(self, context: int) -> int:
        """Bytes that one decode step must read: the cache of ``context`` positions, and all weights.

        The embedding table counts only where it is the output head too.
        """
        tied = getattr(self.lm_head, "weight", None) is self.embed_tokens.weight
        table = 0 if tied else self.embed_tokens.weight.nbytes
        weights = sum(parameter.nbytes for parameter in self.parameters()) - table
        config = self.config
        values = 2 * config.num_hidden_layers * config.num_key_value_heads * config.head_dim * context
        return weights + values * self.norm.weight.itemsize

    def allocate_cache(self, capacity: int, sequences: int = 1) -> KVCache:
        """Make an empty cache of ``capacity`` positions on the model's device, for one sequence or for several."""
        config, weight = self.config, self.norm.weight
        shape = (config.num_hidden_layers, sequences, config.num_key_value_heads, capacity, config.head_dim)
        cos, sin = rotary_table(config, capacity, weight.device)
        keys, values = weight.new_empty(2, *shape)
        return KVCache(keys, values, cos.to(weight.dtype), sin.to(weight.dtype))

    def grow_cache(self, cache: KVCache, capacity: int) -> KVCache:
        """Return a cache of ``capacity`` positions that begins with a copy of the filled ones of ``cache``."""
        grown = self.allocate_cache(capacity)
        grown.keys[:, :, :, : cache.length] = cache.keys[:, :, :, : cache.length]
        grown.values[:, :, :, : cache.length] = cache.values[:, :, :, : cache.length]
        grown.length = cache.length
        return grown

    def forward(self, inputs_embeds: Tensor, cache: KVCache, last: int = 1) -> Tensor:
        """Append S positions [1, S, D] to the cache.

        Returns:
            The logits after each of the ``last`` positions, [last, vocab_size].
        """
        x = inputs_embeds
        for index, layer in enumerate(self.layers):
            x = layer(x, cache, index)
        cache.length += x.shape[1]
        logits: Tensor = self.lm_head(self.norm(x[0, -last:]))  # [last, vocab_size]
        return logits
