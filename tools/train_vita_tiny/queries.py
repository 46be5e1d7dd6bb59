"""Questions about views, and their true answers.

A view is what the model is shown: a scene, a clip, a picture from outside the world, or nothing.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from tools.train_vita_tiny.clips import Clip
from tools.train_vita_tiny.phrases import Chinese, English
from tools.train_vita_tiny.scenes import SAME_SIZE, Scene, Shape

NOTHING = "nothing"
OUTSIDE = "outside"
View = Scene | Clip | str
SAY: Mapping[str, English | Chinese] = {"en": English(), "zh": Chinese()}
# Questions that need no picture; everything else does.
SMALL_TALK = ("hello", "abilities", "name", "thanks", "off_topic")
PICTURE = (
    "describe", "kinds", "colours", "count", "count_noun", "colour_of", "kind_of", "where", "at", "is_there", "bigger",
    "size_of", "biggest", "smallest", "background",
)  # fmt: skip
VIDEO = ("describe_video", "happens", "direction", "direction_of", "changed", "actor")


@dataclass(frozen=True)
class Noun:
    """What a question names: a colour, a kind, or both."""

    colour: str | None = None
    kind: str | None = None

    def fits(self, shape: Shape) -> bool:
        """Say whether a shape may be called so."""
        return self.colour in (None, shape.colour) and self.kind in (None, shape.kind)


ANY = Noun()


@dataclass(frozen=True)
class Query:
    """A question, whatever its wording.

    Attributes:
        intent: what is asked.
        language: "en" or "zh".
        noun, other: the things it names.
        place: the place it names.
    """

    intent: str
    language: str = "en"
    noun: Noun = ANY
    other: Noun = ANY
    place: str = ""

    def answer(self, view: View) -> str:
        """Return the one right answer about ``view``."""
        say = SAY[self.language]
        if self.intent in SMALL_TALK:
            return str(getattr(say, self.intent))
        if view == NOTHING:
            return say.no_media
        if isinstance(view, str):
            return say.outside
        if isinstance(view, Clip):
            intent = "describe_video" if self.intent == "describe" else self.intent
            if intent in VIDEO:
                return _VIDEO_ANSWERS[intent](self, view)
            return _PICTURE_ANSWERS[intent](self, replace(view.start, shapes=everything(view)))
        intent = "describe" if self.intent == "describe_video" else self.intent
        return say.still_picture if intent in VIDEO else _PICTURE_ANSWERS[intent](self, view)

    def found(self, scene: Scene, noun: Noun | None = None) -> list[Shape]:
        """Return the shapes that the question's noun, or another, fits."""
        return [shape for shape in scene.shapes if (noun or self.noun).fits(shape)]


def _colour_of(query: Query, scene: Scene) -> str:
    say, shapes = SAY[query.language], query.found(scene)
    return say.colour_of(query.noun, shapes) if shapes else say.none(query.noun)


def _kind_of(query: Query, scene: Scene) -> str:
    say, shapes = SAY[query.language], query.found(scene)
    return say.kind_of(query.noun, shapes) if shapes else say.none(query.noun)


def _where(query: Query, scene: Scene) -> str:
    say, places = SAY[query.language], [shape.place for shape in query.found(scene)]
    return say.where(query.noun, places) if places else say.none(query.noun)


def _is_there(query: Query, scene: Scene) -> str:
    say, places = SAY[query.language], [shape.place for shape in query.found(scene)]
    return say.yes(query.noun, places) if places else say.no(query.noun)


def _at(query: Query, scene: Scene) -> str:
    shapes = [shape for shape in scene.shapes if shape.place == query.place]
    return SAY[query.language].at(query.place, shapes[0] if shapes else None)


def _bigger(query: Query, scene: Scene) -> str:
    say = SAY[query.language]
    radii = []
    for noun in (query.noun, query.other):
        shapes = query.found(scene, noun)
        if not shapes:
            return say.none(noun)
        radii.append(max(shape.radius for shape in shapes))
    if max(radii) < SAME_SIZE * min(radii):
        return say.same_size
    return say.bigger(query.noun if radii[0] > radii[1] else query.other)


def _size_of(query: Query, scene: Scene) -> str:
    say, shapes = SAY[query.language], query.found(scene)
    return say.size_of(query.noun, shapes[0].size) if shapes else say.none(query.noun)


def extremes(scene: Scene, intent: str) -> list[Shape]:
    """Return the biggest shapes, or the smallest: several when they are of one size."""
    radii = [shape.radius for shape in scene.shapes]
    extreme = max(radii) if intent == "biggest" else min(radii)
    return [shape for shape in scene.shapes if 1 / SAME_SIZE < shape.radius / extreme < SAME_SIZE]


def _extreme(query: Query, scene: Scene) -> str:
    say = SAY[query.language]
    return say.biggest(extremes(scene, query.intent), query.intent) if scene.shapes else say.kinds(())


_PICTURE_ANSWERS: Mapping[str, Callable[[Query, Scene], str]] = {
    "describe": lambda query, scene: SAY[query.language].describe(scene.ground, scene.shapes),
    "kinds": lambda query, scene: SAY[query.language].kinds(scene.shapes),
    "colours": lambda query, scene: SAY[query.language].colours([shape.colour for shape in scene.shapes]),
    "count": lambda query, scene: SAY[query.language].count(len(scene.shapes), ANY),
    "count_noun": lambda query, scene: SAY[query.language].count(len(query.found(scene)), query.noun),
    "colour_of": _colour_of,
    "kind_of": _kind_of,
    "where": _where,
    "at": _at,
    "is_there": _is_there,
    "bigger": _bigger,
    "size_of": _size_of,
    "biggest": _extreme,
    "smallest": _extreme,
    "background": lambda query, scene: SAY[query.language].background(scene.ground),
}


def moved_shape(clip: Clip) -> Shape:
    """Return the shape that something happens to, as it is at first."""
    shape = clip.before or clip.after
    if shape is None:
        raise ValueError("a clip in which nothing happens")
    return shape


def actor(clip: Clip) -> Noun:
    """Name the shape that does something; one that changes its colour goes by its kind."""
    shape = moved_shape(clip)
    return Noun(None if clip.event.action == "changes colour" else shape.colour, shape.kind)


def everything(clip: Clip) -> tuple[Shape, ...]:
    """Return all shapes that are seen, as they are at first."""
    return clip.start.shapes if clip.before else clip.end.shapes


def _happens(query: Query, clip: Clip) -> str:
    say, event, shape = SAY[query.language], clip.event, moved_shape(clip)
    if event.action == "moves":
        return say.moves(actor(clip), str(event.direction))
    if event.action == "changes colour":
        return say.changes_colour(shape.kind, shape.colour, str(event.colour))
    return say.happens(actor(clip), event.action)


def _direction(query: Query, clip: Clip) -> str:
    say = SAY[query.language]
    if clip.event.action != "moves":
        return say.still(_happens(query, clip))
    return say.direction(str(clip.event.direction))


def _describe_video(query: Query, clip: Clip) -> str:
    gap = " " if query.language == "en" else ""
    return SAY[query.language].summary(clip.start.ground, everything(clip)) + gap + _happens(query, clip)


_VIDEO_ANSWERS: Mapping[str, Callable[[Query, Clip], str]] = {
    "describe_video": _describe_video,
    "happens": _happens,
    "direction": _direction,
    "direction_of": _direction,
    "changed": _happens,
    "actor": lambda query, clip: SAY[query.language].the(actor(clip)),
}
