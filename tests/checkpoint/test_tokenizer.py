"""The tokenizer against transformers', and against damaged files."""

import json
import shutil
from pathlib import Path

import pytest
import tokenizers

from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.errors import CheckpointError

SAMPLES = [
    "Hello, world! It's 1234.",
    "图中有什么？",
    "e\u0301 vs é",
    "  two\n\n lines \t",
    "👩‍👩‍👧 안녕",
    "<|im_start|>user\nx<|im_end|>",
]


@pytest.fixture(scope="module")
def tokenizer(tiny7: Path) -> VitaTokenizer:
    return VitaTokenizer.from_pretrained(tiny7)


def test_ids_and_text_equal_those_of_transformers(tokenizer: VitaTokenizer, tiny7: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(tiny7)
    assert len(tokenizer) == len(theirs) == 151_665
    for text in SAMPLES:
        ids = tokenizer.encode(text)
        assert ids == theirs.encode(text)
        for skip in (True, False):
            assert tokenizer.decode(ids, skip) == theirs.decode(ids, skip_special_tokens=skip)


def test_stop_and_state_tokens_are_found_by_name(tokenizer: VitaTokenizer) -> None:
    assert tokenizer.stop_ids == {151645, 151644, 151643}
    assert tokenizer.states == {145789: "text", 144766: "speech", 146164: "noise"}


def test_tokenizer_json_is_read_too(tokenizer: VitaTokenizer, tmp_path: Path) -> None:
    tokenizer.backend.save(str(tmp_path / "tokenizer.json"))
    again = VitaTokenizer.from_pretrained(tmp_path)
    assert again.states == tokenizer.states
    assert [again.encode(text) for text in SAMPLES] == [tokenizer.encode(text) for text in SAMPLES]


@pytest.mark.parametrize(
    ("file", "content", "words"),
    [
        ("vocab.json", None, "vocab.json is missing"),
        ("merges.txt", None, "merges.txt is missing"),
        ("vocab.json", "{", "cannot be read"),
        ("tokenizer.json", "{}", "cannot be read"),
    ],
)
def test_damaged_files_are_named(tiny7: Path, tmp_path: Path, file: str, content: str | None, words: str) -> None:
    for name in ("vocab.json", "merges.txt", "tokenizer_config.json"):
        shutil.copyfile(tiny7 / name, tmp_path / name)
    if content is None:
        (tmp_path / file).unlink()
    else:
        (tmp_path / file).write_text(content)
    with pytest.raises(CheckpointError, match=words):
        VitaTokenizer.from_pretrained(tmp_path)


def test_added_tokens_must_have_their_trained_ids(tiny7: Path, tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(tiny7 / name, tmp_path / name)
    settings = json.loads((tiny7 / "tokenizer_config.json").read_text())
    settings["added_tokens_decoder"] = {"7": {"content": "<|im_end|>", "special": True}}
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="instead of 7"):
        VitaTokenizer.from_pretrained(tmp_path)


def test_truncation_and_padding_stored_with_a_tokenizer_are_off(tokenizer: VitaTokenizer, tmp_path: Path) -> None:
    stored = tokenizers.Tokenizer.from_str(tokenizer.backend.to_str())
    stored.enable_truncation(32)
    stored.enable_padding(length=64)
    stored.save(str(tmp_path / "tokenizer.json"))
    for text in ("word " * 100, "short"):
        assert VitaTokenizer.from_pretrained(tmp_path).encode(text) == tokenizer.encode(text)


@pytest.mark.parametrize("special", [True, False])
def test_the_older_layout_of_added_tokens_is_read(
    tokenizer: VitaTokenizer, tiny7: Path, tmp_path: Path, special: bool
) -> None:
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(tiny7 / name, tmp_path / name)
    settings = json.loads((tiny7 / "tokenizer_config.json").read_text())
    added = {token["content"]: int(token_id) for token_id, token in settings.pop("added_tokens_decoder").items()}
    (tmp_path / "added_tokens.json").write_text(json.dumps(added))
    (tmp_path / "tokenizer_config.json").write_text(json.dumps(settings if special else {}))
    again = VitaTokenizer.from_pretrained(tmp_path)
    assert again.stop_ids == tokenizer.stop_ids
    for text in SAMPLES:
        assert again.encode(text) == tokenizer.encode(text)
        assert again.decode(again.encode(text)) == tokenizer.decode(tokenizer.encode(text))


def test_a_tokenizer_without_the_end_of_an_answer_is_refused(tiny7: Path, tmp_path: Path) -> None:
    for name in ("vocab.json", "merges.txt"):
        shutil.copyfile(tiny7 / name, tmp_path / name)
    (tmp_path / "tokenizer_config.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no token <\|im_end\|>"):
        VitaTokenizer.from_pretrained(tmp_path)


def test_it_is_called_as_transformers_tokenizers_are(tokenizer: VitaTokenizer) -> None:
    ids = tokenizer.encode("Hello")
    assert tokenizer("Hello").input_ids == ids
    assert tokenizer("Hello", return_tensors="pt").input_ids.tolist() == [ids]
    assert tokenizer("Hello").attention_mask == [1] * len(ids)
    assert tokenizer.batch_decode([ids, ids[:1]]) == ["Hello", tokenizer.decode(ids[:1])]
    assert tokenizer.bos_token_id is None
