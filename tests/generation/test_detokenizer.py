"""Streamed text equals the text decoded at once, whatever the bytes are."""

from collections.abc import Sequence

from hypothesis import example, given
from hypothesis import strategies as st

from vita_demo.generation.detokenizer import Detokenizer


def decode_bytes(ids: Sequence[int]) -> str:
    """A byte tokenizer."""
    return bytes(ids).decode("utf-8", errors="replace")


def stream(ids: Sequence[int], decode=decode_bytes) -> list[str]:
    detokenizer = Detokenizer(decode)
    return [*(detokenizer.push(token_id) for token_id in ids), detokenizer.flush()]


TEXTS = st.text(st.sampled_from("aé中国語 한국어🙂👩‍👩‍👧\u0301\n\ufffd"), max_size=30)


@given(TEXTS)
@example("图中有什么？🙂")
def test_whole_characters_only_and_nothing_lost(text: str) -> None:
    pieces = stream(text.encode())
    assert "".join(pieces) == text
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


@given(st.binary(max_size=40))
@example(b"\xf0\x9f\x98")
@example(b"\xe4\xb8\xe4\xb8\xad\xff")
def test_broken_bytes_decode_as_at_once(data: bytes) -> None:
    assert "".join(stream(data)) == decode_bytes(data)


@given(st.lists(st.sampled_from(["▁Hello", "▁", "wor", "ld", "▁中", "!"]), max_size=12))
def test_tokenizers_that_drop_a_first_space_are_served(words: list[str]) -> None:
    def decode(ids: Sequence[int]) -> str:
        return "".join(words[i] for i in ids).replace("▁", " ").removeprefix(" ")

    ids = range(len(words))
    assert "".join(stream(ids, decode)) == decode(ids)


def test_text_leaves_with_the_token_that_completes_it() -> None:
    assert stream("a中b".encode()) == ["a", "", "", "中", "b", ""]
    assert stream(b"ab\xe4") == ["a", "b", "", "\ufffd"]


def test_each_token_costs_the_decoding_of_a_few() -> None:
    longest = 0

    def decode(ids: Sequence[int]) -> str:
        nonlocal longest
        longest = max(longest, len(ids))
        return decode_bytes(ids)

    stream("长答案。".encode() * 200, decode)
    assert longest <= 8


def decode_fallback(ids: Sequence[int]) -> str:
    """As the byte-fallback tokenizers of Llama 2 and Gemma: a run of byte tokens is text, or one U+FFFD for each."""
    try:
        return bytes(ids).decode()
    except UnicodeDecodeError:
        return "\ufffd" * len(ids)


@given(st.text(st.sampled_from("aé中国🙂한"), max_size=12))
@example("é")
@example("你好😀")
def test_byte_fallback_loses_no_text(text: str) -> None:
    pieces = stream(text.encode(), decode_fallback)
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_token_without_text_does_not_swallow_the_next_space() -> None:
    words = ["▁Hello", "<pad>", "▁world"]

    def decode(ids: Sequence[int]) -> str:
        text = "".join(words[i] for i in ids if words[i] != "<pad>")
        return text.replace("▁", " ").removeprefix(" ")

    assert "".join(stream(range(3), decode)) == "Hello world"
