"""The chat template."""

import pytest

from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID
from vita_demo.errors import InputError
from vita_demo.prompt import PromptTurn, build_prompt, build_prompts, system_prompts


def encode(text: str) -> list[int]:
    return list(text.encode())


def test_building_twice_gives_the_same_prompt() -> None:
    first = build_prompt("What?", encode, "image", images=3, audio=True)
    assert build_prompt("What?", encode, "image", images=3, audio=True) == first
    assert first.input_ids.count(IMAGE_TOKEN_ID) == 3
    assert first.input_ids.count(AUDIO_TOKEN_ID) == 1
    assert first.text.endswith("<image><image><image>\nWhat?<audio><|im_end|>\n<|im_start|>assistant\n")


def test_each_modality_has_its_system_prompt() -> None:
    texts = {modality: build_prompt("?", encode, modality).text for modality in ("text", "image", "video")}
    assert "content of the image" in texts["image"]
    assert "content of the video" in texts["video"]
    assert "strictly according" not in texts["text"]


def test_text_is_tokenized_piece_by_piece() -> None:
    pieces: list[str] = []

    def spy(text: str) -> list[int]:
        pieces.append(text)
        return []

    build_prompt("Q", spy, "image", images=2, audio=True)
    assert [piece for piece in pieces if piece][1:] == ["\nQ", "<|im_end|>\n<|im_start|>assistant\n"]


@pytest.mark.parametrize("marker", ["<image>", "<audio>"])
def test_markers_in_the_question_are_refused(marker: str) -> None:
    with pytest.raises(InputError, match=marker):
        build_prompt(f"what is {marker}", encode)


def test_a_conversation_continues_with_the_ids_that_were_generated() -> None:
    end = encode("<|im_end|>")
    turns = [
        PromptTurn("Q", images=2, answer="A", answer_ids=(7, 8, *end)),
        PromptTurn("", audio=True, answer="cut", answer_ids=(9,)),
        PromptTurn("And?"),
    ]
    first, second, last = build_prompts(turns, encode, system_prompts()["image"])
    alone = build_prompt("Q", encode, "image", images=2)
    assert first.text == alone.text + "A<|im_end|>"
    assert first.input_ids == (*alone.input_ids, 7, 8, *end)
    assert second.text == "\n<|im_start|>user\n<audio><|im_end|>\n<|im_start|>assistant\ncut<|im_end|>"
    assert second.input_ids[-len(end) - 1 :] == (9, *end)
    assert last.text == "\n<|im_start|>user\nAnd?<|im_end|>\n<|im_start|>assistant\n"
    assert build_prompts([], encode, "You are a pirate.") == ()
