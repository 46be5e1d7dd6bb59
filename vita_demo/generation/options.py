"""Options of a generation: frozen, validated once, with the names and defaults of transformers' ``generate``."""

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields
from typing import Any, Self

from vita_demo.errors import ConfigError

logger = logging.getLogger("vita_demo.generation")

ENGINES = ("auto", "native", "transformers")
# Arguments of the original demo's call that have no effect on a single answer with a cache.
_WITHOUT_EFFECT = ("use_cache", "pad_token_id", "attention_mask", "shared_v_pid_stride", "transformers_version",
                   "return_dict_in_generate")  # fmt: skip
_FILTERS = ("temperature", "top_k", "top_p", "min_p")
# Options that only transformers' engine has and that a checkpoint may set, with the value that does nothing.
_PROCESSORS = {
    "no_repeat_ngram_size": 0, "suppress_tokens": None, "begin_suppress_tokens": None, "sequence_bias": None,
    "forced_bos_token_id": None, "forced_eos_token_id": None, "exponential_decay_length_penalty": None,
    "renormalize_logits": False, "remove_invalid_values": False,
}  # fmt: skip
_DRAWING = {"typical_p": 1.0, "epsilon_cutoff": 0.0, "eta_cutoff": 0.0, "top_h": None}
_BEAMS = {"length_penalty": 1.0, "early_stopping": False, "num_return_sequences": 1}
_NEUTRAL = {**_PROCESSORS, **_DRAWING, **_BEAMS}
DEFAULT_STOP_STRINGS = ("<|im_start|>",)


@dataclass(frozen=True)
class GenerationOptions:
    """Options of one generation.

    Attributes:
        max_new_tokens: the most tokens to generate.
        max_length: the most positions of prompt and answer together; None leaves that to ``max_new_tokens``.
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
    max_length: int | None = None
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
        for name in ("temperature", "top_p", "min_p", "repetition_penalty", "time_limit_s"):
            value = getattr(self, name)
            if value is not None and not math.isfinite(value):
                raise ConfigError(f"--{name} {value} must be a finite number")
        checks = (
            ("max_new_tokens", self.max_new_tokens >= 1, "at least 1"),
            ("min_new_tokens", 0 <= self.min_new_tokens <= self.max_new_tokens, "between 0 and --max_new_tokens"),
            ("temperature", self.temperature >= 0, "0 (greedy) or more"),
            ("temperature", self.temperature > 0 or not self.do_sample, "above 0; leave --do_sample out to be greedy"),
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
                flag = "--stop_string" if name == "stop_strings" else f"--{name}"
                raise ConfigError(f"{flag} {getattr(self, name)!r} must be {rule}")
        if self.speculate and self.uses_transformers:
            other = self.needs_transformers or "--engine transformers"
            raise ConfigError(f"--speculate {self.speculate} works in the native engine only; leave it or {other} out")

    @property
    def needs_transformers(self) -> str:
        """Name of the first option that only transformers' engine has; empty when there is none."""
        return "num_beams" if self.num_beams > 1 else next(iter(self.extra), "")

    @property
    def uses_transformers(self) -> bool:
        """Whether transformers' engine generates."""
        return self.engine == "transformers" or (self.engine == "auto" and bool(self.needs_transformers))

    @property
    def answers_at_once(self) -> bool:
        """Whether the result is no stream of tokens: beams, several sequences, or scores."""
        outputs = any(name.startswith("output_") for name in self.extra)
        return outputs or self.num_beams > 1 or "num_return_sequences" in self.extra

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
        go to transformers' engine.  The values of a ``generation_config`` count as arguments that others win over.
        """
        arguments = dict(arguments)
        config = arguments.pop("generation_config", None)
        own = {} if config is None else dict(config.to_diff_dict())
        own |= {name: value for name, value in arguments.items() if value is not None}
        own = {name: value for name, value in own.items() if name not in _WITHOUT_EFFECT and value is not None}
        if not own.get("do_sample"):
            own = {name: value for name, value in own.items() if name not in _FILTERS}
        if "max_length" in own and "max_new_tokens" not in own:
            own["max_new_tokens"] = max(1, own["max_length"])
        elif "max_length" in own:
            del own["max_length"]
        for theirs, ours in (("max_time", "time_limit_s"), ("eos_token_id", "stop_token_ids")):
            if theirs in own:
                own[ours] = own.pop(theirs)
        for name in {"stop_token_ids", "stop_strings"} & set(own):
            own[name] = _as_tuple(own[name])
        own["bad_words_ids"] = tuple(tuple(ids) for ids in own.get("bad_words_ids", ()))
        names = {field.name for field in fields(cls)}
        extra = {name: own.pop(name) for name in [*own] if name not in names}
        used = {name: value for name, value in extra.items() if not _does_nothing(name, value)}
        return cls.resolve(defaults, **own, extra=used)

    @classmethod
    def resolve(cls, defaults: Mapping[str, Any], **explicit: Any) -> Self:
        """Combine a checkpoint's ``generation_config.json`` with explicit values, which win; None is not explicit.

        As in the original demo, decoding is greedy unless ``do_sample``, a temperature above 0 or another filter of
        the distribution is given, whatever the checkpoint says; its penalties, lengths and filters apply, those too
        that only transformers' engine has, unless the native one is asked for.
        """
        own = {name: value for name, value in explicit.items() if value is not None}
        names = {field.name for field in fields(cls)} - {"do_sample", "max_new_tokens", "max_length", "stop_strings"}
        shared = {name: value for name, value in defaults.items() if name in names and value is not None}
        if own.get("temperature") == 0:
            del own["temperature"]
            own["do_sample"] = False
        elif any(name in own for name in _FILTERS):
            own.setdefault("do_sample", True)
        own["stop_token_ids"] = _as_tuple(defaults.get("eos_token_id")) + tuple(own.get("stop_token_ids", ()))
        beams = {**shared, **own}.get("num_beams", 1) > 1
        applying = {**_PROCESSORS, **(_DRAWING if own.get("do_sample") else {}), **(_BEAMS if beams else {})}
        others = {name: defaults[name] for name in applying if not _does_nothing(name, defaults.get(name))}
        if others and own.get("engine") == "native":
            logger.warning("%s of generation_config.json is not in the native engine: left out", ", ".join(others))
            others = {}
        own["extra"] = {**others, **own.get("extra", {})}
        return cls(**{**shared, **own})


def _does_nothing(name: str, value: Any) -> bool:
    """Whether an option of transformers has no effect with this value: its neutral one, False, or an empty list."""
    empty = isinstance(value, list | tuple | dict) and not value
    return value is None or value is False or empty or value == _NEUTRAL.get(name)


def _as_tuple(value: Any) -> tuple[Any, ...]:
    """Return a tuple of a list, of a single value, or of nothing for None."""
    return () if value is None else tuple(value) if isinstance(value, list | tuple) else (value,)
