"""The embedded model: a miniature in the released layout, for trying everything without a download.

Its weights are random numbers from a fixed seed, so its words mean nothing; what it shows is the machinery.  They are
drawn at first use and kept in the user's cache folder.
"""

import hashlib
import json
import os
import shutil
import tempfile
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from vita_demo.resources import resource

if TYPE_CHECKING:
    from vita_demo.model.vita import VitaModel

_SEED = 15


def embedded_checkpoint() -> Path:
    """Return the miniature's folder, made first if need be.

    The folder's name holds a digest of everything it is made from, so that a new version never meets an old cache.
    """
    source = resource("assets", "miniature")
    digest = hashlib.sha256(Path(__file__).read_bytes())
    for file in sorted(source.rglob("*")):
        if file.is_file():
            digest.update(file.read_bytes())
    name = f"miniature-{digest.hexdigest()[:12]}"
    for parent in cache_folders():
        folder = parent / name
        if (folder / "model.safetensors").is_file():
            return folder
        try:
            parent.mkdir(parents=True, exist_ok=True)
            return _make(source, folder)
        except PermissionError:
            continue
    return _make(source, Path(tempfile.mkdtemp(prefix="vita-demo-")) / name)


def cache_folders() -> list[Path]:
    """Return where files may be kept between runs, the best place first."""
    from platformdirs import user_cache_path

    own = os.environ.get("VITA_DEMO_CACHE")
    return (
        [Path(own).expanduser()] if own else [user_cache_path("vita-demo"), Path(tempfile.gettempdir()) / "vita-demo"]
    )


def _make(source: Path, folder: Path) -> Path:
    """Write beside the target and rename, so that two first runs at once do not see each other's halves."""
    import torch

    from vita_demo.config import VitaConfig
    from vita_demo.model.checkpoint import save_checkpoint
    from vita_demo.model.vita import VitaModel

    draft = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".draft-"))
    try:
        shutil.copytree(source, draft, dirs_exist_ok=True)
        model = VitaModel(VitaConfig.from_pretrained(source))
        draw_weights(model)
        save_checkpoint(model.to(torch.float16), draft)
        draft.rename(folder)
    except OSError:
        if not (folder / "model.safetensors").is_file():
            raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return folder


def draw_weights(model: "VitaModel") -> None:
    """Fill the model with numbers drawn from numpy's frozen stream, keyed by the tensor's name.

    Output rows of special tokens and of bytes that are no ASCII character stay zero, so that a greedy answer is
    readable and ends at its length.
    """
    import torch

    readable = _readable_rows(model.config.text.vocab_size)
    mean, istd = _cmvn()
    for name, tensor in [*model.named_parameters(), *model.named_buffers()]:
        rng = np.random.RandomState((zlib.crc32(name.encode()) + _SEED) % 2**32)
        values = rng.standard_normal(tuple(tensor.shape))
        if name.startswith("audio_encoder.cmvn."):
            values = mean if name.endswith("mean") else istd
        elif name.endswith("lm_head.weight"):
            values *= readable[:, None] * 2 / np.sqrt(tensor.shape[1])
        elif name.endswith("bias") or "position_embedding" in name or "pos_bias" in name:
            values *= 0.1
        elif tensor.dim() == 1:
            values = 1 + 0.1 * values
        elif "embed_tokens" not in name:
            values *= 1.5 / np.sqrt(np.prod(tensor.shape[1:]))
        tensor.data.copy_(torch.from_numpy(np.asarray(values)))


def _readable_rows(vocab_size: int) -> NDArray[np.float64]:
    rows = np.zeros(vocab_size)
    vocab = json.loads(resource("assets", "miniature", "vocab.json").read_text(encoding="utf-8"))
    for token, row in vocab.items():
        # "Ġ" and "Ċ" stand for space and line end in a byte-level vocabulary.
        rows[row] = token.replace("Ġ", " ").replace("Ċ", "\n").isascii()
    return rows


def _cmvn() -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    stats = json.loads(resource("assets", "miniature", "audio-encoder", "global_cmvn").read_text())
    mean = np.array(stats["mean_stat"]) / stats["frame_num"]
    variance = np.array(stats["var_stat"]) / stats["frame_num"] - mean**2
    return mean, 1 / np.sqrt(variance)
