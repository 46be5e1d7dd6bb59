"""Checks how much memory the model needs in each dtype and quantized format, and on which device it fits.

Counted are the weights, the KV cache of the longest prompt that the model was trained with, and the temporaries of
the prefill of that prompt where they are largest: three copies of the hidden states, and in the MLP gate, up,
activation and product, 4 × intermediate_size values for each position of one call.  The encoders need less than that.
"""

import math
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from vita_demo.checkpoint.config import TextConfig, VitaConfig
from vita_demo.commands.doctor.checkpoint import Weights, count_parameters
from vita_demo.commands.doctor.devices import Device
from vita_demo.commands.doctor.finding import MEMORY, Finding, gigabytes
from vita_demo.engine.device import resolve_device, resolve_dtype
from vita_demo.errors import ConfigError
from vita_demo.model.language_model import MLP_POSITIONS
from vita_demo.model.quantize.replace import weights_bytes

_ITEM_BYTES = {"float32": 4, "bfloat16": 2, "float16": 2}
# The dtype of the tensors that a quantized model does not quantize.
_UNQUANTIZED = "bfloat16"
_FORMATS = ("int8", "int4")


@dataclass(frozen=True)
class MemoryNeed:
    """The memory that the model needs in one dtype, or quantized.

    Attributes:
        dtype: as --dtype takes it.
        quantize: as --quantize takes it; None where nothing is quantized.
        weights_bytes: language model and encoders.
        cache_bytes_per_1000: KV cache of 1,000 positions.
        working_bytes: temporaries of the prefill, at their largest.
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
        """The heading of its column."""
        return self.quantize or self.dtype


@dataclass(frozen=True)
class MemoryTable:
    """Needs and devices.

    Attributes:
        parameters: number of the model's values.
        positions: length of the prompt that is counted.
        needs: one for each dtype, then one for each quantized format that the model's shape allows.
        devices: what is free where.
    """

    parameters: int
    positions: int
    needs: tuple[MemoryNeed, ...]
    devices: tuple[Device, ...]

    @classmethod
    def of(cls, parameters: int, config: VitaConfig, devices: tuple[Device, ...]) -> "MemoryTable":
        """Compute the needs of a model with so many ``parameters``."""
        text, item_bytes = config.text, _ITEM_BYTES[_UNQUANTIZED]
        positions = min(config.trained_positions, text.max_position_embeddings)
        needs = [_need(dtype, None, size * parameters, text, positions) for dtype, size in _ITEM_BYTES.items()]
        for quantize in _FORMATS:
            with suppress(ConfigError):
                saved = weights_bytes(text, None, item_bytes) - weights_bytes(text, quantize, item_bytes)
                needs.append(_need(_UNQUANTIZED, quantize, item_bytes * parameters - saved, text, positions))
        return cls(parameters, positions, tuple(needs), devices)

    def need(self, name: str) -> MemoryNeed:
        """Return the need in one dtype or format."""
        return next(need for need in self.needs if need.name == name)

    def to_dict(self) -> dict[str, Any]:
        """Return everything, as written to JSON."""
        return {
            **vars(self),
            "devices": [vars(device) for device in self.devices],
            "needs": [
                {**vars(need), "fits": {device.name: need.total_bytes <= device.free_bytes for device in self.devices}}
                for need in self.needs
            ],
        }


def _need(dtype: str, quantize: str | None, weights: int, text: TextConfig, positions: int) -> MemoryNeed:
    item_bytes = _ITEM_BYTES[dtype]
    cache = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * item_bytes  # of one position
    mlp = 4 * text.intermediate_size * min(positions, MLP_POSITIONS)
    working = (mlp + 3 * text.hidden_size * positions) * item_bytes
    total = weights + positions * cache + working
    return MemoryNeed(dtype, quantize, weights, 1000 * cache, working, total)


def check_memory(
    findings: list[Finding], config: VitaConfig, weights: Weights, devices: tuple[Device, ...]
) -> MemoryTable:
    """Return what the model needs, and report where it fits."""
    if weights.complete:
        parameters = sum(math.prod(tensor.shape) for tensor in weights.tensors.values())
        counted_in = "the weight files' headers"
    else:
        parameters, counted_in = count_parameters(config), "the settings, as weight files are missing or damaged"
    findings.append(Finding(MEMORY, "ok", f"{parameters:,} values, counted in {counted_in}"))
    table = MemoryTable.of(parameters, config, devices)
    findings.append(check_fit(table, config.torch_dtype))
    return table


def check_fit(table: MemoryTable, declared_dtype: str) -> Finding:
    """Report whether the model fits by default; if not, with which flags it does.

    Args:
        table: needs and devices.
        declared_dtype: the dtype that the checkpoint declares.
    """
    where = resolve_device("auto")
    dtype = str(resolve_dtype("auto", declared_dtype, where, table.parameters)).removeprefix("torch.")
    name = "cpu" if where.type == "cpu" else "cuda:0"
    device = next((device for device in table.devices if device.name == name), table.devices[0])
    need = table.need(dtype)
    default = f"by default it runs in {dtype} on {device.name}"
    sizes = f"about {gigabytes(need.total_bytes)} needed, {gigabytes(device.free_bytes)} free"
    if need.total_bytes <= device.free_bytes:
        return Finding(MEMORY, "ok", f"{default}: {sizes}")
    fitting = [(n, d) for d in reversed(table.devices) for n in table.needs if n.total_bytes <= d.free_bytes]
    if fitting:
        other, place = fitting[0]
        flags = f"--quantize {other.quantize}" if other.quantize else f"--dtype {other.dtype}"
        return Finding(MEMORY, "note", f"{default}, too much: {sizes}", f"give --device {place.name} {flags}")
    least = min(need.total_bytes for need in table.needs)
    most = max(device.free_bytes for device in table.devices)
    text = f"it fits on no device: about {gigabytes(least)} are needed, at most {gigabytes(most)} are free"
    return Finding(MEMORY, "problem", text, "end other programs, or take a machine with more memory")
