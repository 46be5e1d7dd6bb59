"""Draw the README's picture of the page from a real conversation: docs/pictures/page.png.

    python -m tools.picture_of_page

A server of the embedded model answers a typed and a spoken question about a picture in headless Chromium.
"""

import io
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

ROOT = Path(__file__).resolve().parent.parent
ASSETS = ROOT / "assets"
PICTURE = ROOT / "docs" / "pictures" / "page.png"
WIDTH, HEIGHT, SCALE = 1120, 820, 2
TURNS = (
    (("scene.png",), "Describe this image."),
    (("question.wav",), ""),
    ((), "Where is the yellow star?"),
)


@contextmanager
def server() -> Iterator[str]:
    """Start a server of the embedded model and give its address."""
    command = [sys.executable, "-m", "vita_demo", "serve", "--port", "0"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT, text=True)
    try:
        found = re.match(r"http\S+", process.stdout.readline() if process.stdout else "")
        if found is None:
            raise SystemExit("the server did not start")
        yield found.group()
    finally:
        process.terminate()
        process.communicate()


def converse(page: Page) -> None:
    """Ask all questions, each with its files, and wait for the answers."""
    for number, (names, question) in enumerate(TURNS):
        if names:
            page.set_input_files("#files", [ASSETS / name for name in names])
            page.locator("#attached .medium").nth(len(names) - 1).wait_for()
        page.fill("#text", question)
        page.keyboard.press("Enter")
        page.locator(".exchange").nth(number).locator(".tools button").first.wait_for()


def main() -> None:
    """Draw the picture."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        raise SystemExit("needs Chromium: apt-get install chromium")
    with server() as address, sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, device_scale_factor=SCALE)
        page.goto(address)
        converse(page)
        content = page.screenshot()
        browser.close()
    # Few colours are in it: a palette makes it a third as large.
    Image.open(io.BytesIO(content)).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(PICTURE, optimize=True)
    print(f"{PICTURE.relative_to(ROOT)}: {PICTURE.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
