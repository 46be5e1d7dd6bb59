"""Ask vita-tiny about ten pictures that were drawn by hand, and write its answers down as they come.

    python -m tools.ask_drawings

Prints a table for the model card and writes docs/pictures/drawings.png, a sheet of the pictures.  Needs resvg-py.
"""

import tempfile
from io import BytesIO
from pathlib import Path

import resvg_py
from PIL import Image

from vita_demo import Pipeline, Request
from vita_demo.checkpoint.locate import EMBEDDED

DOCS = Path(__file__).resolve().parents[1] / "docs"
QUESTIONS = {
    "sunset": "Describe this image.",
    "traffic_light": "What color is the shape at the bottom?",
    "kite": "what shape is this?",
    "first_aid": "Describe this images.",
    "mountain": "How many shapes are there?",
    "lifebuoy": "Where is the ring?",
    "flag": "Is there a star?",
    "night": "图中有哪些形状？",
    "two_friends": "explain this image",
    "postcard": "Describe this image.",
}
_COLUMNS, _WIDTH, _HEIGHT, _GAP = 5, 200, 160, 12


def picture_of(name: str) -> Image.Image:
    """Render a drawing as RGB."""
    content = resvg_py.svg_to_bytes(svg_string=(DOCS / "drawings" / f"{name}.svg").read_text(encoding="utf-8"))
    return Image.open(BytesIO(bytes(content))).convert("RGB")


def answers() -> dict[str, str]:
    """Ask about every drawing, greedily and in float32."""
    pipeline = Pipeline.load(EMBEDDED, device="cpu", dtype="float32")
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, question in QUESTIONS.items():
            path = Path(folder) / f"{name}.png"
            picture_of(name).save(path)
            found[name] = pipeline.generate(Request(question=question, image_paths=(path,))).text
    return found


def sheet() -> Image.Image:
    """Lay the drawings side by side, in the order of the table."""
    rows = -(-len(QUESTIONS) // _COLUMNS)
    size = (_COLUMNS * (_WIDTH + _GAP) + _GAP, rows * (_HEIGHT + _GAP) + _GAP)
    page = Image.new("RGB", size, (120, 124, 130))
    for number, name in enumerate(QUESTIONS):
        picture = picture_of(name)
        picture.thumbnail((_WIDTH, _HEIGHT))
        row, column = divmod(number, _COLUMNS)
        left = _GAP + column * (_WIDTH + _GAP) + (_WIDTH - picture.width) // 2
        top = _GAP + row * (_HEIGHT + _GAP) + (_HEIGHT - picture.height) // 2
        page.paste(picture, (left, top))
    return page


def main() -> None:
    """Write the sheet, and print the table."""
    sheet().save(DOCS / "pictures" / "drawings.png", optimize=True)
    print("| picture | asked | answered |\n|---|---|---|")
    for name, answer in answers().items():
        print(f"| {name.replace('_', ' ')} | {QUESTIONS[name]} | {answer} |")


if __name__ == "__main__":
    main()
