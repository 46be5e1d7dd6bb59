"""What the model reads of a dialogue, and how much of it a cache has already: the keys of prefix caching."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice, takewhile

from vita_demo.checkpoint.config import VitaConfig
from vita_demo.checkpoint.special_tokens import AUDIO_TOKEN_ID, IMAGE_TOKEN_ID, STATE_TOKENS
from vita_demo.checkpoint.tokenizer import VitaTokenizer
from vita_demo.preprocess.media import Media
from vita_demo.prompt import Prompt, PromptTurn, build_prompts, encode_answer, system_prompts
from vita_demo.scheduling.dialogue import Dialogue, Exchange

Key = int | bytes
"""Tells by equality whether a cache holds a unit: a token's id, or the digest of a tile or a clip."""

_TEXT, _SPEECH, *_ = STATE_TOKENS


@dataclass(frozen=True)
class Part:
    """What is left to read of one exchange.

    Attributes:
        exchange: its number in the dialogue.
        input_ids: the rest of its prompt.
        group: the number of its first group of tiles in the rest.
    """

    exchange: int
    input_ids: tuple[int, ...]
    group: int


@dataclass(frozen=True)
class Reading:
    """A dialogue's units in order: a unit is a token, a picture tile (or a group of frames), or a clip.

    Attributes:
        prompts: one for each exchange, whose concatenation the model reads.
        keys: of all units.
        sizes: positions of each unit.
    """

    prompts: tuple[Prompt, ...]
    keys: tuple[Key, ...]
    sizes: tuple[int, ...]

    @classmethod
    def of(cls, dialogue: Dialogue, tokenizer: VitaTokenizer, config: VitaConfig) -> "Reading":
        """Tokenize a dialogue; nothing is encoded yet."""
        turns = [_turn(exchange, tokenizer, config) for exchange in dialogue.exchanges]
        system = system_prompts()[dialogue.modality] if dialogue.system is None else dialogue.system
        prompts = build_prompts(turns, tokenizer.encode, system)
        units = [
            unit
            for exchange, prompt in zip(dialogue.exchanges, prompts, strict=True)
            for unit in _units(exchange.media, prompt, config)
        ]
        keys, sizes = zip(*units, strict=True)
        return cls(prompts, keys, sizes)

    @property
    def input_ids(self) -> tuple[int, ...]:
        """All ids, with -200 and -500 where pictures and sound are."""
        return tuple(token_id for prompt in self.prompts for token_id in prompt.input_ids)

    @property
    def positions(self) -> int:
        """Positions of all units."""
        return sum(self.sizes)

    def positions_of(self, placeholder: int) -> int:
        """Positions of the units that ``placeholder``, -200 or -500, stands for."""
        return sum(size for token_id, size in zip(self.input_ids, self.sizes, strict=True) if token_id == placeholder)

    def shared(self, keys: Sequence[Key]) -> int:
        """Return the positions of the units that begin both this and ``keys``, the last unit excepted.

        The logits after the last position are needed, so that one is read in any case.
        """
        pairs = zip(self.keys[:-1], keys, strict=False)
        units = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        return sum(self.sizes[:units])

    def after(self, known: int) -> Iterator[Part]:
        """Yield what follows the first ``known`` positions, which end with a unit."""
        sizes = iter(self.sizes)
        for exchange, prompt in enumerate(self.prompts):
            read = 0
            for size in islice(sizes, len(prompt.input_ids)):
                if known >= size:
                    known -= size
                    read += 1
            ids = prompt.input_ids
            if read < len(ids):
                yield Part(exchange, ids[read:], ids[:read].count(IMAGE_TOKEN_ID))


def whole_units(reading: Reading, positions: int) -> tuple[int, int]:
    """Return how many units fit into so many positions, and their positions; each token of the answer is a unit."""
    beyond = positions - reading.positions
    if beyond >= 0:
        return len(reading.keys) + beyond, positions
    ends = list(accumulate(reading.sizes))
    units = bisect_right(ends, positions)
    return units, ends[units - 1] if units else 0


def _turn(exchange: Exchange, tokenizer: VitaTokenizer, config: VitaConfig) -> PromptTurn:
    media = exchange.media
    tiles = 0 if media.tiles is None else -(-len(media.tiles) // config.tiles_per_feature)
    ids, text = exchange.answer_ids, exchange.answer or ""
    if exchange.answer is not None and not ids:
        spoken = media.fbank is not None and not exchange.question.strip()
        ids = encode_answer(text, tokenizer.encode, _SPEECH if spoken else _TEXT)
    return PromptTurn(exchange.question, tiles, media.fbank is not None, text, ids)


def _units(media: Media, prompt: Prompt, config: VitaConfig) -> Iterator[tuple[Key, int]]:
    tile, group = 0, config.tiles_per_feature
    for token_id in prompt.input_ids:
        if token_id == IMAGE_TOKEN_ID:
            yield b"".join(media.tile_digests[tile : tile + group]), config.vision.positions_per_tile
            tile += group
        elif token_id == AUDIO_TOKEN_ID and media.fbank is not None:
            yield media.sound_digest, config.audio.positions(len(media.fbank))
        else:
            yield token_id, 1
