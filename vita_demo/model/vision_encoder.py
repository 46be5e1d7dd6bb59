"""InternViT: 448-pixel tiles to features.

Knows pixels and patches.  It returns what the projector takes: as in the original, the class token is dropped, there is
no final norm, features are halved, and 2 × 2 patches are joined.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.checkpoint.config import VisionConfig


class VisionAttention(nn.Module):
    """Multi-head self-attention over the patches of one tile."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.num_heads = config.num_attention_heads
        self.qkv = nn.Linear(config.hidden_size, 3 * config.hidden_size, bias=config.qkv_bias)
        self.proj = nn.Linear(config.hidden_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, P, D] to [N, P, D]."""
        n, patches, width = x.shape
        qkv = self.qkv(x).view(n, patches, 3, self.num_heads, -1)  # [N, P, 3, heads, head_dim]
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each [N, heads, P, head_dim]
        attended = F.scaled_dot_product_attention(q, k, v)
        out: Tensor = self.proj(attended.transpose(1, 2).reshape(n, patches, width))  # [N, P, D]
        return out


class VisionMLP(nn.Module):
    """Linear, exact GELU, Linear."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.fc1 = nn.Linear(config.hidden_size, config.intermediate_size)
        self.fc2 = nn.Linear(config.intermediate_size, config.hidden_size)

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, P, D] to [N, P, D]."""
        out: Tensor = self.fc2(F.gelu(self.fc1(x)))
        return out


class VisionLayer(nn.Module):
    """A pre-norm transformer layer with a learned scale on each branch."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.attn = VisionAttention(config)
        self.ls1 = nn.Parameter(torch.empty(config.hidden_size))
        self.norm2 = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps)
        self.mlp = VisionMLP(config)
        self.ls2 = nn.Parameter(torch.empty(config.hidden_size))

    def forward(self, x: Tensor) -> Tensor:
        """Map [N, P, D] to [N, P, D]."""
        x = torch.addcmul(x, self.attn(self.norm1(x)), self.ls1)
        return torch.addcmul(x, self.mlp(self.norm2(x)), self.ls2)


class VisionEmbeddings(nn.Module):
    """Patches as vectors, a class token in front, learned positions."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.patch_embedding = nn.Conv2d(3, config.hidden_size, config.patch_size, config.patch_size)
        self.class_embedding = nn.Parameter(torch.empty(1, 1, config.hidden_size))
        self.position_embedding = nn.Parameter(torch.empty(1, config.grid_size**2 + 1, config.hidden_size))

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Map [N, 3, S, S] to [N, 1 + P, D]."""
        # A matrix product, as the patches do not overlap: cuDNN would plan the convolution for each number of tiles.
        size = self.patch_embedding.kernel_size[0]
        pixels = pixel_values.unfold(2, size, size).unfold(3, size, size)  # [N, 3, rows, columns, size, size]
        pixels = pixels.permute(0, 2, 3, 1, 4, 5).flatten(3).flatten(1, 2)  # [N, P, 3 · size²]
        patches = F.linear(pixels, self.patch_embedding.weight.flatten(1), self.patch_embedding.bias)  # [N, P, D]
        class_token = self.class_embedding.expand(len(patches), -1, -1)
        return torch.cat([class_token, patches], dim=1) + self.position_embedding  # [N, 1 + P, D]


class VisionEncoder(nn.Module):
    """InternViT up to the projector."""

    def __init__(self, config: VisionConfig) -> None:
        super().__init__()
        self.config = config
        self.embeddings = VisionEmbeddings(config)
        self.layers = nn.ModuleList(VisionLayer(config) for _ in range(config.num_hidden_layers))

    def normalize(self, tiles: Tensor) -> Tensor:
        """Scale 8-bit tiles [N, S, S, 3] by 1/255 and whiten each channel.

        Returns:
            float32 pixel_values [N, 3, S, S] on the device of ``tiles``, bit for bit those of CLIP's processor.
        """
        mean = torch.tensor(self.config.image_mean).to(tiles.device)
        std = torch.tensor(self.config.image_std).to(tiles.device)
        return ((tiles.float() / 255 - mean) / std).permute(0, 3, 1, 2)  # [N, 3, S, S]

    def forward(self, pixel_values: Tensor) -> Tensor:
        """Encode whitened tiles [N, 3, S, S] to features [N, P/4, 4·D]."""
        x = self.embeddings(pixel_values)  # [N, 1 + P, D]
        for layer in self.layers:
            x = layer(x)
        return join_patches(0.5 * x[:, 1:], self.config.grid_size)


def join_patches(x: Tensor, grid_size: int) -> Tensor:
    """Join each 2 × 2 block of patches into one vector (InternVL's pixel shuffle, second version).

    Args:
        x: [N, grid_size², D].
        grid_size: patches along one side; even.

    Returns:
        [N, grid_size² / 4, 4·D].
    """
    n, _, width = x.shape
    half = grid_size // 2
    blocks = x.view(n, half, 2, half, 2, width)  # [N, rows, 2, columns, 2, D]
    return blocks.transpose(2, 3).reshape(n, half * half, 4 * width)  # [N, P/4, 4·D]
