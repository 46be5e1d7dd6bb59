"""The names that our tensors have in a released checkpoint.

Upstream's names, with their spelling, appear nowhere else.
"""

from collections.abc import Iterator, Mapping

from torch import Tensor

from vita_demo.checkpoint.config import TextConfig
from vita_demo.model.language_model import unpack_name

# Upstream prefix to ours.  The first match wins, in either direction.
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


def upstream_name(name: str) -> str:
    """Return the upstream name of one of our tensors; of a stacked one, of each part."""
    for upstream, ours in RENAMES.items():
        if name.startswith(ours):
            return upstream + name.removeprefix(ours)
    raise KeyError(name)


def upstream_slices(name: str, target: Tensor, text: TextConfig) -> Iterator[tuple[str, int]]:
    """Yield the upstream tensors that one of ours consists of, from its first row on, each with its number of rows."""
    rows = target.shape[0] if target.dim() else 1
    for part, part_rows in unpack_name(name, rows, text):
        yield upstream_name(part), part_rows
