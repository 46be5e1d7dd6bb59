"""What the language model reads before it answers: token embeddings with the encoded media spliced in."""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor

from vita_demo.answer import PromptSummary
from vita_demo.errors import InputError


@dataclass(frozen=True)
class Inputs:
    """A prompt, ready for prefill.

    Attributes:
        embeds: the positions that are not in the KV cache yet [1, S, D].
        input_ids: the whole prompt's ids, with -200 and -500 where pictures and sound are.
        summary: how many positions of which kind it has.
    """

    embeds: Tensor
    input_ids: Sequence[int]
    summary: PromptSummary


def check_fits(summary: PromptSummary) -> None:
    """Refuse a prompt that leaves no position of the context for an answer.

    Raises:
        InputError: saying how long it is.
    """
    if summary.free_tokens < 1:
        raise InputError(
            f"the prompt takes {summary.tokens:,} positions ({summary.image_tokens:,} of them pictures) and the model "
            f"has {summary.tokens + summary.free_tokens:,}: give fewer pictures, lower --max_frames, or ask a shorter "
            "question"
        )
