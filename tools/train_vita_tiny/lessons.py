"""What is asked and answered about a sight: chains of turns, typed and spoken, with the right state token."""

from collections.abc import Iterator, Sequence

from tools.train_vita_tiny.album import Sight
from tools.train_vita_tiny.asking import TALK, Random, ask, typed, word
from tools.train_vita_tiny.clips import Clip, random_clip
from tools.train_vita_tiny.packs import Turn
from tools.train_vita_tiny.pointing import looks
from tools.train_vita_tiny.queries import NOTHING, OUTSIDE, SAY, Query
from tools.train_vita_tiny.recordings import Recording
from tools.train_vita_tiny.scenes import Scene, random_scene
from tools.train_vita_tiny.voices import is_chinese
from vita_demo.checkpoint.special_tokens import STATE_TOKENS
from vita_demo.prompt import system_prompts

TEXT, SPEECH, NOISE = STATE_TOKENS
_SPOKEN_SHARE = 0.4
_NOISE_SHARE = 0.05
_CONVERSATION_SHARE = 0.12
# How much is typed in later wordings by those who are advanced.
_LATER_SHARE = 0.4
# How often a spoken question is followed by one for its words: what teaches the language model to listen closely.
_REPEAT_SHARE = 0.35


class Bookshelf:
    """Recordings by what they ask."""

    def __init__(self, recordings: Sequence[Recording]) -> None:
        self.noises = [recording for recording in recordings if recording.query is None]
        self.questions: dict[Query, list[Recording]] = {}
        for recording in recordings:
            if recording.query is not None:
                self.questions.setdefault(recording.query, []).append(recording)

    def noise(self, rng: Random) -> Recording:
        """Draw a sound that is no question."""
        return self.noises[rng.integers(len(self.noises))]

    def asking(self, query: Query, rng: Random) -> Recording | None:
        """Draw a recording of a question; None when there is none."""
        found = self.questions.get(query)
        return found[rng.integers(len(found))] if found else None


def chains_about(
    sight: Sight, shelf: Bookshelf | None, rng: Random, questions: int, advanced: bool = False
) -> list[list[Turn]]:
    """Draw conversations about ``sight`` of ``questions`` turns in all; most have one turn.

    Who is ``advanced`` is asked more often what calls for a close look, and in more wordings.
    """
    chains: list[list[Turn]] = []
    for _ in range(questions):
        turn = _turn(sight, shelf, rng, advanced)
        if chains and isinstance(chains[-1][-1].question, Recording) and rng.random() < _REPEAT_SHARE:
            chains[-1].append(_repeat(chains[-1][-1].question, rng))
        if chains and len(chains[-1]) < 4 and rng.random() < _CONVERSATION_SHARE:
            chains[-1].append(turn)
        else:
            chains.append([turn])
    return chains


def _turn(sight: Sight, shelf: Bookshelf | None, rng: Random, advanced: bool) -> Turn:
    if shelf is not None and rng.random() < _NOISE_SHARE:
        return Turn(shelf.noise(rng), NOISE + SAY["en"].no_question)
    query = ask(sight.view, rng, TALK if sight.view == NOTHING and rng.random() < 0.6 else (), advanced)
    answer = query.answer(sight.view)
    recording = shelf.asking(query, rng) if shelf is not None and rng.random() < _SPOKEN_SHARE else None
    if recording is not None:
        return Turn(recording, SPEECH + answer, looks(query, sight.view, SPEECH + answer))
    text = word(query, rng, later=advanced and rng.random() < _LATER_SHARE)
    return Turn(typed(text, rng), TEXT + answer, looks(query, sight.view, TEXT + answer))


def _repeat(recording: Recording, rng: Random) -> Turn:
    """Ask what was said just before; of side talk and noise as well."""
    language = "zh" if is_chinese(recording.text) else "en"
    say = SAY[language]
    answer = say.heard.format(text=recording.text) if recording.text else say.no_question
    return Turn(typed(word(Query("heard", language), rng), rng), TEXT + answer)


def corpus(rng: Random, count: int = 30000) -> Iterator[str]:
    """Yield texts for the tokenizer: the system prompts and what is asked and answered."""
    for prompt in system_prompts().values():
        yield from [prompt] * (count // 100)
    for _ in range(count):
        view: Scene | Clip = random_clip(rng) if rng.random() < 0.3 else random_scene(rng)
        query = ask(view, rng)
        yield from (typed(word(query, rng, rng.random() < 0.1), rng), query.answer(view))
    for unseen in (NOTHING, OUTSIDE):
        for _ in range(count // 20):
            query = ask(unseen, rng)
            yield from (word(query, rng), query.answer(unseen))
