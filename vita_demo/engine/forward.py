"""``model(…)`` for loops that are written by hand: ids in, the next token's logits out, with a cache between calls."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from vita_demo.engine.generate import embed_inputs, flat_ids
from vita_demo.errors import ConfigError, GenerationError
from vita_demo.model.decode.decoder import Decoder

if TYPE_CHECKING:
    from vita_demo.engine.vita import VitaForGeneration


@dataclass(frozen=True)
class PastKeyValues:
    """What the model has read: give it back with the next token's id.

    Attributes:
        decoder: holds keys and values, also of what was read after this.
        input_ids: all ids read so far, with -200 and -500 where pictures and sound are.
        positions: how many positions of the cache they fill.
        read: the ids that the cache holds now; those of the call that continued last.
    """

    decoder: Decoder
    input_ids: tuple[int, ...]
    positions: int
    read: list[int]

    def rest(self, input_ids: list[int]) -> list[int]:
        """Return which of ``input_ids`` are new: all of them, or those after the ids read so far.

        Raises:
            GenerationError: when the cache went on with other ids since.
        """
        known = len(self.input_ids)
        if tuple(self.read[:known]) != self.input_ids:
            raise GenerationError(
                "these past_key_values were continued with other ids since; give those that the last call returned"
            )
        whole = len(input_ids) > known and tuple(input_ids[:known]) == self.input_ids
        return input_ids[known:] if whole else input_ids


@dataclass(frozen=True)
class ForwardOutput:
    """What one call of the model gives.

    Attributes:
        logits: of the token after the last position [1, 1, vocab_size].
        past_key_values: for the next call; None with ``use_cache=False``.
    """

    logits: Tensor
    past_key_values: PastKeyValues | None = None


def forward(  # noqa: PLR0913 - transformers' signature
    model: "VitaForGeneration",
    input_ids: Tensor | Sequence[int],
    images: Any = None,
    audios: Any = None,
    *,
    past_key_values: PastKeyValues | None = None,
    use_cache: bool = True,
    return_dict: bool = True,
    attention_mask: Any = None,  # noqa: ARG001 - one prompt has nothing to mask
) -> ForwardOutput | tuple[Any, ...]:
    """Read a prompt, or what follows ``past_key_values``; return the next token's logits.

    Args:
        model: the model.
        input_ids: the prompt [1, L]; with ``past_key_values`` the new ids alone, or all ids again, of which only the
            new ones are computed.
        images: see ``embed_inputs``; used where the new ids have placeholders.
        audios: see ``embed_inputs``; used where the new ids have placeholders.
        past_key_values: what the last call returned.
        use_cache: return ``past_key_values``.
        return_dict: return a ``ForwardOutput`` instead of a tuple of its values.
        attention_mask: without effect.

    Raises:
        InputError: when ids and media do not match, or the context is full.
        GenerationError: when ``past_key_values`` are not those of the last call.
    """
    if past_key_values is not None and not isinstance(past_key_values, PastKeyValues):
        raise ConfigError(f"past_key_values are a {type(past_key_values).__name__}; give what model(…) returned")
    ids, past = flat_ids(input_ids), past_key_values
    new = ids if past is None else past.rest(ids)
    known = 0 if past is None else past.positions
    inputs = embed_inputs(model, new, images, audios, cached_tokens=known)
    positions = inputs.summary.tokens
    if past is not None:
        past.decoder.cache.truncate(known)
    decoder = model.decoder(model.rounded(positions), None if past is None else past.decoder)
    with torch.inference_mode():
        logits = decoder.prefill(inputs.embeds)[None].clone()  # [1, 1, vocab_size]
    read = [] if past is None or past.decoder is not decoder else past.read
    read[:] = [*(() if past is None else past.input_ids), *new]
    output = ForwardOutput(logits, PastKeyValues(decoder, tuple(read), positions, read) if use_cache else None)
    return output if return_dict else (output.logits, output.past_key_values)
