"""The decode step in this package's Triton kernels.  Importing this needs Triton."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from vita_demo.model.decode import triton_kernels
from vita_demo.model.decode.torch_step import Attend, TorchStep
from vita_demo.model.language_model import DecoderLayer, RMSNorm
from vita_demo.model.quantize.kernels import triton_products
from vita_demo.model.quantize.linear import QuantizedLinear


class TritonStep(TorchStep):
    """Reads one token of one sequence.

    Six kernels a layer: norms, gate, biases and residuals are part of the matrix products.
    """

    def project(self, layer: DecoderLayer, x: Tensor) -> Tensor:
        """See ``TorchStep``."""
        attention = layer.self_attn
        qkv = multiply(attention.qkv_proj, x, norm=layer.input_layernorm)  # [1, (heads + 2·kv) · head_dim]
        return qkv.view(1, -1, attention.head_dim)  # [1, heads + 2·kv, head_dim]

    def attention(self, position: Tensor) -> Attend:
        """See ``TorchStep``; the kernel reads what is filled only."""
        rotary = self.cache.cos, self.cache.sin
        splits = count_splits(position.device, self.model.config.num_key_value_heads)
        return lambda qkv, keys, values: triton_kernels.attend(qkv[0], rotary, position, keys[0], values[0], splits)

    def finish(self, layer: DecoderLayer, x: Tensor, attended: Tensor) -> Tensor:
        """See ``TorchStep``."""
        x = multiply(layer.self_attn.o_proj, attended, addend=x)  # [1, D]
        gated = multiply(
            layer.mlp.gate_up_proj, x, norm=layer.post_attention_layernorm, gated=True
        )  # [1, intermediate]
        return multiply(layer.mlp.down_proj, gated, addend=x)  # [1, D]

    def predict(self, x: Tensor) -> Tensor:
        """See ``TorchStep``."""
        return multiply(self.model.lm_head, x, norm=self.model.norm)  # [1, vocab_size]


def multiply(
    linear: nn.Linear | QuantizedLinear,
    x: Tensor,
    *,
    norm: RMSNorm | None = None,
    gated: bool = False,
    addend: Tensor | None = None,
) -> Tensor:
    """Multiply one row by a layer's weight, quantized or not; see ``triton_kernels.multiply``.

    The layer's bias is added unless there is another ``addend``.
    """
    bias = linear.bias if addend is None else addend
    weight, eps = (None, 0.0) if norm is None else (norm.weight, norm.eps)
    if not isinstance(linear, QuantizedLinear):
        return triton_kernels.multiply(x, linear.weight, norm=weight, eps=eps, gated=gated, addend=bias)
    products = triton_products(x.device) if linear.by_triton else {}
    if products:
        multiply_one = products[linear.format]
        return multiply_one(x, linear.packed, linear.scales, norm=weight, eps=eps, gated=gated, addend=bias)
    return _multiply_by_operations(linear, x if norm is None else norm(x), gated, bias)


def _multiply_by_operations(linear: QuantizedLinear, x: Tensor, gated: bool, bias: Tensor | None) -> Tensor:
    """Do the same with weights that are packed for another kernel."""
    product = linear.matmul(x).to(x.dtype)  # [1, N], gated [1, 2·N]
    if gated:
        gate, up = product.chunk(2, dim=-1)  # each [1, N]
        product = F.silu(gate) * up  # [1, N]
    return product if bias is None else product + bias


def count_splits(device: torch.device, kv_heads: int) -> int:
    """Return into how many splits attention cuts the cache, a power of two: about one for each of the GPU's SMs."""
    processors = torch.cuda.get_device_properties(device).multi_processor_count if device.type == "cuda" else 8
    return 1 << (max(1, processors // kv_heads).bit_length() - 1)
