"""Where to look while answering: for each part of an answer the places in the picture that it is about.

Who names several things looks at one after the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from tools.train_vita_tiny.clips import Clip
from tools.train_vita_tiny.queries import ANY, SAY, VIDEO, Query, View, everything, extremes, moved_shape
from tools.train_vita_tiny.scenes import PLACES, Scene, Shape
from tools.train_vita_tiny.words import CHINESE, distinct, in_place


@dataclass(frozen=True)
class Look:
    """A part of an answer and what it is about.

    Attributes:
        end: number of the character behind the part; it begins where the one before ends.
        places: numbers of places in the last picture; none where it is about all, or about nothing.
    """

    end: int
    places: tuple[int, ...]


def looks(query: Query, view: View, answer: str) -> tuple[Look, ...]:
    """Say where to look while giving ``answer``, with or without a state token, to ``query`` about ``view``."""
    parts = tuple(_one_after_the_other(query, view, answer.lower()))
    asked_for = () if parts and isinstance(view, Scene) else _asked_for(query, view)
    return (*parts, Look(len(answer), _numbers(asked_for)))


def _one_after_the_other(query: Query, view: View, answer: str) -> Iterator[Look]:
    """Yield the parts of an answer that each name one thing; before the first all of them are looked at."""
    end = 0
    for names, shapes in _named(query, view):
        starts = [answer.index(name, end) for name in names]
        if not end:
            before = answer[: min(starts)].rstrip()
            yield Look(len(before), _numbers(query.found(view)) if isinstance(view, Scene) else ())
        end = max(start + len(name) for start, name in zip(starts, names, strict=True))
        yield Look(end, _numbers(shapes))


def _named(query: Query, view: View) -> Iterable[tuple[tuple[str, ...], Sequence[Shape]]]:
    """List what an answer names, in order, with the shapes that have these names."""
    if isinstance(view, Clip) and query.intent in ("describe", "describe_video"):
        noun = SAY[query.language].noun
        return [((noun(shape),), [_at_the_end(shape, view)]) for shape in everything(view)]
    if not isinstance(view, Scene) or not view.shapes:
        return ()
    shapes = extremes(view, query.intent) if query.intent in ("biggest", "smallest") else query.found(view)
    if query.intent in ("colours", "colour_of"):
        alike = [
            [shape for shape in shapes if shape.colour == colour] for colour in distinct([s.colour for s in shapes])
        ]
    else:
        alike = [[shape] for shape in shapes]
    return [(names, found) for found in alike if (names := _names(query, found[0]))]


def _names(query: Query, shape: Shape) -> tuple[str, ...]:
    """Return what an answer says of one of several shapes, if it speaks of one after the other."""
    say, words = SAY[query.language], CHINESE if query.language == "zh" else {}
    place = words.get(shape.place) or in_place(shape.place)
    if query.intent == "describe":
        return (say.noun(shape, shape.size), place)
    if query.intent in ("kinds", "biggest", "smallest"):
        return (say.noun(shape),)
    parts = {"where": place, "kind_of": shape.kind, "colours": shape.colour, "colour_of": shape.colour}
    part = parts.get(query.intent)
    return (words.get(part, part),) if part else ()


def _asked_for(query: Query, view: View) -> Sequence[Shape | str]:
    """List the shapes or places that an answer as a whole is about."""
    if isinstance(view, Clip) and query.intent in (*VIDEO, "describe"):
        return [view.after or moved_shape(view)]
    if not isinstance(view, Scene):
        return ()
    if query.intent == "at":
        return [query.place]
    nouns = [noun for noun in (query.noun, query.other) if noun != ANY]
    return [shape for noun in nouns for shape in query.found(view, noun)]


def _at_the_end(shape: Shape, clip: Clip) -> Shape:
    return clip.after if shape is clip.before and clip.after else shape


def _numbers(shapes: Iterable[Shape | str]) -> tuple[int, ...]:
    names = {shape if isinstance(shape, str) else shape.place for shape in shapes}
    return tuple(sorted(PLACES.index(name) for name in names))
