"""The state tokens with which VITA-1.5 begins its reply, and what they say of the query."""

from collections.abc import Mapping

STATE_TOKENS: Mapping[str, str] = {"☜": "text", "☞": "speech", "☟": "noise"}
