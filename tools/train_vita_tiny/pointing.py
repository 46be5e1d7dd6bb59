"""Where to look while answering: for each part of an answer the positions of the last tile that it is about.

Who names several things looks at one after the other.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace

from tools.train_vita_tiny.clips import Clip, padded
from tools.train_vita_tiny.layout import GRID
from tools.train_vita_tiny.queries import ANY, SAY, VIDEO, Query, View, everything, extremes, moved_shape
from tools.train_vita_tiny.scenes import PLACES, Scene, Shape, cell_of
from tools.train_vita_tiny.words import CHINESE, distinct, in_place


@dataclass(frozen=True)
class Look:
    """A part of an answer and what it is about.

    Attributes:
        end: number of the character behind the part; it begins where the one before ends.
        positions: of the last tile; none where it is about all, or about nothing.
    """

    end: int
    positions: tuple[int, ...]


def looks(query: Query, view: View, answer: str) -> tuple[Look, ...]:
    """Say where to look while giving ``answer``, with or without a state token, to ``query`` about ``view``."""
    parts = tuple(_one_after_the_other(query, view, answer.lower()))
    asked_for = () if parts and isinstance(view, Scene) else _asked_for(query, view)
    return (*parts, Look(len(answer), _numbers(asked_for, view)))


def _one_after_the_other(query: Query, view: View, answer: str) -> Iterator[Look]:
    """Yield the parts of an answer that each name one thing; before the first all of them are looked at."""
    end = 0
    for names, shapes in _named(query, view):
        starts = [answer.index(name, end) for name in names]
        if not end:
            before = answer[: min(starts)].rstrip()
            yield Look(len(before), _numbers(query.found(view), view) if isinstance(view, Scene) else ())
        end = max(start + len(name) for start, name in zip(starts, names, strict=True))
        yield Look(end, _numbers(shapes, view))


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
        shape = moved_shape(view)
        return [_at_the_end(shape, view) if view.before else shape]
    if not isinstance(view, Scene):
        return ()
    if query.intent == "at":
        return [shape for shape in view.shapes if shape.place == query.place] or [query.place]
    nouns = [noun for noun in (query.noun, query.other) if noun != ANY]
    return [shape for noun in nouns for shape in query.found(view, noun)]


def _at_the_end(shape: Shape, clip: Clip) -> Shape:
    """Return a shape as the last frame shows it; one that has gone, as it was."""
    if shape is not clip.before:
        return shape
    others = [other for other in clip.start.shapes if other is not shape]
    return next((now for now in clip.end.shapes if now not in others), shape)


def _numbers(things: Iterable[Shape | str], view: View) -> tuple[int, ...]:
    """Number the positions of shapes and of places in the tile that shows ``view``, or the end of it."""
    shapes = [thing for thing in things if isinstance(thing, Shape)]
    if isinstance(view, Clip):
        shapes = list(padded(replace(view.start, shapes=tuple(shapes))).shapes)
    cells = {cell_of(shape.x, shape.y, GRID) for shape in shapes}
    places = [PLACES.index(thing) for thing in things if isinstance(thing, str)]
    cells |= {cell for place in places for cell in range(GRID**2) if _overlap(place, cell)}
    return tuple(sorted(cells))


def _overlap(place: int, cell: int) -> bool:
    """Say whether a place, a ninth of the picture, and a position share more than an edge."""
    return all(
        max(third / 3, part / GRID) < min((third + 1) / 3, (part + 1) / GRID)
        for third, part in zip(divmod(place, 3), divmod(cell, GRID), strict=True)
    )
