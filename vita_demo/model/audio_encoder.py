"""The "whale" audio encoder and its adapter: filter-bank frames to language-model positions.

Knows log-mel frames [N, T, mel bins].  The clips of one call have the same length; only where a clip is padded to the
length of a captured call is there a mask.
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.checkpoint.config import AudioConfig
from vita_demo.errors import ConfigError


class MeanVariance(nn.Module):
    """Global mean and variance normalization (CMVN) of the filter bank, kept in float32."""

    mean: Tensor
    istd: Tensor

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.register_buffer("mean", torch.empty(config.num_mel_bins, dtype=torch.float32))
        self.register_buffer("istd", torch.empty(config.num_mel_bins, dtype=torch.float32))

    def forward(self, fbank: Tensor) -> Tensor:
        """Map float32 [N, T, mel bins] to the same shape."""
        return (fbank - self.mean) * self.istd


def convolve(conv: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a convolution without padding; on a GPU as a matrix product, as cuDNN would plan each new length."""
    return convolve_by_product(conv, x) if x.is_cuda else conv(x)


def convolve_by_product(conv: nn.Conv1d | nn.Conv2d, x: Tensor) -> Tensor:
    """Map [N, C, …, T] to [N, D, …, T'], with one time axis or two axes."""
    flat = x.dim() == 3
    kernel, stride = (((1, *pair) if flat else pair) for pair in (conv.kernel_size, conv.stride))
    x = x.unsqueeze(2) if flat else x  # [N, C, height, width]
    rows, columns = ((x.shape[2 + axis] - kernel[axis]) // stride[axis] + 1 for axis in (0, 1))
    windows = F.unfold(x, kernel, stride=stride)  # [N, C · kernel, rows · columns]
    out = F.linear(windows.mT, conv.weight.flatten(1), conv.bias).mT  # [N, D, rows · columns]
    return out if flat else out.view(len(out), -1, rows, columns)


class Subsampling(nn.Module):
    """Two stride-2 convolutions over time and frequency: one vector for every four frames."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width, bins = config.hidden_size, config.num_mel_bins
        self.conv = nn.Sequential(nn.Conv2d(1, width, 3, 2), nn.ReLU(), nn.Conv2d(width, width, 3, 2), nn.ReLU())
        self.out = nn.Sequential(nn.Linear(width * (((bins - 1) // 2 - 1) // 2), width))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, T, mel bins] to [N, T/4, D]."""
        x = x.unsqueeze(1)  # [N, 1, T, bins]
        for layer in self.conv:
            x = convolve(layer, x) if isinstance(layer, nn.Conv2d) else layer(x)  # [N, D, T/4, bins/4]
        out: Tensor = self.out(x.transpose(1, 2).flatten(2))  # [N, T/4, D]
        return out


class RelativeAttention(nn.Module):
    """Self-attention with Transformer-XL's position terms, without its relative shift.

    Without the shift, positions are the absolute sinusoids p of the frames.  The scores (q + u)·k + (q + v)·p are then
    one dot product of [q + u, q + v] and [k, p], so that one call of scaled_dot_product_attention computes it all.
    """

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width, heads = config.hidden_size, config.num_attention_heads
        self.linear_q = nn.Linear(width, width)
        self.linear_k = nn.Linear(width, width)
        self.linear_v = nn.Linear(width, width)
        self.linear_out = nn.Linear(width, width)
        self.linear_pos = nn.Linear(width, width, bias=False)
        self.pos_bias_u = nn.Parameter(torch.empty(heads, width // heads))
        self.pos_bias_v = nn.Parameter(torch.empty(heads, width // heads))

    def forward(self, x: Tensor, positions: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map [N, T, D], with ``positions`` [1, T, D], to [N, T, D]; a ``bias`` [T] is added to the keys' scores."""
        heads, head_dim = self.pos_bias_u.shape
        shape = (len(x), -1, heads, head_dim)
        q, k, v = self.linear_q(x).view(shape), self.linear_k(x).view(shape), self.linear_v(x).view(shape)
        p = self.linear_pos(positions).view(1, -1, heads, head_dim).expand(shape[0], -1, -1, -1)
        query = torch.cat([q + self.pos_bias_u, q + self.pos_bias_v], dim=-1)  # [N, T, heads, 2·head_dim]
        key = torch.cat([k, p], dim=-1)  # [N, T, heads, 2·head_dim]
        query, key, v = query.transpose(1, 2), key.transpose(1, 2), v.transpose(1, 2)  # each [N, heads, T, …]
        mask = None if bias is None else bias.expand(*query.shape[:3], -1)  # [N, heads, T, T]
        attended = F.scaled_dot_product_attention(
            query, key, v, attn_mask=mask, scale=1 / math.sqrt(head_dim)
        )  # [N, heads, T, head_dim]
        out: Tensor = self.linear_out(attended.transpose(1, 2).flatten(2))  # [N, T, D]
        return out


class FeedForward(nn.Module):
    """Linear, ReLU, Linear."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.w_1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.w_2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, T, D] to [N, T, D]."""
        out: Tensor = self.w_2(F.relu(self.w_1(x)))
        return out


class AudioLayer(nn.Module):
    """A pre-norm transformer layer; with ``concat_after`` a linear layer joins input and attention."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size)
        self.self_attn = RelativeAttention(config)
        self.concat_linear = nn.Linear(2 * config.hidden_size, config.hidden_size) if config.concat_after else None
        self.norm2 = nn.LayerNorm(config.hidden_size)
        self.feed_forward = FeedForward(config)

    def forward(self, x: Tensor, positions: Tensor, bias: Tensor | None = None) -> Tensor:
        """Map [N, T, D] to [N, T, D]."""
        normed = self.norm1(x)
        attended = self.self_attn(normed, positions, bias)
        if self.concat_linear is not None:
            attended = self.concat_linear(torch.cat([normed, attended], dim=-1))  # [N, T, D]
        x = x + attended
        x = x + self.feed_forward(self.norm2(x))
        return x


class Adapter(nn.Module):
    """A right-padded stride-2 convolution, a norm, an activation, and a projection to the language model's width."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        if 4 * config.hidden_size < config.output_size:
            raise ConfigError(
                f"an audio adapter from width {config.hidden_size} to {config.output_size} has two convolutions, "
                "which VITA-1.5 does not use and this package does not implement"
            )
        if config.adapter_norm not in ("layer", "batch") or config.adapter_activation not in ("relu", "gelu"):
            raise ConfigError(
                f"audio adapter norm {config.adapter_norm!r} with activation {config.adapter_activation!r} "
                "is not implemented; train.yaml may set norm layer or batch and activation_func relu or gelu"
            )
        self.padding = config.adapter_kernel_size - 1
        self.activation = F.relu if config.adapter_activation == "relu" else F.gelu
        width = 2 * config.hidden_size
        self.conv1d2 = nn.Conv1d(config.hidden_size, width, config.adapter_kernel_size, 2)
        # The original sets eps 1e-3 for both norms.
        self.bn2 = nn.LayerNorm(width, eps=1e-3) if config.adapter_norm == "layer" else nn.BatchNorm1d(width, eps=1e-3)
        self.project = nn.Linear(width, config.output_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, T, D] to [N, T/2, language-model width]."""
        x = convolve(self.conv1d2, F.pad(x.transpose(1, 2), (0, self.padding)))  # [N, 2·D, T/2]
        batch = isinstance(self.bn2, nn.BatchNorm1d)
        x = self.bn2(x).transpose(1, 2) if batch else self.bn2(x.transpose(1, 2))  # [N, T/2, 2·D]
        out: Tensor = self.project(self.activation(x))
        return out


class AudioEncoder(nn.Module):
    """CMVN, subsampling, embedding, transformer, adapter."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.cmvn = MeanVariance(config)
        self.subsampling = Subsampling(config)
        self.embed = nn.Sequential(nn.Linear(width, width), nn.LayerNorm(width), nn.ReLU())
        self.encoders = nn.ModuleList(AudioLayer(config) for _ in range(config.num_hidden_layers))
        self.after_norm = nn.LayerNorm(width)
        self.adapter = Adapter(config)

    def forward(self, fbank: Tensor, last: Tensor | None = None) -> Tensor:
        """Encode a clip's filter bank [N, T, mel bins] to [N, P, language-model width], P = ``config.positions(T)``.

        Frames after that with the index ``last`` [1] are padding.  They change nothing before them, and positions that
        are theirs alone mean nothing.
        """
        dtype = self.after_norm.weight.dtype
        x = self.subsampling(self.cmvn(fbank).to(dtype))  # [N, T/4, D]
        x = self.embed(x) * math.sqrt(self.config.hidden_size)
        positions = sinusoids(x.shape[1], x.shape[2], x.device).to(dtype)
        padding = bias = None
        if last is not None:
            # The two convolutions of ``subsampling`` leave (⌊last / 2⌋ - 1) / 2 positions of the clip.
            padding = torch.arange(x.shape[1], device=x.device) >= (last // 2 - 1) // 2  # [T/4]
            bias = x.new_zeros(x.shape[1]).masked_fill(padding, float("-inf"))  # [T/4]
        for layer in self.encoders:
            x = layer(x, positions, bias)
        x = self.after_norm(x)
        if padding is not None:
            # The adapter sees zeros after the last position.
            x = x.masked_fill(padding[:, None], 0)
        out: Tensor = self.adapter(x)  # [N, P, language-model width]
        return out


def sinusoids(length: int, width: int, device: torch.device) -> Tensor:
    """Sinusoidal positions, sine and cosine interleaved (Vaswani et al. 2017, section 3.5).

    Returns:
        float32 [1, length, width].
    """
    position = torch.arange(length, dtype=torch.float32, device=device)[:, None]
    rates = torch.exp(torch.arange(0, width, 2, dtype=torch.float32, device=device) * -(math.log(10000.0) / width))
    angles = position * rates  # [length, width/2]
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)[None]  # [1, length, width]
