"""Options of a generation: frozen, validated once, with the names and defaults of transformers' ``generate``."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from vita_demo.errors import ConfigError

ENGINES = ("auto", "native", "transformers")
# Arguments of the original demo's call that have no effect on a single answer with a cache.
_WITHOUT_EFFECT = ("use_cache", "pad_token_id", "attention_mask", "shared_v_pid_stride")
DEFAULT_STOP_STRINGS = ("<|im_start|>",)


@dataclass(frozen=True)
class GenerationOptions:
    """Options of one generation.

    Attributes:
        max_new_tokens: the most tokens to generate.
        min_new_tokens: the least tokens before a stop token.
        do_sample: draw tokens at random; False takes the likeliest.
        temperature, top_k, top_p, min_p: filters of the distribution that is drawn from; top_k 0 is off.
        repetition_penalty: divides the logits of tokens already in the answer; 1 is off.
        bad_words_ids: token sequences that must not appear.
        seed: of the random draws; None takes a new one each time.
        stop_strings: the answer ends before the first of these.
        stop_token_ids: ids that end the answer, in addition to the tokenizer's own.
        time_limit_s: the answer ends after this many seconds.
        num_beams: beams of transformers' beam search; 1 is off.
        speculate: draft this many tokens and verify them in one pass; 0 is off.  The answer is the same.
        top_logprobs: report each token's log-probability and this many of the likeliest tokens; None reports none.
        engine: "native", "transformers", or "auto": native unless an option needs the other.
        strict_callbacks: a callback's error ends the generation instead of dropping the callback.
        extra: further options of transformers' ``generate``, which only its engine has.

    Raises:
        ConfigError: when a value is out of range.
    """

    max_new_tokens: int = 1024
    min_new_tokens: int = 0
    do_sample: bool = False
    temperature: float = 1.0
    top_k: int = 50
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0
    bad_words_ids: tuple[tuple[int, ...], ...] = ()
    seed: int | None = None
    stop_strings: tuple[str, ...] = DEFAULT_STOP_STRINGS
    stop_token_ids: tuple[int, ...] = ()
    time_limit_s: float | None = None
    num_beams: int = 1
    speculate: int = 0
    top_logprobs: int | None = None
    engine: str = "auto"
    strict_callbacks: bool = False
    extra: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate the ranges."""
        checks = (
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("min_new_tokens", 0 <= self.min_new_tokens <= self.max_new_tokens, "between 0 and max_new_tokens"),
            ("temperature", self.temperature > 0 or not self.do_sample, "above 0; leave do_sample out to be greedy"),
            ("top_k", self.top_k >= 0, "0 (off) or more"),
            ("top_p", 0 < self.top_p <= 1, "above 0 and at most 1"),
            ("min_p", 0 <= self.min_p <= 1, "between 0 and 1"),
            ("repetition_penalty", self.repetition_penalty > 0, "above 0; 1 is off"),
            ("seed", self.seed is None or 0 <= self.seed < 2**63, "between 0 and 2⁶³ - 1"),
            ("time_limit_s", self.time_limit_s is None or self.time_limit_s > 0, "above 0 seconds"),
            ("num_beams", self.num_beams >= 1, "at least 1"),
            ("speculate", self.speculate >= 0, "0 (off) or more"),
            ("top_logprobs", self.top_logprobs is None or self.top_logprobs >= 0, "0 or more"),
            ("engine", self.engine in ENGINES, f"one of {', '.join(ENGINES)}"),
            ("stop_strings", all(self.stop_strings), "without an empty string, which would stop everywhere"),
        )
        for name, holds, rule in checks:
            if not holds:
                raise ConfigError(f"{name} {getattr(self, name)!r} must be {rule}")
        if self.speculate and self.uses_transformers:
            other = self.needs_transformers or "engine transformers"
            raise ConfigError(f"speculate {self.speculate} works in the native engine only; leave it or {other} out")

    @property
    def needs_transformers(self) -> str:
        """Name of the first option that only transformers' engine has; empty when there is none."""
        return "num_beams" if self.num_beams > 1 else next(iter(self.extra), "")

    @property
    def uses_transformers(self) -> bool:
        """Whether transformers' engine generates."""
        return self.engine == "transformers" or (self.engine == "auto" and bool(self.needs_transformers))

    def all_stop_ids(self, tokenizer_stop_ids: Iterable[int]) -> frozenset[int]:
        """Ids that end an answer: the tokenizer's own and those of ``stop_token_ids``."""
        return frozenset((*tokenizer_stop_ids, *self.stop_token_ids))

    def check_quantized(self, quantize: str | None) -> None:
        """Refuse transformers' engine for quantized weights, which it cannot run.

        Raises:
            ConfigError: when these options need it.
        """
        if quantize is not None and self.uses_transformers:
            other = self.needs_transformers or "--engine transformers"
            raise ConfigError(
                f"--quantize {quantize} runs in the native engine only and {other} does not; leave one of them out"
            )

    @classmethod
    def from_generate(cls, defaults: Mapping[str, Any], arguments: Mapping[str, Any]) -> Self:
        """Make options of the keyword arguments of transformers' ``generate``.

        The distribution's filters are ignored without ``do_sample``, as there; arguments without a field of their own
        go to transformers' engine.
        """
        own = {name: value for name, value in arguments.items() if value is not None and name not in _WITHOUT_EFFECT}
        if not own.get("do_sample"):
            own = {name: value for name, value in own.items() if name not in ("temperature", "top_k", "top_p", "min_p")}
        for theirs, ours in (("max_time", "time_limit_s"), ("eos_token_id", "stop_token_ids")):
            if theirs in own:
                own[ours] = own.pop(theirs)
        for name in {"stop_token_ids", "stop_strings"} & set(own):
            own[name] = _as_tuple(own[name])
        own["bad_words_ids"] = tuple(tuple(ids) for ids in own.get("bad_words_ids", ()))
        names = {field.name for field in fields(cls)}
        extra = {name: own.pop(name) for name in [*own] if name not in names}
        return cls.resolve(defaults, **own, extra=extra)

    @classmethod
    def resolve(cls, defaults: Mapping[str, Any], **explicit: Any) -> Self:
        """Combine a checkpoint's ``generation_config.json`` with explicit values, which win; None is not explicit.

        As in the original demo, decoding is greedy unless ``do_sample`` or a temperature above 0 is given, whatever
        the checkpoint says; its penalties, lengths and filters apply.
        """
        own = {name: value for name, value in explicit.items() if value is not None}
        names = {field.name for field in fields(cls)} - {"do_sample", "max_new_tokens", "stop_strings"}
        shared = {name: value for name, value in defaults.items() if name in names and value is not None}
        temperature = own.get("temperature")
        if temperature is not None and temperature <= 0:
            del own["temperature"]
            own["do_sample"] = False
        elif temperature is not None:
            own.setdefault("do_sample", True)
        own["stop_token_ids"] = _as_tuple(defaults.get("eos_token_id")) + tuple(own.get("stop_token_ids", ()))
        return cls(**{**shared, **own})


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """Return a tuple of a list, of a single value, or of nothing for None."""
    return () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)
