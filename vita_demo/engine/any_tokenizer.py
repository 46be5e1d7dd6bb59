"""Makes what ``EventMaker`` needs of any tokenizer: this package's, one of transformers', or none."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from vita_demo.checkpoint.special_tokens import STATE_TOKENS
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.generation.events import Tokenizer


def _no_text(token_ids: Sequence[int], skip_special_tokens: bool = True) -> str:  # noqa: ARG001 - the protocol's
    return ""


@dataclass(frozen=True)
class _Adapted:
    """A tokenizer as events need it; by default one that knows no text."""

    stop_ids: frozenset[int] = frozenset()
    states: Mapping[int, str] = field(default_factory=dict)
    decode: Callable[..., str] = _no_text


def adapt_tokenizer(tokenizer: Any) -> Tokenizer:
    """Return the tokenizer itself if it is ours, else one of transformers' with its stop and state tokens found.

    For None, answers have ids and no text.
    """
    if isinstance(tokenizer, VitaTokenizer):
        return tokenizer
    if tokenizer is None:
        return _Adapted()
    encoded = {name: tokenizer.encode(token, add_special_tokens=False) for token, name in STATE_TOKENS.items()}
    states = {ids[0]: name for name, ids in encoded.items() if len(ids) == 1}
    return _Adapted(frozenset({tokenizer.eos_token_id} - {None}), states, tokenizer.decode)
