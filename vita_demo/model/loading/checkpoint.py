"""Reads the weights of a checkpoint in the released layout into a model.

Loading is strict: every stored tensor must have a parameter or buffer of the model, and vice versa.
"""

import math
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock
from typing import NoReturn, TypeVar

import torch
from torch import Tensor, nn

from vita_demo.checkpoint.config import VitaConfig, read_json
from vita_demo.errors import CheckpointError
from vita_demo.model.loading.safetensors_file import StoredTensor, read_header
from vita_demo.model.loading.upstream_names import upstream_slices
from vita_demo.model.quantize.linear import QuantizedLinear, row_blocks
from vita_demo.model.quantize.replace import replace_linears
from vita_demo.model.vita import VitaModel

INDEX = "model.safetensors.index.json"
SINGLE = "model.safetensors"
_EMBEDDING, _HEAD = "model.embed_tokens.weight", "lm_head.weight"
_READERS = 4

Model = TypeVar("Model", bound=VitaModel)
Progress = Callable[[int, int], None]
Plan = list[tuple[str, slice, StoredTensor]]
"""For each stored tensor: the name of the model's tensor that it belongs to, the rows that it fills, and itself."""


@dataclass(frozen=True)
class TensorProblem:
    """A stored tensor that does not fit the model, and why."""

    name: str
    reason: str

    def __str__(self) -> str:
        return f"{self.name} {self.reason}"


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint folder: its headers have been read, its weights have not.

    Attributes:
        folder: its path.
        config: its settings, with the vocabulary cut to the tokenizer's length.
        tensors: every stored tensor by upstream name.
    """

    folder: Path
    config: VitaConfig
    tensors: Mapping[str, StoredTensor]

    @property
    def parameters(self) -> int:
        """The number of stored values."""
        return sum(math.prod(tensor.shape) for tensor in self.tensors.values())

    @classmethod
    def open(cls, folder: Path, config: VitaConfig, vocab_size: int) -> "Checkpoint":
        """Read the headers of a single or sharded safetensors checkpoint; see ``of``.

        Raises:
            CheckpointError: when a file is missing or damaged.
        """
        tensors = {name: tensor for file in _weight_files(folder) for name, tensor in read_header(file).items()}
        return cls.of(folder, config, vocab_size, tensors)

    @classmethod
    def of(cls, folder: Path, config: VitaConfig, vocab_size: int, tensors: Mapping[str, StoredTensor]) -> "Checkpoint":
        """Fit the settings to the stored tensors.

        The vocabulary is cut to the tokenizer's ``vocab_size``, as upstream does, so that padding rows are never
        sampled.  A projector five times as wide as usual makes it a frameCat model.  Embedding table and output head
        that are one may be stored under either name.

        Raises:
            CheckpointError: when the tokenizer has more tokens than the model.
        """
        if vocab_size > config.text.vocab_size:
            raise CheckpointError(
                f"{folder}: the tokenizer has {vocab_size:,} tokens, the model {config.text.vocab_size:,}; "
                "they belong to different checkpoints"
            )
        if config.text.tie_word_embeddings and _EMBEDDING not in tensors and _HEAD in tensors:
            tensors = {_EMBEDDING if name == _HEAD else name: tensor for name, tensor in tensors.items()}
        projector = tensors.get("model.mm_projector.0.weight")
        if projector is not None and len(projector.shape) == 2 and projector.shape[1] == 5 * config.vision.feature_size:
            config = replace(config, mm_hidden_size=projector.shape[1])
        return cls(folder, replace(config, text=replace(config.text, vocab_size=vocab_size)), tensors)

    def load(
        self,
        architecture: type[Model],
        device: torch.device,
        dtype: torch.dtype,
        progress: Progress | None = None,
        quantize: str | None = None,
    ) -> Model:
        """Build a model and read its weights straight to ``device`` and ``dtype``.

        Args:
            architecture: the model's class.
            device: where the weights go.
            dtype: what they become; normalization statistics and counters keep theirs.
            progress: called with the bytes read so far and in all, from several threads.
            quantize: "int8" or "int4" for the language model's matrices, which are never whole in more bits.

        Raises:
            CheckpointError: when a tensor is missing, unexpected or of another shape.
            ConfigError: when a matrix's shape does not fit the quantized format.
        """
        with torch.device("meta"):
            model = architecture(self.config)
        plan, problems = self._plan(model)
        if problems:
            self._refuse(problems)
        quantized = _quantize(model, quantize)
        targets = _materialize(model, device, dtype)
        report = _Counter(progress, sum(stored.size_bytes for _, _, stored in plan))

        def read(item: tuple[str, slice, StoredTensor]) -> None:
            name, rows, stored = item
            if name in quantized:
                quantized[name].quantize(rows, stored.read(device, report))
                return
            target = targets[name].data
            stored.read_into(target[rows] if target.dim() else target, report)

        with torch.inference_mode(), ThreadPoolExecutor(_READERS) as pool:
            for _ in pool.map(read, _in_blocks(plan, quantized)):
                pass
            _finish(model, quantized)
        return model.eval().requires_grad_(False)

    def problems(self) -> list[TensorProblem]:
        """List every tensor that is missing, unexpected or of another shape; no weights are read."""
        with torch.device("meta"):
            return self._plan(VitaModel(self.config))[1]

    def _plan(self, model: VitaModel) -> tuple[Plan, list[TensorProblem]]:
        """Match the model's tensors with the stored ones."""
        plan: Plan = []
        problems, used = [], set()
        for name, target in _targets(model).items():
            row = 0
            for upstream, rows in upstream_slices(name, target, model.config.text):
                stored = self.tensors.get(upstream)
                used.add(upstream)
                expected = (rows, *target.shape[1:]) if target.dim() else ()
                if stored is None:
                    problems.append(TensorProblem(upstream, "is missing"))
                elif self._fits(upstream, stored.shape, expected):
                    cut = stored.rows(slice(rows)) if stored.shape != expected else stored
                    plan.append((name, slice(row, row + rows), cut))
                else:
                    reason = f"has shape {list(stored.shape)} instead of {list(expected)}"
                    problems.append(TensorProblem(upstream, reason))
                row += rows
        tied = {_HEAD} if self.config.text.tie_word_embeddings else set()
        problems += [TensorProblem(name, "is unexpected") for name in self.tensors if name not in used | tied]
        return plan, problems

    def _refuse(self, problems: list[TensorProblem]) -> NoReturn:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(
            f"{self.folder}: {'; '.join(map(str, problems[:3]))}{more}; the files do not make one VITA-1.5 checkpoint "
            f"({'; '.join(self.config.settings_notes)})"
        )

    @staticmethod
    def _fits(upstream: str, stored: tuple[int, ...], expected: tuple[int, ...]) -> bool:
        if upstream in (_HEAD, _EMBEDDING):
            return len(stored) == 2 and stored[0] >= expected[0] and stored[1] == expected[1]
        return stored == expected


@dataclass
class _Counter:
    """Adds up bytes from several threads and reports the sum."""

    progress: Progress | None
    total: int
    done: int = 0

    def __post_init__(self) -> None:
        self.lock = Lock()

    def __call__(self, count: int) -> None:
        with self.lock:
            self.done += count
            if self.progress is not None:
                self.progress(self.done, self.total)


def read_weight_map(folder: Path) -> dict[str, str]:
    """Read the index: the shard of each tensor; empty when there is no index, or a single file, which wins over it.

    Raises:
        CheckpointError: when the index is damaged.
    """
    index = folder / INDEX
    # As in transformers: an index beside a single file is left from an older download.
    if (folder / SINGLE).is_file() or not index.is_file():
        return {}
    weight_map = read_json(index).get("weight_map")
    if not isinstance(weight_map, dict) or not weight_map or {type(name) for name in weight_map.values()} != {str}:
        raise CheckpointError(f"{index} names no shards; download it again")
    return weight_map


def _weight_files(folder: Path) -> list[Path]:
    shards = read_weight_map(folder).values()
    if shards:
        return [folder / name for name in sorted(set(shards))]
    if (folder / SINGLE).is_file():
        return [folder / SINGLE]
    raise CheckpointError(f"{folder} holds no {SINGLE} and no index of shards; download the whole checkpoint")


def _targets(model: nn.Module) -> dict[str, Tensor]:
    return {**dict(model.named_parameters()), **dict(model.named_buffers())}


def _materialize(model: VitaModel, device: torch.device, dtype: torch.dtype) -> dict[str, Tensor]:
    """Allocate every tensor on ``device``; one that is not in the default dtype keeps its own.

    Returns:
        Parameters and buffers by name.
    """
    default = torch.get_default_dtype()
    for module in model.modules():
        for name, parameter in module.named_parameters(recurse=False):
            fixed = parameter.dtype != default
            empty = torch.empty_like(parameter, device=device, dtype=parameter.dtype if fixed else dtype)
            setattr(module, name, nn.Parameter(empty, requires_grad=False))
        for name, buffer in module.named_buffers(recurse=False):
            fixed = buffer.dtype != default or module is model.audio_encoder.cmvn
            setattr(module, name, torch.empty_like(buffer, device=device, dtype=buffer.dtype if fixed else dtype))
    if model.config.text.tie_word_embeddings and isinstance(model.language_model.lm_head, nn.Linear):
        model.language_model.lm_head.weight = model.language_model.embed_tokens.weight
    return _targets(model)


def _quantize(model: VitaModel, quantize: str | None) -> dict[str, QuantizedLinear]:
    """Replace linear layers by quantized ones; return these by the name of the weight that each replaces."""
    layers = replace_linears(model.language_model, quantize) if quantize is not None else {}
    return {f"language_model.{name}.weight": layer for name, layer in layers.items()}


def _in_blocks(plan: Plan, quantized: Mapping[str, QuantizedLinear]) -> Iterator[tuple[str, slice, StoredTensor]]:
    """Cut tensors that will be quantized into blocks of rows, so that little is in memory unquantized at a time."""
    for name, rows, stored in plan:
        if name not in quantized:
            yield name, rows, stored
            continue
        for part in row_blocks(*stored.shape):
            yield name, slice(rows.start + part.start, rows.start + part.stop), stored.rows(part)


def _finish(model: VitaModel, quantized: Mapping[str, QuantizedLinear]) -> None:
    """Quantize a tied output head from the embedding table, and pack all quantized layers for their device."""
    head = quantized.get("language_model.lm_head.weight")
    if head is not None and model.config.text.tie_word_embeddings:
        table = model.language_model.embed_tokens.weight
        for rows in row_blocks(*table.shape):
            head.quantize(rows, table[rows])
    for layer in quantized.values():
        layer.pack()
