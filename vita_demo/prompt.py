"""The chat template: questions, placeholders for their media, and earlier answers, as text and as token ids.

Knows roles, markers and the three system prompts; knows no pixels, samples or tensors.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.resources import resource

_IMAGE, _AUDIO = "<image>", "<audio>"
_END = "<|im_end|>"
_MARKERS = {_IMAGE: IMAGE_TOKEN_ID, _AUDIO: AUDIO_TOKEN_ID}
_MEDIA = re.compile(f"({'|'.join(_MARKERS)})")
# In "<|im_end|>" after "<|", in "<image>" before ">".
_INSIDE_MARKERS = re.compile(r"(?<=<\|)(?=\w+\|>)|(?<=<image)(?=>)|(?<=<audio)(?=>)")

MODEL_TYPE = "qwen2p5_instruct"


@dataclass(frozen=True)
class Prompt:
    """A prompt for the model.

    Attributes:
        text: the whole prompt, with one ``<image>`` for each tile and ``<audio>`` for the clip.
        input_ids: its token ids, with -200 and -500 where features are spliced in.
    """

    text: str
    input_ids: tuple[int, ...]

    @property
    def text_tokens(self) -> int:
        """Number of text tokens."""
        return sum(token_id >= 0 for token_id in self.input_ids)


@dataclass(frozen=True)
class PromptTurn:
    """One question of a conversation and its answer.

    Attributes:
        question: the typed question; may be empty if ``audio`` asks it.
        images: number of image placeholders.
        audio: whether a clip follows the question.
        answer: the answer's text.
        answer_ids: the answer's ids as generated; empty for a question that is not answered yet.
    """

    question: str
    images: int = 0
    audio: bool = False
    answer: str = ""
    answer_ids: tuple[int, ...] = ()


@cache
def system_prompts() -> Mapping[str, str]:
    """The system prompts that VITA-1.5 was trained with, for "image", "video" and "text"."""
    import yaml

    content = yaml.safe_load(resource("configs", "vita15", "prompts.yaml").read_text(encoding="utf-8"))
    prompts: Mapping[str, str] = content[MODEL_TYPE]["system"]
    return prompts


def build_prompt(
    question: str, encode: Callable[[str], list[int]], modality: str = "text", images: int = 0, audio: bool = False
) -> Prompt:
    """Fill the template for one question, with the system prompt for ``modality`` ("text", "image" or "video").

    See ``PromptTurn`` and ``build_prompts`` for the other arguments and the errors.
    """
    return build_prompts([PromptTurn(question, images, audio)], encode, system_prompts()[modality])[0]


def build_prompts(turns: Sequence[PromptTurn], encode: Callable[[str], list[int]], system: str) -> tuple[Prompt, ...]:
    """Fill the template for a conversation: one prompt per turn, whose concatenation the model reads.

    The text between two markers is tokenized by itself, as in training: a token never spans a marker.  Answers are
    not tokenized again but keep the ids that the model generated, so that the KV cache stays valid.

    Args:
        turns: questions and answers, the oldest first.
        encode: text to token ids, without special tokens added.
        system: the system prompt.

    Whatever a question or the system prompt holds is text: ``<image>`` there stands for no picture, ``<|im_end|>``
    ends no turn, and ``<|im_start|>`` begins none.
    """
    first = _Pieces("<|im_start|>system\n").typed(system).template(f"{_END}\n")
    return tuple(_build_turn(_Pieces("\n") if index else first, turn, encode) for index, turn in enumerate(turns))


def encode_answer(text: str, encode: Callable[[str], list[int]], state_token: str) -> tuple[int, ...]:
    """Return the ids of an answer of which only the text is known, as the model would have generated it."""
    return (*encode(state_token), *_Pieces("").typed(text).encode(encode), *encode(_END))


class _Pieces:
    """A prompt as it grows: pieces of text that are tokenized each by itself.

    Typed text continues the template's piece, since its first token may span both; it is cut only inside what looks
    like a marker, so that no piece holds a whole one.  The cuts lie where the pre-tokenization cuts, too.
    """

    def __init__(self, template: str) -> None:
        self.pieces = [template]

    def template(self, text: str) -> "_Pieces":
        """Add text whose markers count."""
        self.pieces[-1] += text
        return self

    def typed(self, text: str) -> "_Pieces":
        """Add text whose markers are text."""
        first, *others = _INSIDE_MARKERS.split(text)
        self.pieces[-1] += first
        self.pieces += others
        return self

    def encode(self, encode: Callable[[str], list[int]]) -> list[int]:
        """Return the token ids, with placeholders for media."""
        ids: list[int] = []
        for part in (part for piece in self.pieces for part in _MEDIA.split(piece)):
            ids += [_MARKERS[part]] if part in _MARKERS else encode(part)
        return ids


def _build_turn(prompt: _Pieces, turn: PromptTurn, encode: Callable[[str], list[int]]) -> Prompt:
    prompt.template("<|im_start|>user\n" + (f"{_IMAGE * turn.images}\n" if turn.images else ""))
    prompt.typed(turn.question)
    prompt.template((_AUDIO if turn.audio else "") + f"{_END}\n<|im_start|>assistant\n")
    text, ids = "".join(prompt.pieces), prompt.encode(encode)
    if turn.answer_ids:
        text += turn.answer + _END
        ids += turn.answer_ids
        end = encode(_END)
        # An answer that ended early lacks the stop token, which the template requires.
        ids += end if ids[-len(end) :] != end else []
    return Prompt(text, tuple(ids))
