"""The least that a stage costs: the products that its shape demands, and the bytes that it must read.

A multiplication and an addition are two operations.  Norms, activations and softmax are not counted.
"""

from dataclasses import dataclass

from benchmarks.machine import Machine
from vita_demo.checkpoint.config import AudioConfig, TextConfig, VitaConfig

# A short question with the system prompt and the roles.
_TEXT_POSITIONS = 64


@dataclass(frozen=True)
class Work:
    """What one stage must do.

    Attributes:
        flop: floating-point operations of its matrix products.
        read_bytes: weights that it reads at least once.
    """

    flop: int
    read_bytes: int

    def floor_s(self, machine: Machine) -> float:
        """Return the seconds below which it cannot be done: arithmetic and reading at the same time."""
        bytes_per_s = max(machine.copy_bytes_per_s, machine.read_bytes_per_s)
        return max(self.flop / machine.matmul_flop_per_s, self.read_bytes / bytes_per_s)


def vision_flop(config: VitaConfig, tiles: int) -> int:
    """Count InternViT and the projector, for so many tiles."""
    vision, width = config.vision, config.text.hidden_size
    patches, hidden = vision.grid_size**2, vision.hidden_size
    positions = patches + 1
    embedding = patches * 3 * vision.patch_size**2 * hidden
    linear = positions * (4 * hidden**2 + 2 * hidden * vision.intermediate_size)
    attention = 2 * positions**2 * hidden
    groups = -(-tiles // config.tiles_per_feature)
    projector = groups * vision.positions_per_tile * (config.mm_hidden_size * width + width**2)
    seen = groups * config.tiles_per_feature
    return 2 * (seen * (embedding + vision.num_hidden_layers * (linear + attention)) + projector)


def audio_flop(config: AudioConfig, frames: int) -> int:
    """Count the audio encoder and its adapter, for so many filter-bank frames."""
    hidden = config.hidden_size
    half_frames, half_bins = _halve(frames), _halve(config.num_mel_bins)
    positions, bins = _halve(half_frames), _halve(half_bins)
    convolutions = 9 * hidden * (half_frames * half_bins + hidden * positions * bins)
    embedding = positions * (bins + 1) * hidden**2
    # Queries, keys, values, positions and output, and what joins them to the input.
    squares = 5 + 2 * config.concat_after
    linear = positions * (squares * hidden**2 + 2 * hidden * config.intermediate_size)
    # Queries and keys are twice as wide as values: content beside position.
    attention = 3 * positions**2 * hidden
    adapted = (positions + 1) // 2
    adapter = adapted * 2 * hidden * (config.adapter_kernel_size * hidden + config.output_size)
    return 2 * (convolutions + embedding + config.num_hidden_layers * (linear + attention) + adapter)


def prefill_flop(config: TextConfig, positions: int) -> int:
    """Count the language model over a prompt: causal attention, and logits for the last position only."""
    width, kv_width = config.hidden_size, config.num_key_value_heads * config.head_dim
    linear = positions * (2 * width**2 + 2 * width * kv_width + 3 * width * config.intermediate_size)
    attention = positions * (positions + 1) * width
    return 2 * (config.num_hidden_layers * (linear + attention) + config.vocab_size * width)


def _halve(length: int) -> int:
    """Return what a convolution of three with stride 2 leaves."""
    return (length - 1) // 2


def step_work(config: TextConfig, context: int, sequences: int, value_bytes: int) -> Work:
    """Return one decode step that several sequences take together, each with a context of so many positions."""
    width, kv_width = config.hidden_size, config.num_key_value_heads * config.head_dim
    layer = 2 * width**2 + 2 * width * kv_width + 3 * width * config.intermediate_size
    weights = config.num_hidden_layers * layer + config.vocab_size * width
    cached = sequences * context * 2 * config.num_hidden_layers * kv_width
    attention = sequences * 4 * context * width * config.num_hidden_layers
    return Work(2 * weights * sequences + attention, value_bytes * (weights + cached))


def row_floors_s(
    config: VitaConfig, machine: Machine, *, tiles: int, tokens: int, slots: int, value_bytes: int
) -> dict[str, float]:
    """Return the least seconds that one row of a batch takes of each stage, answers being made in slots.

    Args:
        config: the model's.
        machine: what it runs on.
        tiles: of the row's picture.
        tokens: of the answer.
        slots: how many answers share a step.
        value_bytes: bytes of a weight.
    """
    positions = -(-tiles // config.tiles_per_feature) * config.vision.positions_per_tile + _TEXT_POSITIONS
    step = step_work(config.text, positions + tokens // 2, slots, value_bytes)
    return {
        "vision": Work(vision_flop(config, tiles), 0).floor_s(machine),
        "prefill": Work(prefill_flop(config.text, positions), 0).floor_s(machine),
        "decode": tokens * step.floor_s(machine) / slots,
    }
