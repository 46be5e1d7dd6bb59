"""Drawings for a page: shapes with classes, which the page's style sheet colours for light and for dark."""

import math
from dataclasses import dataclass
from xml.etree import ElementTree as ET


@dataclass(frozen=True)
class Scale:
    """Maps values ``low`` … ``high`` to positions ``start`` … ``end``; ``high`` must be above ``low``."""

    low: float
    high: float
    start: float
    end: float

    def __call__(self, value: float) -> float:
        """Return the position of a value, rounded to what can be seen."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    def ticks(self, count: int = 5) -> list[float]:
        """Return about ``count`` round values within the scale: multiples of 1, 2 or 5 times a power of ten."""
        rough = (self.high - self.low) / count
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(factor * power for factor in (1, 2, 5, 10) if factor * power >= rough * (1 - 1e-9))
        first, last = math.ceil(self.low / step - 1e-9), math.floor(self.high / step + 1e-9)
        return [index * step for index in range(first, last + 1)]


class Drawing:
    """An SVG element that is as wide as its place; told apart by ``label`` where it cannot be seen."""

    def __init__(self, width: float, height: float, label: str) -> None:
        self.width = width
        self.height = height
        # Without a namespace: inside an HTML page it is not needed.
        self._root = ET.Element("svg", viewBox=f"0 0 {width:g} {height:g}", role="img")
        self._root.set("aria-label", label)

    def add(self, tag: str, kind: str, text: str = "", **attributes: float | str) -> None:
        """Add a shape of the classes ``kind``; underscores in names of attributes stand for hyphens."""
        values = {name.replace("_", "-"): f"{value}" for name, value in attributes.items()}
        ET.SubElement(self._root, tag, {"class": kind, **values}).text = text

    def text(self, x: float, y: float, words: str, kind: str = "label", anchor: str = "start") -> None:
        """Write ``words`` with their baseline at ``y``."""
        self.add("text", kind, words, x=x, y=y, text_anchor=anchor)

    def line(self, kind: str, x1: float, y1: float, x2: float, y2: float) -> None:
        """Draw a straight line."""
        self.add("line", kind, x1=x1, y1=y1, x2=x2, y2=y2)

    def bar(self, kind: str, left: float, top: float, right: float, bottom: float) -> None:
        """Fill a rectangle."""
        width, height = round(right - left, 1), round(bottom - top, 1)
        self.add("rect", kind, x=round(left, 1), y=round(top, 1), width=width, height=height)

    def bottom_axis(self, scale: Scale, top: float, bottom: float, title: str) -> None:
        """Draw ticks below, with grid lines up to ``top``, and say what they count."""
        for value in scale.ticks():
            self.line("grid", scale(value), top, scale(value), bottom)
            self.text(scale(value), bottom + 16, f"{value:g}", "tick", "middle")
        self.text((scale.start + scale.end) / 2, bottom + 34, title, "tick", "middle")

    def to_string(self) -> str:
        """Return the element."""
        return ET.tostring(self._root, encoding="unicode", short_empty_elements=False)
