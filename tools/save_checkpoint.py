"""Writes a model's weights in the released layout, for the miniature's training, benchmarks and tests."""

from pathlib import Path

from huggingface_hub import save_torch_state_dict
from torch import Tensor

from vita_demo.errors import CheckpointError
from vita_demo.model.loading.upstream_names import upstream_slices
from vita_demo.model.vita import VitaModel


def save_checkpoint(model: VitaModel, folder: Path, shard_bytes: int = 5_000_000_000) -> None:
    """Write the weights under their upstream names, in one file or in shards of at most ``shard_bytes``.

    The caller copies the small files of the released layout (settings, tokenizer) beside them.

    Raises:
        CheckpointError: when the weights are quantized, for which the layout has no form.
    """
    if model.quantize is not None:
        raise CheckpointError(f"weights in {model.quantize} cannot be saved; load the model without quantizing it")
    tensors: dict[str, Tensor] = {}
    for name, target in [*model.named_parameters(), *model.named_buffers()]:
        row = 0
        for upstream, rows in upstream_slices(name, target, model.config.text):
            # A copy: tensors that share memory would be taken for one.
            tensors[upstream] = (target[row : row + rows] if target.dim() else target).detach().cpu().clone()
            row += rows
    folder.mkdir(parents=True, exist_ok=True)
    save_torch_state_dict(tensors, folder, max_shard_size=shard_bytes)
