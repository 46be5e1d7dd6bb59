"""How answers are worded: the same facts in English and in Chinese.

Knows sentences; decides nothing about what is true.
"""

from collections.abc import Sequence
from typing import Protocol

from tools.train_vita_tiny.scenes import Shape
from tools.train_vita_tiny.words import (
    CHINESE,
    CHINESE_NUMBERS,
    NUMBERS,
    article,
    distinct,
    in_place,
    listed,
    plural,
    sentence,
)


class Noun(Protocol):
    """What a question names: a colour, a kind, or both."""

    @property
    def colour(self) -> str | None:
        """The named colour."""

    @property
    def kind(self) -> str | None:
        """The named kind of shape."""


class English:
    """Answers in English."""

    hello = "Hello! I am Vita. Show me a picture or a video of simple shapes and ask me about it."
    abilities = "I can describe pictures and short videos of simple shapes. You can type a question or say it."
    name = "I am Vita, a miniature model that sees and hears a small world of simple shapes."
    thanks = "You are welcome!"
    no_media = "I see no picture and no video. Please show me one."
    outside = "This is not a scene of shapes. I only know pictures of a few simple shapes."
    off_topic = "I can only talk about pictures and videos of simple shapes."
    no_question = "I heard no question."
    heard = "You said: {text}"
    still_picture = "This is a picture, so nothing happens in it."

    def noun(self, noun: Noun, size: str = "") -> str:
        """Name one thing, as "red circle", "red shape" or "circle"."""
        return " ".join(filter(None, (size, noun.colour, noun.kind or "shape")))

    def nouns(self, noun: Noun) -> str:
        """Name several things, as "red circles"."""
        return " ".join(filter(None, (noun.colour, plural(noun.kind or "shape"))))

    def _whole(self, shape: Shape) -> str:
        return article(f"{shape.size} {shape.colour} {shape.kind}")

    def describe(self, ground: str, shapes: Sequence[Shape]) -> str:
        """Say how many shapes there are on what, and what and where each is, in two to four sentences."""
        if not shapes:
            return f"The picture is empty. There is only {article(ground)} background."
        if len(shapes) == 1:
            (shape,) = shapes
            what = f"{self._whole(shape)} {in_place(shape.place)}"
            return f"There is one shape on {article(ground)} background. It is {what}."
        parts = [f"{self._whole(shape)} is {in_place(shape.place)}" for shape in shapes]
        step = 1 if len(parts) < 4 else 2
        rest = [sentence(", and ".join(parts[i : i + step])) for i in range(0, len(parts), step)]
        return " ".join([f"There are {NUMBERS[len(shapes)]} shapes on {article(ground)} background.", *rest])

    def summary(self, ground: str, shapes: Sequence[Shape]) -> str:
        """Say briefly what is on which background: the first sentence about a video."""
        if len(shapes) == 1:
            return f"There is {article(self.noun(shapes[0]))} on {article(ground)} background."
        names = listed([article(self.noun(shape)) for shape in shapes])
        return f"There are {NUMBERS[len(shapes)]} shapes on {article(ground)} background: {names}."

    def kinds(self, shapes: Sequence[Shape]) -> str:
        """Name every shape with its colour."""
        return sentence(listed([article(self.noun(shape)) for shape in shapes])) if shapes else "There are no shapes."

    def colours(self, colours: Sequence[str]) -> str:
        """Name the colours."""
        return sentence(listed(distinct(colours))) if colours else "There are no shapes."

    def count(self, number: int, noun: Noun) -> str:
        """Say how many there are."""
        if number == 1:
            return f"There is one {self.noun(noun)}."
        return f"There are {NUMBERS[number]} {self.nouns(noun)}."

    def none(self, noun: Noun) -> str:
        """Say that there is no such thing."""
        return f"There is no {self.noun(noun)}."

    def colour_of(self, noun: Noun, shapes: Sequence[Shape]) -> str:
        """Say the colour of one or of several things."""
        if len(shapes) == 1:
            return f"The {self.noun(noun)} is {shapes[0].colour}."
        colours = distinct([shape.colour for shape in shapes])
        return f"There are {NUMBERS[len(shapes)]} {self.nouns(noun)}: {listed(colours)}."

    def kind_of(self, noun: Noun, shapes: Sequence[Shape]) -> str:
        """Say the kind of one or of several things."""
        if len(shapes) == 1:
            return f"The {self.noun(noun)} is {article(shapes[0].kind)}."
        return f"There are {NUMBERS[len(shapes)]} {self.nouns(noun)}: {listed([article(s.kind) for s in shapes])}."

    def where(self, noun: Noun, places: Sequence[str]) -> str:
        """Say where one or several things are."""
        if len(places) == 1:
            return f"The {self.noun(noun)} is {in_place(places[0])}."
        return f"The {self.nouns(noun)} are {listed([in_place(place) for place in places])}."

    def at(self, place: str, shape: Shape | None) -> str:
        """Say what is at a place."""
        what = article(self.noun(shape)) if shape else "nothing"
        return f"There is {what} {in_place(place)}."

    def yes(self, noun: Noun, places: Sequence[str]) -> str:
        """Confirm one or several things."""
        if len(places) == 1:
            return f"Yes, there is {article(self.noun(noun))} {in_place(places[0])}."
        return f"Yes, there are {NUMBERS[len(places)]} {self.nouns(noun)}."

    def no(self, noun: Noun) -> str:
        """Deny a thing."""
        return f"No, there is no {self.noun(noun)}."

    def bigger(self, noun: Noun) -> str:
        """Say which of two things is bigger."""
        return f"The {self.noun(noun)} is bigger."

    same_size = "They are the same size."

    def biggest(self, shapes: Sequence[Shape], word: str) -> str:
        """Say which is the biggest, or the smallest."""
        names = listed([f"the {self.noun(shape)}" for shape in shapes])
        return sentence(f"{names} {'is' if len(shapes) == 1 else 'are'} the {word}")

    def size_of(self, noun: Noun, size: str) -> str:
        """Say how big one thing is."""
        return f"The {self.noun(noun)} is {size}."

    def background(self, ground: str) -> str:
        """Say what is behind the shapes."""
        return f"The background is {ground}."

    def moves(self, noun: Noun, direction: str) -> str:
        """Say which way a thing moves."""
        return f"The {self.noun(noun)} moves {self._way(direction)}."

    def direction(self, direction: str) -> str:
        """Say which way, of a thing already named."""
        return f"It moves {self._way(direction)}."

    def _way(self, direction: str) -> str:
        return direction if direction in ("up", "down") else f"to the {direction}"

    def still(self, event: str) -> str:
        """Say that nothing moves, and what happens instead."""
        return f"Nothing moves. {event}"

    def happens(self, noun: Noun, action: str) -> str:
        """Say that a thing grows, shrinks, appears or disappears."""
        return f"The {self.noun(noun)} {action}."

    def changes_colour(self, kind: str, old: str, new: str) -> str:
        """Say which colour became which."""
        return f"The {kind} changes colour from {old} to {new}."

    def the(self, noun: Noun) -> str:
        """Name a thing as a whole answer."""
        return f"The {self.noun(noun)}."


class Chinese:
    """Answers in Chinese."""

    hello = "你好！我是Vita。给我看一张简单图形的图片或视频，然后问我吧。"
    abilities = "我能描述简单图形的图片和短视频。你可以打字提问，也可以说出来。"
    name = "我是Vita，一个只认识简单图形的小模型。"
    thanks = "不客气！"
    no_media = "我没有看到图片或视频。请给我看一个。"
    outside = "这不是图形场景。我只认识几种简单的图形。"
    off_topic = "我只能谈论简单图形的图片和视频。"
    no_question = "我没有听到问题。"
    heard = "你说：{text}"
    still_picture = "这是一张图片，什么也没有发生。"
    same_size = "它们一样大。"

    def noun(self, noun: Noun, size: str = "") -> str:
        """Name one thing, as "red circle", "red shape" or "circle"."""
        size = {"": "", "medium": "中等大小的"}.get(size, CHINESE.get(size, ""))
        kind = CHINESE[noun.kind] if noun.kind else "图形"
        return size + (CHINESE[noun.colour] if noun.colour else "") + kind

    nouns = noun

    def describe(self, ground: str, shapes: Sequence[Shape]) -> str:
        """Say how many shapes there are on what, and what and where each is."""
        if not shapes:
            return f"图片是空的。只有{CHINESE[ground]}的背景。"
        parts = [f"{CHINESE[shape.place]}有一个{self.noun(shape, shape.size)}" for shape in shapes]
        step = 1 if len(parts) < 4 else 2
        rest = ["，".join(parts[i : i + step]) + "。" for i in range(0, len(parts), step)]
        return f"{CHINESE[ground]}背景上有{CHINESE_NUMBERS[len(shapes)]}个图形。" + "".join(rest)

    def summary(self, ground: str, shapes: Sequence[Shape]) -> str:
        """Say briefly what is on which background."""
        return f"{CHINESE[ground]}背景上有{listed(['一个' + self.noun(shape) for shape in shapes], '和', '、')}。"

    def kinds(self, shapes: Sequence[Shape]) -> str:
        """Name every shape with its colour."""
        if not shapes:
            return "没有图形。"
        return "有" + listed(["一个" + self.noun(shape) for shape in shapes], "和", "、") + "。"

    def colours(self, colours: Sequence[str]) -> str:
        """Name the colours."""
        return listed([CHINESE[colour] for colour in distinct(colours)], "和", "、") + "。" if colours else "没有图形。"

    def count(self, number: int, noun: Noun) -> str:
        """Say how many there are."""
        return f"有{CHINESE_NUMBERS[number]}个{self.noun(noun)}。" if number else self.none(noun)

    def none(self, noun: Noun) -> str:
        """Say that there is no such thing."""
        return f"没有{self.noun(noun)}。"

    def colour_of(self, noun: Noun, shapes: Sequence[Shape]) -> str:
        """Say the colour of one or of several things."""
        colours = listed([CHINESE[colour] for colour in distinct([shape.colour for shape in shapes])], "和", "、")
        if len(shapes) == 1:
            return f"{self.noun(noun)}是{colours}的。"
        return f"有{CHINESE_NUMBERS[len(shapes)]}个{self.noun(noun)}：{colours}。"

    def kind_of(self, noun: Noun, shapes: Sequence[Shape]) -> str:
        """Say the kind of one or of several things."""
        kinds = listed([CHINESE[shape.kind] for shape in shapes], "和", "、")
        if len(shapes) == 1:
            return f"{self.noun(noun)}是{kinds}。"
        return f"有{CHINESE_NUMBERS[len(shapes)]}个{self.noun(noun)}：{kinds}。"

    def where(self, noun: Noun, places: Sequence[str]) -> str:
        """Say where one or several things are."""
        return f"{self.noun(noun)}在{listed([CHINESE[place] for place in places], '和', '、')}。"

    def at(self, place: str, shape: Shape | None) -> str:
        """Say what is at a place."""
        return f"{CHINESE[place]}有一个{self.noun(shape)}。" if shape else f"{CHINESE[place]}什么也没有。"

    def yes(self, noun: Noun, places: Sequence[str]) -> str:
        """Confirm one or several things."""
        if len(places) == 1:
            return f"有，{CHINESE[places[0]]}有一个{self.noun(noun)}。"
        return f"有，有{CHINESE_NUMBERS[len(places)]}个{self.noun(noun)}。"

    def no(self, noun: Noun) -> str:
        """Deny a thing."""
        return f"没有，没有{self.noun(noun)}。"

    def bigger(self, noun: Noun) -> str:
        """Say which of two things is bigger."""
        return f"{self.noun(noun)}更大。"

    def biggest(self, shapes: Sequence[Shape], word: str) -> str:
        """Say which is the biggest, or the smallest."""
        return listed([self.noun(shape) for shape in shapes], "和", "、") + f"最{'大' if word == 'biggest' else '小'}。"

    def size_of(self, noun: Noun, size: str) -> str:
        """Say how big one thing is."""
        return f"{self.noun(noun)}是{ {'medium': '中等大小'}.get(size, CHINESE[size]) }的。"

    def background(self, ground: str) -> str:
        """Say what is behind the shapes."""
        return f"背景是{CHINESE[ground]}的。"

    def moves(self, noun: Noun, direction: str) -> str:
        """Say which way a thing moves."""
        return f"{self.noun(noun)}向{CHINESE[direction][0]}移动。"

    def direction(self, direction: str) -> str:
        """Say which way, of a thing already named."""
        return f"它向{CHINESE[direction][0]}移动。"

    def still(self, event: str) -> str:
        """Say that nothing moves, and what happens instead."""
        return f"没有东西移动。{event}"

    def happens(self, noun: Noun, action: str) -> str:
        """Say that a thing grows, shrinks, appears or disappears."""
        return (
            self.noun(noun)
            + {"grows": "变大", "shrinks": "变小", "appears": "出现", "disappears": "消失"}[action]
            + "了。"
        )

    def changes_colour(self, kind: str, old: str, new: str) -> str:
        """Say which colour became which."""
        return f"{CHINESE[kind]}从{CHINESE[old]}变成了{CHINESE[new]}。"

    def the(self, noun: Noun) -> str:
        """Name a thing as a whole answer."""
        return f"{self.noun(noun)}。"
