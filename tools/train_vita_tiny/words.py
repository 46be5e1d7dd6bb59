"""The names of the world's things in English and Chinese, and how they join into phrases."""

from collections.abc import Mapping, Sequence

Words = Mapping[str, str]

CHINESE: Words = {
    "circle": "圆形", "square": "正方形", "triangle": "三角形", "star": "星形", "cross": "十字", "ring": "圆环",
    "red": "红色", "orange": "橙色", "yellow": "黄色", "green": "绿色", "blue": "蓝色", "purple": "紫色",
    "black": "黑色", "white": "白色",
    "small": "小", "medium": "中等", "large": "大",
    "top left": "左上角", "top": "上方", "top right": "右上角", "left": "左边", "centre": "中间", "right": "右边",
    "bottom left": "左下角", "bottom": "下方", "bottom right": "右下角",
    "light grey": "浅灰色", "grey": "灰色", "dark grey": "深灰色", "cream": "米色", "light brown": "浅棕色",
    "brown": "棕色", "pink": "粉色", "dark red": "深红色", "light orange": "浅橙色", "light yellow": "浅黄色",
    "light green": "浅绿色", "dark green": "深绿色", "turquoise": "青色", "light blue": "浅蓝色", "dark blue": "深蓝色",
    "light purple": "浅紫色", "dark purple": "深紫色",
    "up": "上", "down": "下",
}  # fmt: skip
NUMBERS = ("no", "one", "two", "three", "four", "five")
CHINESE_NUMBERS = ("零", "一", "两", "三", "四", "五")


def article(phrase: str) -> str:
    """Put "a" or "an" before a phrase."""
    return ("an " if phrase[0] in "aeiou" else "a ") + phrase


def plural(kind: str) -> str:
    """Return the plural of a shape's name."""
    return kind + ("es" if kind.endswith("s") else "s")


def in_place(place: str) -> str:
    """Say where, as "in the centre" or "at the top left"."""
    return f"in the {place}" if place == "centre" else f"at the {place}"


def listed(phrases: Sequence[str], last: str = " and ", comma: str = ", ") -> str:
    """Join phrases as "a, b and c"."""
    return last.join(filter(None, (comma.join(phrases[:-1]), phrases[-1]))) if phrases else ""


def distinct(phrases: Sequence[str]) -> list[str]:
    """Drop what was there before and keep the order."""
    return list(dict.fromkeys(phrases))


def sentence(text: str) -> str:
    """Begin with a capital and end with a full stop."""
    return text[0].upper() + text[1:] + "."
