"""The Qwen2 tokenizer, read from its files with the `tokenizers` library.

Imports neither transformers nor torch, which take seconds.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple, Self

import tokenizers
from tokenizers import AddedToken, Regex, decoders, models, normalizers, pre_tokenizers

from vita_demo.checkpoint.config import read_json
from vita_demo.checkpoint.special_tokens import STATE_TOKENS
from vita_demo.errors import CheckpointError

_MARKERS = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
# Qwen2's pre-tokenization: English contractions, words, single digits, punctuation, line ends, spaces.
_PATTERN = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
)


class Encoding(NamedTuple):
    """What calling a tokenizer gives, as far as code for transformers' tokenizers reads it."""

    input_ids: Any
    attention_mask: Any


class VitaTokenizer:
    """Text to ids and back.

    Attributes:
        stop_ids: ids that end an answer: ``<|im_end|>``, ``<|endoftext|>``, and ``<|im_start|>`` of another turn.
        states: ids of the state tokens, and their meaning.
    """

    def __init__(self, backend: tokenizers.Tokenizer) -> None:
        self.backend = backend
        ends = (self.eos_token_id, self.pad_token_id, backend.token_to_id("<|im_start|>"))
        self.stop_ids = frozenset(end for end in ends if end is not None)
        self.states = {ids[0]: name for token, name in STATE_TOKENS.items() if len(ids := self.encode(token)) == 1}

    @classmethod
    def from_pretrained(cls, folder: Path) -> Self:
        """Read ``tokenizer.json``, or ``vocab.json``, ``merges.txt`` and ``tokenizer_config.json``.

        Raises:
            CheckpointError: when a file is missing or damaged.
        """
        whole, vocab, merges = (folder / name for name in ("tokenizer.json", "vocab.json", "merges.txt"))
        for path in () if whole.is_file() else (vocab, merges):
            if not path.is_file():
                raise CheckpointError(f"{path} is missing; copy the tokenizer's files into the checkpoint")
        try:
            if whole.is_file():
                backend = tokenizers.Tokenizer.from_file(str(whole))
            else:
                bpe = models.BPE.from_file(str(vocab), str(merges))
        except Exception as error:
            # The library raises plain Exception for every defect of the files.
            raise CheckpointError(f"the tokenizer in {folder} cannot be read ({error}); download it again") from error
        if not whole.is_file():
            backend = byte_level_bpe(bpe, _added_tokens(folder))
        # Stored with the file by whoever trained with it; they would cut or fill every prompt.
        backend.no_truncation()
        backend.no_padding()
        if backend.token_to_id("<|im_end|>") is None:
            raise CheckpointError(
                f"the tokenizer in {folder} has no token <|im_end|>, which ends an answer; copy all files of the "
                "tokenizer into the checkpoint, added_tokens.json or tokenizer_config.json too"
            )
        return cls(backend)

    def __call__(self, text: str, return_tensors: str | None = None, **_: Any) -> "Encoding":
        """Encode text as transformers' tokenizers do.

        Args:
            text: see ``encode``.
            return_tensors: "pt" makes tensors [1, L] instead of lists.
        """
        ids: Any = self.encode(text)
        mask: Any = [1] * len(ids)
        if return_tensors is not None:
            import torch

            ids, mask = torch.tensor([ids]), torch.tensor([mask])  # [1, L] each
        return Encoding(ids, mask)

    def __len__(self) -> int:
        """Number of tokens, special ones included."""
        return self.backend.get_vocab_size()

    def encode(self, text: str) -> list[int]:
        """Encode text; special tokens in it are recognized, none are added."""
        return self.backend.encode(text, add_special_tokens=False).ids

    def decode(self, token_ids: Any, skip_special_tokens: bool = True) -> str:
        """Decode ids (one, a sequence, or a tensor [n]); bytes that form no character become U+FFFD."""
        ids = token_ids.tolist() if hasattr(token_ids, "tolist") else token_ids
        return self.backend.decode([ids] if isinstance(ids, int) else ids, skip_special_tokens=skip_special_tokens)

    def batch_decode(self, batch: Any, skip_special_tokens: bool = True) -> list[str]:
        """Decode several sequences of ids, such as the rows of a tensor [rows, n]."""
        return [self.decode(token_ids, skip_special_tokens) for token_ids in batch]

    @property
    def bos_token_id(self) -> None:
        """None, under transformers' name: no token begins a text."""

    @property
    def eos_token_id(self) -> int | None:
        """Id of ``<|im_end|>``, under transformers' name."""
        return self.backend.token_to_id("<|im_end|>")

    @property
    def pad_token_id(self) -> int | None:
        """Id of ``<|endoftext|>``, under transformers' name."""
        return self.backend.token_to_id("<|endoftext|>")


def _added_tokens(folder: Path) -> Mapping[str, Mapping[str, Any]]:
    """Return the added tokens by id: those of ``tokenizer_config.json``, or of the older ``added_tokens.json``."""
    config = read_json(folder / "tokenizer_config.json")
    older = folder / "added_tokens.json"
    if config.get("added_tokens_decoder") or not older.is_file():
        return config.get("added_tokens_decoder") or {}
    special_map = folder / "special_tokens_map.json"
    names = set(_strings([config, read_json(special_map) if special_map.is_file() else {}]))
    # Qwen's own markers are special also where no file says so.
    return {
        str(token_id): {"content": token, "special": token in names or token in _MARKERS}
        for token, token_id in read_json(older).items()
    }


def _strings(value: Any) -> Iterator[str]:
    """Yield all texts in nested JSON values, keys excluded."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping | list):
        for item in value.values() if isinstance(value, Mapping) else value:
            yield from _strings(item)


def byte_level_bpe(bpe: models.BPE, added: Mapping[str, Mapping[str, Any]]) -> tokenizers.Tokenizer:
    """Make Qwen2's tokenizer of its merges: NFC, pre-tokenization, byte-level BPE, and the added tokens at their ids.

    Raises:
        CheckpointError: when an added token would not get the id that it was trained with.
    """
    backend = tokenizers.Tokenizer(bpe)
    backend.normalizer = normalizers.NFC()
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_PATTERN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    backend.decoder = decoders.ByteLevel()
    for token_id, token in sorted(added.items(), key=lambda item: int(item[0])):
        content, special = token["content"], bool(token.get("special"))
        added_token = AddedToken(content, special=special, normalized=False)
        (backend.add_special_tokens if special else backend.add_tokens)([added_token])
        if backend.token_to_id(content) != int(token_id):
            raise CheckpointError(
                f"token {content} has id {backend.token_to_id(content)} instead of {token_id}; "
                "vocab.json and tokenizer_config.json belong to different models"
            )
    return backend
