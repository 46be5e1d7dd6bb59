"""Ids and tokens that have a meaning of their own in VITA-1.5."""

from collections.abc import Mapping

# Placeholders in a prompt's ids, replaced by the embeddings of images and sound; numbered as in the original code.
IMAGE_TOKEN_ID = -200
AUDIO_TOKEN_ID = -500
# The first token of an answer: how the model classifies the query.
STATE_TOKENS: Mapping[str, str] = {"☜": "text", "☞": "speech", "☟": "noise"}
