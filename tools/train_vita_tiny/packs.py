"""Many questions about one picture in one row: what the language model is trained on.

A pack is a sequence of the sight's tiles and then of chains, each a short conversation.  A chain sees the tiles and
itself, with the positions that it would have if it were alone, so each of its answers is learned exactly as it is
asked for later; the tiles are looked at once for all of them.  The text before the tiles is the same in every row and
is kept out of the rows.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tools.train_vita_tiny.album import Sight
from tools.train_vita_tiny.recordings import Recording
from vita_demo.config import AudioConfig
from vita_demo.prompt import build_prompt

Encode = Callable[[str], list[int]]
IMAGE_SLOT, AUDIO_SLOT, NO_LABEL = -200, -500, -100
POSITIONS_PER_TILE = 16
_END = "<|im_end|>"
_OPEN, _ANSWER = "\n<|im_start|>user\n", f"{_END}\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Turn:
    """A question, typed or recorded, and what is to be answered, with the state token."""

    question: str | Recording
    answer: str


@dataclass(frozen=True)
class Pack:
    """One row.

    Attributes:
        sight: what is looked at.
        ids: token ids, with slots for tiles and recordings.
        offsets: position of each token after the shared prefix.
        chains: which chain each token belongs to; 0 for tiles, which all chains see.
        labels: the token to be learned after each token, or ``NO_LABEL``.
        recordings: the recordings in the order of their slots.
    """

    sight: Sight
    ids: list[int] = field(default_factory=list)
    offsets: list[int] = field(default_factory=list)
    chains: list[int] = field(default_factory=list)
    labels: list[int] = field(default_factory=list)
    recordings: list[Recording] = field(default_factory=list)

    @classmethod
    def of(cls, sight: Sight, chains: Sequence[Sequence[Turn]], encode: Encode, room: int = 10**6) -> "Pack":
        """Lay out as many of ``chains`` after the sight's tiles as fit into ``room`` more tokens."""
        pack = cls(sight)
        tiles = sight.count * POSITIONS_PER_TILE
        pack._append([IMAGE_SLOT] * tiles, 0, 0)
        for number, turns in enumerate(chains, start=1):
            offset = tiles
            for index, turn in enumerate(turns):
                head = _OPEN if index else "\n" if sight.count else ""
                question, answer = question_ids(turn.question, head, encode), encode(turn.answer + _END)
                if len(pack.ids) + len(question) + len(answer) > tiles + room:
                    return pack
                if isinstance(turn.question, Recording):
                    pack.recordings.append(turn.question)
                labels = [*[NO_LABEL] * (len(question) - 1), *answer, NO_LABEL]
                offset = pack._append(question + answer, offset, number, labels)
        return pack

    def _append(self, ids: list[int], offset: int, chain: int, labels: list[int] | None = None) -> int:
        self.ids.extend(ids)
        self.offsets.extend(range(offset, offset + len(ids)))
        self.chains.extend([chain] * len(ids))
        self.labels.extend(labels or [NO_LABEL] * len(ids))
        return offset + len(ids)


def question_ids(question: str | Recording, head: str, encode: Encode) -> list[int]:
    """Return the ids from a question to the beginning of its answer, with a slot for each position of a recording."""
    if isinstance(question, str):
        return encode(head + question + _ANSWER)
    slots = [AUDIO_SLOT] * AudioConfig.positions(question.count)
    return [*(encode(head) if head else []), *slots, *encode(_ANSWER)]


@dataclass(frozen=True)
class Batch:
    """Packs of one modality and tile count, padded to the longest.

    Attributes:
        packs: the rows.
        ids, offsets, chains, labels: [B, L]; padding has chain -1.
    """

    packs: Sequence[Pack]
    ids: NDArray[np.int64]
    offsets: NDArray[np.int64]
    chains: NDArray[np.int64]
    labels: NDArray[np.int64]

    @classmethod
    def of(cls, packs: Sequence[Pack]) -> "Batch":
        """Pad ``packs`` to one length, a multiple of 16."""
        length = -(-max(len(pack.ids) for pack in packs) // 16) * 16
        fills = {"ids": 0, "offsets": 0, "chains": -1, "labels": NO_LABEL}
        arrays = {}
        for name, fill in fills.items():
            rows = np.full((len(packs), length), fill, dtype=np.int64)
            for row, pack in zip(rows, packs, strict=True):
                values = getattr(pack, name)
                row[: len(values)] = values
            arrays[name] = rows
        return cls(packs, **arrays)

    def mask(self, prefix: int) -> NDArray[np.bool_]:
        """Say which position sees which: [B, L, prefix + L]; the ``prefix`` is seen by all."""
        length = self.ids.shape[1]
        earlier = np.tril(np.ones((length, length), dtype=bool))
        same = self.chains[:, :, None] == self.chains[:, None, :]
        seen = earlier & (same | (self.chains[:, None, :] == 0))
        return np.concatenate([np.ones((len(seen), length, prefix), dtype=bool), seen], axis=2)


def prefix_ids(modality: str, encode: Encode) -> list[int]:
    """Return the ids of everything before the tiles, or before the question where there are none."""
    marker = "QUESTION"
    text = build_prompt(marker, encode, modality).text
    return encode(text[: text.index(marker)])
