"""The chat template: one question and its media as text and as token ids.

Knows roles, markers and the three system prompts; knows no pixels, samples or tensors.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache

from vita_demo.errors import InputError
from vita_demo.markers import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.resources import resource

_IMAGE, _AUDIO = "<image>", "<audio>"
_MARKERS = {_IMAGE: IMAGE_TOKEN_ID, _AUDIO: AUDIO_TOKEN_ID}

MODEL_TYPE = "qwen2p5_instruct"


@dataclass(frozen=True)
class Prompt:
    """A prompt as the model reads it.

    Attributes:
        text: the whole prompt, with one ``<image>`` for each tile and ``<audio>`` for the clip.
        input_ids: its token ids, with -200 and -500 where features are spliced in.
    """

    text: str
    input_ids: tuple[int, ...]

    @property
    def text_tokens(self) -> int:
        """Tokens that are text."""
        return sum(token_id >= 0 for token_id in self.input_ids)


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
    """Fill the template.

    The text between two markers is tokenized by itself, as the model was trained: a token never spans a marker.

    Args:
        question: what the user typed; may be empty when ``audio`` asks.
        encode: text to token ids, without special tokens added.
        modality: whose system prompt to use: "text", "image" or "video".
        images: how many image placeholders to write.
        audio: whether a clip follows the question.

    Raises:
        InputError: when the question holds a marker, which would stand for media that are not there.
    """
    for marker in _MARKERS:
        if marker in question:
            raise InputError(f"the question holds {marker}, which stands for media; leave it out, flags add the media")
    text = (
        f"<|im_start|>system\n{system_prompts()[modality]}<|im_end|>\n<|im_start|>user\n"
        + (f"{_IMAGE * images}\n" if images else "")
        + question
        + (_AUDIO if audio else "")
        + "<|im_end|>\n<|im_start|>assistant\n"
    )
    ids: list[int] = []
    for piece in re.split(f"({'|'.join(_MARKERS)})", text):
        ids += [_MARKERS[piece]] if piece in _MARKERS else encode(piece)
    return Prompt(text, tuple(ids))
