"""Whether an answer to a stranger's question is right, whatever its words: by the names and numbers in it."""

import re

from tools.train_vita_tiny.grounds import GROUNDS
from tools.train_vita_tiny.queries import Noun, Query, extremes
from tools.train_vita_tiny.scenes import COLOURS, KINDS, PLACES, SAME_SIZE, Shape
from tools.train_vita_tiny.strangers import Drawing
from tools.train_vita_tiny.words import NUMBERS

_PLACE = re.compile("|".join(sorted(PLACES, key=len, reverse=True)))
_GROUND = re.compile(rf"\b({'|'.join(sorted(GROUNDS, key=len, reverse=True))})\b")
_PAIR = re.compile(rf"\b({'|'.join(COLOURS)}) ({'|'.join(KINDS)})\b")
_NUMBER = re.compile(rf"\b({'|'.join(NUMBERS)})\b")


def is_right(query: Query, drawing: Drawing, answer: str) -> bool:
    """Judge an English answer, without its state token, to one of the questions about pictures or clips."""
    said, scene = answer.lower().strip(), drawing.scene
    found = query.found(scene)
    if drawing.happens:
        return all(word in said for word in drawing.happens)
    if query.intent in ("count", "count_noun"):
        number = _NUMBER.search(said)
        wanted = len(scene.shapes) if query.intent == "count" else len(found)
        return number is not None and number[0] == NUMBERS[wanted]
    if query.intent == "describe":
        number = _NUMBER.search(said)
        pairs = sorted((shape.colour, shape.kind) for shape in scene.shapes)
        return number is not None and number[0] == NUMBERS[len(pairs)] and sorted(_PAIR.findall(said)) == pairs
    if query.intent in ("kinds", "biggest", "smallest"):
        shapes = scene.shapes if query.intent == "kinds" else extremes(scene, query.intent)
        return sorted(_PAIR.findall(said)) == sorted((shape.colour, shape.kind) for shape in shapes)
    if query.intent == "background":
        name = _GROUND.search(said)
        return name is not None and name[0] in drawing.grounds
    return _is_right_of(query, drawing, found, said)


def _is_right_of(query: Query, drawing: Drawing, found: list[Shape], said: str) -> bool:
    """Judge what is said of the things that a question names."""
    if query.intent == "is_there":
        return said.startswith("yes" if found else "no")
    if query.intent == "bigger":
        return _is_bigger_right(query, drawing, said)
    if not found:
        return "no " in said
    if query.intent == "where":
        place = _PLACE.search(said)
        return place is not None and place[0] in drawing.places(found[0])
    names = KINDS if query.intent == "kind_of" else COLOURS
    wanted = {shape.kind if query.intent == "kind_of" else shape.colour for shape in found}
    # The question's own noun comes again in the answer and is of the other sort.
    return {name for name in names if re.search(rf"\b{name}s?\b", said)} == wanted


def _is_bigger_right(query: Query, drawing: Drawing, said: str) -> bool:
    nouns: tuple[Noun, Noun] = (query.noun, query.other)
    sizes = [max(shape.radius for shape in query.found(drawing.scene, noun)) for noun in nouns]
    if max(sizes) < SAME_SIZE * min(sizes):
        return "same" in said
    big, small = (nouns[i].kind or "" for i in (sizes.index(max(sizes)), sizes.index(min(sizes))))
    return big in said and small not in said.replace(big, "")
