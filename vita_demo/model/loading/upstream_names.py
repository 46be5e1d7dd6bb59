"""What upstream calls our tensors, and which of its matrices we keep merged.

Its names and its spelling appear nowhere else.
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from vita_demo.checkpoint.config import TextConfig

# Upstream prefix to ours; the first that fits wins, in either direction.
RENAMES: Mapping[str, str] = {
    "model.vision_tower.vision_tower.embeddings.": "vision_encoder.embeddings.",
    "model.vision_tower.vision_tower.encoder.": "vision_encoder.",
    "model.mm_projector.": "projector.",
    "model.audio_encoder.adpter.": "audio_encoder.adapter.",
    "model.audio_encoder.encoder.global_cmvn.": "audio_encoder.cmvn.",
    "model.audio_encoder.encoder.enc.0.core.": "audio_encoder.subsampling.",
    "model.audio_encoder.encoder.enc.1.": "audio_encoder.",
    "lm_head.": "language_model.lm_head.",
    "model.": "language_model.",
}
# Our merged matrix to the upstream ones that stand in it, one below the other.
FUSED: Mapping[str, tuple[str, ...]] = {
    "self_attn.qkv_proj.": ("self_attn.q_proj.", "self_attn.k_proj.", "self_attn.v_proj."),
    "mlp.gate_up_proj.": ("mlp.gate_proj.", "mlp.up_proj."),
}


def upstream_name(name: str) -> str:
    """Return the upstream name of one of our tensors that is not merged."""
    for upstream, ours in RENAMES.items():
        if name.startswith(ours):
            return upstream + name.removeprefix(ours)
    raise KeyError(name)


def sources(name: str, target: Tensor, text: TextConfig) -> Iterator[tuple[str, int]]:
    """Yield the upstream tensors that make up one of ours, each with its number of rows."""
    rows = target.shape[0] if target.dim() else 1
    for ours, parts in FUSED.items():
        if ours not in name or not name.startswith("language_model."):
            continue
        kv = text.num_key_value_heads * text.head_dim
        heights = (rows - 2 * kv, kv, kv) if len(parts) == 3 else (rows // 2, rows // 2)
        for part, height in zip(parts, heights, strict=True):
            yield upstream_name(name.replace(ours, part)), height
        return
    yield upstream_name(name), rows
