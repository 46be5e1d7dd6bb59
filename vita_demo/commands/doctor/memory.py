"""How much memory does the model need in each dtype and each quantized format, and which device has it?

The need is the weights, the keys and values of the longest prompt that the model was trained with, and what the
widest step of reading that prompt takes: three copies of the hidden states, and gate, up, their activation and their
product, 4 · intermediate_size values for each of the positions that pass the MLP at once.  Encoders take less than
that.
"""

import math
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vita_demo.checkpoint.config import TextConfig, VitaConfig
from vita_demo.commands.doctor.devices import Device
from vita_demo.commands.doctor.finding import Finding
from vita_demo.errors import ConfigError

GROUP = "Memory"
_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# What is not quantized is counted in this dtype.
_BESIDE = "bfloat16"
_FORMATS = ("int8", "int4")


@dataclass(frozen=True)
class MemoryNeed:
    """What the model takes in one dtype, or quantized.

    Attributes:
        dtype: as --dtype takes it.
        quantize: as --quantize takes it; None where nothing is quantized.
        weights_bytes: all three towers.
        cache_bytes_per_1000: keys and values of 1,000 positions.
        working_bytes: what reading the prompt takes beside them, at its widest.
        total_bytes: all of it, for the table's number of positions.
    """

    dtype: str
    quantize: str | None
    weights_bytes: int
    cache_bytes_per_1000: int
    working_bytes: int
    total_bytes: int

    @property
    def name(self) -> str:
        """What to call it in a table."""
        return self.quantize or self.dtype

    @property
    def flags(self) -> str:
        """What to give on the command line."""
        return f"--quantize {self.quantize}" if self.quantize else f"--dtype {self.dtype}"


@dataclass(frozen=True)
class MemoryTable:
    """Needs against devices.

    Attributes:
        parameters: values in the model.
        positions: length of the prompt that is counted.
        needs: one for each dtype, then one for each quantized format that the model's shape allows.
        devices: what there is.
    """

    parameters: int
    positions: int
    needs: tuple[MemoryNeed, ...]
    devices: tuple[Device, ...]

    @classmethod
    def of(cls, parameters: int, config: VitaConfig, devices: tuple[Device, ...]) -> "MemoryTable":
        """Compute the needs of a model of so many ``parameters``."""
        positions = min(config.trained_positions, config.text.max_position_embeddings)
        weights = {(dtype, ""): parameters * item_bytes for dtype, item_bytes in _ITEM_BYTES.items()}
        for quantize in _FORMATS:
            with suppress(ConfigError):
                saved = _saved_bytes(config.text, quantize)
                weights[_BESIDE, quantize] = weights[_BESIDE, ""] - saved
        needs = tuple(_need(*kind, size, config.text, positions) for kind, size in weights.items())
        return cls(parameters, positions, needs, devices)

    def need(self, name: str) -> MemoryNeed:
        """Return the need in one dtype or format."""
        return next(need for need in self.needs if need.name == name)

    def to_dict(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {
            "parameters": self.parameters,
            "positions": self.positions,
            "devices": [vars(device) for device in self.devices],
            "needs": [
                {**vars(need), "fits": {device.name: need.total_bytes <= device.free_bytes for device in self.devices}}
                for need in self.needs
            ],
        }


def _saved_bytes(text: TextConfig, quantize: str) -> int:
    from vita_demo.model.quantize.replace import weights_bytes

    item_bytes = _ITEM_BYTES[_BESIDE]
    return weights_bytes(text, None, item_bytes) - weights_bytes(text, quantize, item_bytes)


def _need(dtype: str, quantize: str, weights: int, text: TextConfig, positions: int) -> MemoryNeed:
    from vita_demo.model.language_model import MLP_POSITIONS

    item_bytes = _ITEM_BYTES[dtype]
    cache = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * item_bytes  # of one position
    mlp = 4 * text.intermediate_size * min(positions, MLP_POSITIONS)
    working = (mlp + 3 * text.hidden_size * positions) * item_bytes
    total = weights + positions * cache + working
    return MemoryNeed(dtype, quantize or None, weights, 1000 * cache, working, total)


def count_parameters(config: VitaConfig) -> int:
    """Count the values of the model that the settings describe, for a checkpoint whose files are not all there."""
    import torch

    from vita_demo.model.vita import VitaModel

    with torch.device("meta"):
        model = VitaModel(config)
    return sum(math.prod(tensor.shape) for tensor in (*model.parameters(), *model.buffers()))


def check_memory(table: MemoryTable, declared_dtype: str, counted_in: str) -> Iterator[Finding]:
    """Say where the model fits: as the demo would choose by itself, else with which flags, else nowhere."""
    from vita_demo.engine.device import resolve_device, resolve_dtype

    yield Finding(GROUP, "ok", f"{table.parameters:,} values, counted in {counted_in}")
    where = resolve_device("auto")
    dtype = str(resolve_dtype("auto", declared_dtype, where, table.parameters)).removeprefix("torch.")
    name = "cpu" if where.type == "cpu" else "cuda:0"
    device = next((device for device in table.devices if device.name == name), table.devices[0])
    need = table.need(dtype)
    chosen = f"by default it runs in {dtype} on {device.name}"
    sizes = f"about {gigabytes(need.total_bytes)} needed, {gigabytes(device.free_bytes)} free"
    if need.total_bytes <= device.free_bytes:
        yield Finding(GROUP, "ok", f"{chosen}: {sizes}")
        return
    fitting = [(n, d) for d in reversed(table.devices) for n in table.needs if n.total_bytes <= d.free_bytes]
    if fitting:
        other, place = fitting[0]
        yield Finding(GROUP, "note", f"{chosen}, too much: {sizes}", f"give --device {place.name} {other.flags}")
    else:
        least = min(need.total_bytes for need in table.needs)
        most = max(device.free_bytes for device in table.devices)
        text = f"it fits on no device: about {gigabytes(least)} are needed, at most {gigabytes(most)} are free"
        yield Finding(GROUP, "problem", text, "end other programs, or take a machine with more memory")


def gigabytes(size_bytes: int) -> str:
    """Write a size for people: in GB, or in MB where that would be less than one."""
    return f"{size_bytes / 1e9:.1f} GB" if size_bytes >= 1e9 else f"{size_bytes / 1e6:.1f} MB"
