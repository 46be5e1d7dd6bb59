"""Who asks what: questions that suit a view, balanced over their answers, and put into words."""

from collections.abc import Sequence

import numpy as np

from tools.train_vita_tiny.clips import Clip
from tools.train_vita_tiny.off_topic import other_question
from tools.train_vita_tiny.queries import ANY, PICTURE, SAY, SMALL_TALK, VIDEO, Noun, Query, View, actor, everything
from tools.train_vita_tiny.scenes import COLOURS, KINDS, PLACES, Scene
from tools.train_vita_tiny.side_talk import REMARKS
from tools.train_vita_tiny.wordings import BEFORE, WORDINGS, wordings
from tools.train_vita_tiny.words import CHINESE, article, in_place

Random = np.random.Generator
_CHINESE_SHARE = 0.25
_LONGER_SHARE = 0.3
_SMALL_TALK_SHARE = 0.05
# What is asked about other things has the most wordings.
TALK = (*SMALL_TALK, "off_topic", "off_topic")
# How often each intent is asked about a picture, and about a video.
_PICTURE_WEIGHTS = dict.fromkeys(PICTURE, 1.0) | {
    "describe": 2.0, "kinds": 1.5, "count": 0.7, "count_noun": 2.0, "colour_of": 2.0, "kind_of": 2.0, "where": 2.5,
    "is_there": 2.5, "at": 2.0, "bigger": 2.5, "size_of": 1.5, "biggest": 1.5, "smallest": 1.5, "background": 0.3,
    "happens": 0.2, "changed": 0.1,
}  # fmt: skip
# The same where a close look is called for: several things are to be named, none twice, or two to be compared.
_CLOSE_WEIGHTS = _PICTURE_WEIGHTS | {
    "kinds": 2.5, "colours": 3.0, "colour_of": 3.0, "kind_of": 3.0, "bigger": 5.0, "biggest": 4.0, "smallest": 4.0,
}  # fmt: skip
_VIDEO_WEIGHTS = {
    "describe_video": 2.0, "happens": 2.5, "direction": 1.0, "direction_of": 1.0, "changed": 1.5, "actor": 1.2,
    "describe": 0.5, "kinds": 0.3, "count": 0.5, "background": 0.2, "count_noun": 0.3,
}  # fmt: skip


def choose(rng: Random, items: Sequence[str], weights: dict[str, float] | None = None) -> str:
    """Draw one of ``items``, evenly or by weight."""
    if weights is None:
        return items[int(rng.integers(len(items)))]
    shares = np.array([weights[item] for item in items])
    return items[int(rng.choice(len(items), p=shares / shares.sum()))]


def ask(view: View, rng: Random, intents: Sequence[str] = (), advanced: bool = False) -> Query:
    """Draw a question that suits ``view``, of ``intents`` where they are given; if ``advanced``, rather a hard one."""
    language = "zh" if rng.random() < _CHINESE_SHARE else "en"
    if not intents and rng.random() < _SMALL_TALK_SHARE:
        intents = TALK
    if intents:
        return _query(choose(rng, intents), language, view, rng)
    if isinstance(view, Clip):
        return _query(choose(rng, tuple(_VIDEO_WEIGHTS), _VIDEO_WEIGHTS), language, view, rng)
    if isinstance(view, Scene):
        weights = _CLOSE_WEIGHTS if advanced else _PICTURE_WEIGHTS
        return _query(choose(rng, tuple(weights), weights), language, view, rng)
    if rng.random() < 0.5:
        return _query(choose(rng, ("describe", "happens", "kinds", "count")), language, view, rng)
    return _query(choose(rng, (*PICTURE, *VIDEO)), language, view, rng)


def _query(intent: str, language: str, view: View, rng: Random) -> Query:
    noun, other, place = ANY, ANY, ""
    if intent == "colour_of":
        noun = Noun(kind=_noun(view, rng, 0.9).kind)
    elif intent == "kind_of":
        noun = Noun(colour=_noun(view, rng, 0.9).colour)
    elif intent in ("where", "size_of"):
        noun = _loose(_noun(view, rng, 0.9), rng, 0.65)
    elif intent in ("is_there", "count_noun"):
        noun = _loose(_noun(view, rng, 0.4 if intent == "is_there" else 0.75), rng, 0.5)
    elif intent == "bigger":
        noun, other = _pair(view, rng)
    elif intent == "at":
        place = _place(view, rng)
    elif intent == "direction_of":
        noun = _loose(actor(view), rng, 0.6) if isinstance(view, Clip) else _noun(view, rng, 0.5)
    return Query(intent, language, noun, other, place)


def _noun(view: View, rng: Random, present: float) -> Noun:
    """Name a thing of the view with probability ``present``, else anything; half of those half right."""
    anything = Noun(choose(rng, COLOURS), choose(rng, KINDS))
    shapes = everything(view) if isinstance(view, Clip) else view.shapes if isinstance(view, Scene) else ()
    if not shapes:
        return anything
    shape = shapes[rng.integers(len(shapes))]
    if rng.random() < present:
        return Noun(shape.colour, shape.kind)
    near = rng.random()
    if near < 0.35:
        return Noun(shape.colour, anything.kind)
    return Noun(anything.colour, shape.kind) if near < 0.7 else anything


def _loose(noun: Noun, rng: Random, whole: float) -> Noun:
    """Keep colour and kind with probability ``whole``, else one of them."""
    if rng.random() < whole:
        return noun
    return Noun(kind=noun.kind) if rng.random() < 0.7 or noun.colour is None else Noun(colour=noun.colour)


def _pair(view: View, rng: Random) -> tuple[Noun, Noun]:
    """Name two things that are each the only one of their name; by kind alone where that suffices."""
    kinds = [shape.kind for shape in view.shapes] if isinstance(view, Scene) else []
    single = [kind for kind in dict.fromkeys(kinds) if kinds.count(kind) == 1]
    if len(single) >= 2 and rng.random() < 0.6:
        first, second = rng.permutation(single)[:2]
        return Noun(kind=str(first)), Noun(kind=str(second))
    if len(kinds) >= 2 and isinstance(view, Scene):
        first, second = (view.shapes[index] for index in rng.permutation(len(kinds))[:2])
        if (first.colour, first.kind) != (second.colour, second.kind):
            return Noun(first.colour, first.kind), Noun(second.colour, second.kind)
    first, second = rng.permutation(KINDS)[:2]
    return Noun(kind=str(first)), Noun(kind=str(second))


def _place(view: View, rng: Random) -> str:
    taken = [shape.place for shape in view.shapes] if isinstance(view, Scene) else []
    return choose(rng, taken) if taken and rng.random() < 0.7 else choose(rng, PLACES)


def word(query: Query, rng: Random, held_out: bool = False, later: bool = False) -> str:
    """Put a question into words: one wording of its intent, of those that ``wordings`` returns."""
    text = choose(rng, wordings(query.language, query.intent, held_out, later))
    if held_out:
        return filled(text, query)
    if query.intent == "off_topic" and rng.random() < 0.65:
        text = other_question(query.language, rng) if rng.random() < 0.75 else REMARKS[query.language](rng)
    elif rng.random() < _LONGER_SHARE:
        text = _longer(text, query, rng)
    before = choose(rng, BEFORE) if query.language == "en" else ""
    if before:
        text = text[0].lower() + text[1:]
    return before + text.format(**_fields(query))


def _longer(text: str, query: Query, rng: Random) -> str:
    """Add where to look, unless the wording says so itself or would become one that is kept for evaluation."""
    if query.language == "zh":
        longer = choose(rng, ("请问", "图片里", "图里")) + text
        fitting = query.intent in PICTURE and "图" not in text.replace("图形", "") and "你" not in text
    else:
        shown = "video" if query.intent in VIDEO else "picture"
        longer = (
            text[:-1] + choose(rng, (f" in this {shown}", f" in the {shown}", " here", " in this image")) + text[-1]
        )
        fitting = not {"picture", "image", "video", "clip", "here"} & set(text[:-1].split())
        fitting = fitting and query.intent not in (*SMALL_TALK, "describe", "describe_video", "heard")
    return longer if fitting and longer not in wordings(query.language, query.intent, held_out=True) else text


def filled(text: str, query: Query) -> str:
    """Put what a question names into a wording."""
    named = text.format(**_fields(query))
    return named[0].upper() + named[1:]


def _fields(query: Query) -> dict[str, str]:
    say, noun, place = SAY[query.language], query.noun, query.place
    if query.language == "zh":
        return {
            "noun": say.noun(noun), "other": say.noun(query.other),
            "colour": CHINESE.get(noun.colour or "", ""), "place": CHINESE.get(place, ""),
        }  # fmt: skip
    return {
        "noun": say.noun(noun), "nouns": say.nouns(noun), "a_noun": article(say.noun(noun)),
        "other": say.noun(query.other), "colour": noun.colour or "", "place": in_place(place),
    }  # fmt: skip


def typed(text: str, rng: Random) -> str:
    """Vary a question as people type it: American spelling, no capitals, no full stop."""
    if rng.random() < 0.45:
        text = (
            text.replace("Colour", "Color")
            .replace("colour", "color")
            .replace("centre", "center")
            .replace("grey", "gray")
        )
    if rng.random() < 0.3:
        text = text.lower()
    return text.rstrip("?.!？。！") if rng.random() < 0.2 else text


def spoken_queries() -> list[Query]:
    """List every question that is recorded, each once; those that name two things name kinds."""
    queries = []
    for language, intents in WORDINGS.items():
        for intent in intents:
            if intent == "heard":
                continue
            queries += [Query(intent, language, *rest) for rest in _slots(intent)]
    return queries


def _slots(intent: str) -> list[tuple[Noun, Noun, str]]:
    kinds, colours = [Noun(kind=kind) for kind in KINDS], [Noun(colour=colour) for colour in COLOURS]
    both = [Noun(colour, kind) for colour in COLOURS for kind in KINDS]
    nouns = {
        "count_noun": kinds + colours, "colour_of": kinds, "kind_of": colours, "where": kinds + both,
        "is_there": kinds + colours + both, "size_of": kinds, "direction_of": kinds,
    }  # fmt: skip
    if intent == "bigger":
        return [(a, b, "") for a in kinds for b in kinds if a != b]
    if intent == "at":
        return [(ANY, ANY, place) for place in PLACES]
    return [(noun, ANY, "") for noun in nouns.get(intent, [ANY])]
