"""How to generate: frozen, checked once, with the names and defaults of transformers' ``generate``."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self

from vita_demo.errors import ConfigError

DEFAULT_STOP_STRINGS = ("<|im_start|>",)


@dataclass(frozen=True)
class GenerationOptions:
    """Options of one generation.

    Attributes:
        max_new_tokens: at most so many tokens.
        min_new_tokens: no stop token before so many.
        do_sample: draw tokens at random; False takes the likeliest.
        temperature, top_k, top_p, min_p: shape of the distribution that is drawn from; top_k 0 is off.
        repetition_penalty: divides the logits of tokens already in the answer; 1 is off.
        bad_words_ids: token sequences that must not appear.
        seed: of the random draws; None takes a new one each time.
        stop_strings: the answer ends before any of these.
        stop_token_ids: ids that end the answer, beside the tokenizer's own.
        time_limit_s: the answer ends after so many seconds.

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

    def __post_init__(self) -> None:
        """Refuse values that no generation could follow."""
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
            ("stop_strings", all(self.stop_strings), "without an empty string, which would stop everywhere"),
        )
        for name, holds, rule in checks:
            if not holds:
                raise ConfigError(f"{name} {getattr(self, name)!r} must be {rule}")

    @classmethod
    def resolve(cls, defaults: Mapping[str, Any], **explicit: Any) -> Self:
        """Combine a checkpoint's ``generation_config.json`` with explicit values, which win; None is not explicit.

        As in the original demo the answer is greedy unless ``do_sample`` or a temperature above 0 is asked for,
        whatever the checkpoint says; its penalties, lengths and shapes of the distribution hold.
        """
        own = {name: value for name, value in explicit.items() if value is not None}
        names = {field.name for field in fields(cls)} - {"do_sample", "max_new_tokens", "stop_strings"}
        shared = {name: value for name, value in defaults.items() if name in names and value is not None}
        end = defaults.get("eos_token_id")
        shared["stop_token_ids"] = tuple(end) if isinstance(end, list) else () if end is None else (end,)
        temperature = own.get("temperature")
        if temperature is not None and temperature <= 0:
            del own["temperature"]
            own["do_sample"] = False
        elif temperature is not None:
            own.setdefault("do_sample", True)
        own["stop_token_ids"] = shared["stop_token_ids"] + tuple(own.get("stop_token_ids", ()))
        return cls(**{**shared, **own})
