"""Ways to decode the same prompt with the same weights: what one is, what it leaves, and which there are."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from torch import Tensor

from benchmarks.measuring import describe
from benchmarks.watchers import CALLBACKS
from vita_demo.generation.callbacks import GenerationCallback
from vita_demo.model.language_model import LanguageModel


class LeftOutError(Exception):
    """This machine does not offer a way; the message says why."""


@dataclass(frozen=True)
class Decoded:
    """One answer.

    Attributes:
        token_ids: what was generated; empty where the way chooses no tokens.
        times_s: when each token came, counted from the start of prefill.
    """

    token_ids: tuple[int, ...]
    times_s: tuple[float, ...]

    @property
    def tpot_s(self) -> float:
        """Time per token after the first."""
        return self.tpot_before(len(self.times_s), len(self.times_s) - 1)

    def tpot_before(self, count: int, window: int) -> float:
        """Time per token of the last ``window`` of the first ``count`` tokens."""
        return (self.times_s[count - 1] - self.times_s[count - 1 - window]) / window

    def equal_tokens(self, other: "Decoded") -> int:
        """Count the tokens before the first difference, or before the end of the shorter answer."""
        pairs = zip(self.token_ids, other.token_ids, strict=False)
        shorter = min(len(self.token_ids), len(other.token_ids))
        return next((step for step, (ours, theirs) in enumerate(pairs) if ours != theirs), shorter)


def decoded(start: float, times: Sequence[float], token_ids: Sequence[int]) -> Decoded:
    """Count the times from ``start``."""
    return Decoded(tuple(token_ids), tuple(time_s - start for time_s in times))


class Subject:
    """What is decoded with: one set of weights, also as transformers' model, which is made when it is needed."""

    def __init__(self, model: LanguageModel) -> None:
        self.model = model

    @cached_property
    def transformers(self) -> Any:
        """The same tensors as a ``Qwen2ForCausalLM``."""
        from vita_demo.model.loading.transformers_bridge import to_transformers

        return to_transformers(self.model)


Decode = Callable[[Tensor, int, Sequence[GenerationCallback]], Decoded]
"""Answers a prompt [1, S, D] with so many tokens, watched by callbacks."""


@dataclass(frozen=True)
class Way:
    """One way to decode.

    Attributes:
        decode: does it.
        bytes_per_token: what one step must read at a context of so many positions.
        kind: "fast"; "slow", whose answers may be chosen shorter; or "bare", which calls no callbacks.
        exact: whether its tokens are those of the others, in float32.
    """

    decode: Decode
    bytes_per_token: Callable[[int], int]
    kind: str = "fast"
    exact: bool = True


Maker = Callable[[Subject], Way]
"""Makes a way, or raises ``LeftOutError``."""


@dataclass(frozen=True)
class Missing:
    """Ways that cannot be measured, and why.

    Attributes:
        left_out: what this machine does not offer.
        failed: what it offers and cannot do.
    """

    left_out: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)


def make_ways(subject: Subject, makers: Mapping[str, Maker]) -> tuple[dict[str, Way], Missing]:
    """Make the ways that there are; what goes wrong with one does not keep the others from being measured."""
    found, missing = dict[str, Way](), Missing()
    for name, make in makers.items():
        try:
            found[name] = make(subject)
        except LeftOutError as error:
            missing.left_out[name] = str(error)
        except Exception as error:  # noqa: BLE001 - it is reported, and the benchmark fails in the end
            missing.failed[name] = describe(error)
    return found, missing


@dataclass(frozen=True)
class Call:
    """A way with all that it needs: what is called again and again."""

    way: Way
    prompt: Tensor
    tokens: int
    make_callbacks: Callable[[], Sequence[GenerationCallback]]

    def __call__(self) -> Decoded:
        """Answer once."""
        return self.way.decode(self.prompt, self.tokens, self.make_callbacks())


def bind(
    ways: Mapping[str, Way], prompt: Tensor, lengths: Mapping[str, int], callbacks: Iterable[str] = ("none",)
) -> dict[str, Call]:
    """Bind each way to a prompt and the length of the answers of its kind, once for each choice of callbacks."""
    calls = {}
    for name, way in ways.items():
        for choice in ["none"] if way.kind == "bare" else callbacks:
            label, make = CALLBACKS[choice]
            calls[name + label] = Call(way, prompt, lengths[way.kind], make)
    return calls
