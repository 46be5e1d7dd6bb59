"""Many questions about one picture at once: what the language model is trained on.

A pack is a sight and chains, each a short conversation about it.  A chain sees the sight's tiles and itself, with the
positions that it would have if it were alone, so each of its answers is learned exactly as it is asked for later; the
tiles are looked at once for all of them.  The text before the tiles is the same in every pack and is kept apart.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tools.train_vita_tiny.album import Sight
from tools.train_vita_tiny.pointing import Look
from tools.train_vita_tiny.recordings import Recording
from vita_demo.checkpoint.config import AudioConfig
from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID
from vita_demo.prompt import build_prompt

Encode = Callable[[str], list[int]]
NO_LABEL = -100
_LENGTH_STEP = 8
_END = "<|im_end|>"
_OPEN, _ANSWER = "\n<|im_start|>user\n", f"{_END}\n<|im_start|>assistant\n"


@dataclass(frozen=True)
class Turn:
    """A question and its answer.

    Attributes:
        question: typed or recorded.
        answer: what is to be answered, with the state token.
        looks: where to look while answering.
    """

    question: str | Recording
    answer: str
    looks: tuple[Look, ...] = ()


@dataclass(frozen=True)
class Chain:
    """A conversation as tokens.

    Attributes:
        ids: token ids, with slots for recordings.
        labels: the token to be learned after each token, or ``NO_LABEL``.
        places: for each token the places to look at, as a sum of powers of two.
        recordings: the recordings in the order of their slots.
    """

    ids: tuple[int, ...]
    labels: tuple[int, ...]
    places: tuple[int, ...]
    recordings: tuple[Recording, ...]

    @classmethod
    def of(cls, turns: Sequence[Turn], after_tiles: bool, encode: Encode) -> "Chain":
        """Spell a conversation; what comes before it is a sight's tiles or nothing."""
        ids: list[int] = []
        labels: list[int] = []
        places: list[int] = []
        head = "\n" if after_tiles else ""
        for turn in turns:
            question, answer = _question_ids(turn.question, head, encode), encode(turn.answer + _END)
            ids += question + answer
            labels += [*[NO_LABEL] * (len(question) - 1), *answer, NO_LABEL]
            places += [*[0] * (len(question) - 1), *_places(turn, len(answer), encode), 0]
            head = _OPEN
        recordings = tuple(turn.question for turn in turns if isinstance(turn.question, Recording))
        return cls(tuple(ids), tuple(labels), tuple(places), recordings)


def _places(turn: Turn, length: int, encode: Encode) -> list[int]:
    """Return the places to look at before each of an answer's ``length`` tokens, as sums of powers of two."""
    places: list[int] = []
    for look in turn.looks:
        # Parts end at the end of a word, where no token goes on.
        end = length if look.end == len(turn.answer) else len(encode(turn.answer[: look.end]))
        places += [sum(1 << place for place in look.positions)] * (end - len(places))
    return [*places, *[0] * (length - len(places))]


def _question_ids(question: str | Recording, head: str, encode: Encode) -> list[int]:
    """Return the ids from a question to the beginning of its answer, with a slot for each position of a recording."""
    if isinstance(question, str):
        return encode(head + question + _ANSWER)
    slots = [AUDIO_TOKEN_ID] * AudioConfig.positions(question.count)
    return [*(encode(head) if head else []), *slots, *encode(_ANSWER)]


@dataclass(frozen=True)
class Pack:
    """A sight and what is said about it."""

    sight: Sight
    chains: tuple[Chain, ...]

    @classmethod
    def of(cls, sight: Sight, conversations: Sequence[Sequence[Turn]], encode: Encode, room: int = 10**6) -> "Pack":
        """Spell as many of ``conversations`` as fit into ``room`` tokens."""
        chains = []
        for turns in conversations:
            chain = Chain.of(turns, sight.count > 0, encode)
            room -= len(chain.ids)
            if room < 0:
                break
            chains.append(chain)
        return cls(sight, tuple(chains))


@dataclass(frozen=True)
class Group:
    """Chains of about one length, whatever they are about.

    Attributes:
        ids, labels, places: [n, length], padded at the end.
        owners: [n], the number of each chain's pack.
        recordings: the recordings in the order of their slots.
    """

    ids: NDArray[np.int64]
    labels: NDArray[np.int64]
    places: NDArray[np.int64]
    owners: NDArray[np.int64]
    recordings: tuple[Recording, ...]

    @classmethod
    def of(cls, chains: Sequence[tuple[int, Chain]], length: int) -> "Group":
        """Pad ``chains``, each with the number of its pack, to ``length``."""
        ids = np.zeros((len(chains), length), dtype=np.int64)
        labels, places = np.full_like(ids, NO_LABEL), np.zeros_like(ids)
        for row, (_, chain) in enumerate(chains):
            ids[row, : len(chain.ids)] = chain.ids
            labels[row, : len(chain.ids)] = chain.labels
            places[row, : len(chain.ids)] = chain.places
        owners = np.array([owner for owner, _ in chains], dtype=np.int64)
        return cls(ids, labels, places, owners, tuple(sound for _, chain in chains for sound in chain.recordings))


def grouped(packs: Sequence[Pack]) -> list[Group]:
    """Sort the chains of all packs by length, the shortest first."""
    by_length: dict[int, list[tuple[int, Chain]]] = {}
    for owner, pack in enumerate(packs):
        for chain in pack.chains:
            length = -(-len(chain.ids) // _LENGTH_STEP) * _LENGTH_STEP
            by_length.setdefault(length, []).append((owner, chain))
    return [Group.of(chains, length) for length, chains in sorted(by_length.items())]


def prefix_ids(modality: str, encode: Encode) -> list[int]:
    """Return the ids of everything before the tiles, or before the question where there are none."""
    marker = "QUESTION"
    text = build_prompt(marker, encode, modality).text
    return encode(text[: text.index(marker)])
