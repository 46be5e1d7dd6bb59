"""How many slots of how many positions, and whether there is memory for them."""

import logging

from vita_demo.engine.device import available_memory_bytes
from vita_demo.engine.vita import VitaForGeneration
from vita_demo.errors import ConfigError
from vita_demo.model.decode.cuda_graph import capture_on
from vita_demo.model.decode.slots import Slots

logger = logging.getLogger("vita_demo.scheduling")

DEFAULT_SLOTS = 8
# What remains is for encoders, prefill and, on the CPU, other programs.
_SHARE_OF_GPU, _SHARE_OF_MACHINE = 0.8, 0.5


def claim_slots(model: VitaForGeneration, count: int | None = None, positions: int | None = None) -> Slots:
    """Claim the memory of all slots now, so that no answer fails for want of it later.

    Args:
        model: the weights, loaded.
        count: answers at once; None takes as many as fit, up to 8.
        positions: of each slot, prompt and answer together; None takes as many as fit, up to the context.

    Raises:
        ConfigError: when there is no memory for what was asked for.
    """
    if count is not None and (not isinstance(count, int) or count < 1):
        raise ConfigError(f"--slots {count} must be a whole number, at least 1; without it as many are taken as fit")
    model.prepare_inputs()
    text, device = model.config.text, model.device
    position_bytes = 2 * text.num_hidden_layers * text.num_key_value_heads * text.head_dim * model.dtype.itemsize
    share = _SHARE_OF_GPU if device.type == "cuda" else _SHARE_OF_MACHINE
    room = int(share * available_memory_bytes(device)) // position_bytes  # positions in all slots together
    context = text.max_position_embeddings
    if positions is None:
        trained = min(context, model.config.trained_positions)
        positions = max(min(context, room // (count or DEFAULT_SLOTS)), trained)
    if not 1 <= positions <= context:
        raise ConfigError(f"positions {positions:,} must be at least 1 and at most the model's context, {context:,}")
    if count is None:
        count = min(DEFAULT_SLOTS, max(1, room // positions))
    if count * positions > room:
        raise ConfigError(
            f"--slots {count} of {positions:,} positions take {_gib(count * positions * position_bytes)} and "
            f"{_gib(room * position_bytes)} may be used; lower --slots, or end other programs"
        )
    slots = Slots(model.language_model, count, positions, capture_on(device), model.prefill)
    logger.info("%d slots of %s positions take %s", count, f"{positions:,}", _gib(slots.nbytes))
    return slots


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / 2**30:,.2f} GiB"
