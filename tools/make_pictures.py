"""Draw the README's terminal pictures from real runs: docs/pictures/*.svg.

    python tools/make_pictures.py

Each command runs in a pseudo-terminal; what its screen shows at the end is drawn by rich.
"""

import fcntl
import os
import pty
import re
import shlex
import struct
import subprocess
import sys
import termios
from itertools import groupby
from pathlib import Path

import pyte
from rich.console import Console
from rich.style import Style
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
PICTURES = ROOT / "docs" / "pictures"
WIDTH, HEIGHT = 100, 70
COMMANDS = {
    "run": 'vita-demo --image_path assets/scene.png --question "Describe this image." '
    "--enable_callbacks --streaming --max_new_tokens 96",
    "callbacks": "vita-demo callbacks",
    "compare": 'vita-demo compare --image_path assets/scene.png --question "Describe this image." --max_new_tokens 64',
    "inspect": "vita-demo inspect assets/scene.png",
}


def screen_of(command: str) -> pyte.Screen:
    """Run a command in a pseudo-terminal and return its last screen."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", HEIGHT, WIDTH, 0, 0))
    arguments = [sys.executable, "-m", "vita_demo", *shlex.split(command)[1:]]
    environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": str(WIDTH), "LINES": str(HEIGHT)}
    environment |= {"COLORTERM": "truecolor", "OMP_NUM_THREADS": "1"}
    environment.pop("NO_COLOR", None)
    process = subprocess.Popen(arguments, stdout=slave, stderr=slave, env=environment, cwd=ROOT)
    os.close(slave)
    screen = pyte.Screen(WIDTH, HEIGHT)
    stream = pyte.ByteStream(screen)
    while True:
        try:
            block = os.read(master, 65536)
        except OSError:
            break
        if not block:
            break
        stream.feed(block)
    os.close(master)
    if process.wait():
        raise SystemExit(f"{command} failed with {process.returncode}")
    return screen


def lines_of(screen: pyte.Screen) -> list[Text]:
    """Turn the screen's rows into styled text, without the empty ones at the end."""
    rows = []
    for number in range(HEIGHT):
        cells = [screen.buffer[number][column] for column in range(WIDTH)]
        row = Text()
        for (front, back, bold), run in groupby(cells, key=lambda cell: (cell.fg, cell.bg, cell.bold)):
            style = Style(color=_colour(front), bgcolor=_colour(back), bold=bold)
            row.append("".join(cell.data for cell in run), style)
        row.rstrip()
        rows.append(row)
    while rows and not rows[-1].plain:
        rows.pop()
    return rows


def _colour(name: str) -> str | None:
    """Translate the emulator's name of a colour: a word, or six hexadecimal digits."""
    if name == "default":
        return None
    return f"#{name}" if re.fullmatch(r"[0-9a-f]{6}", name) else name.replace("brown", "yellow")


def main() -> None:
    """Draw every picture."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    for name, command in COMMANDS.items():
        console = Console(record=True, width=WIDTH, file=open(os.devnull, "w", encoding="utf-8"))  # noqa: SIM115, PTH123
        console.print(Text.assemble(("$ ", "bold green"), command))
        for line in lines_of(screen_of(command)):
            console.print(line)
        console.save_svg(str(PICTURES / f"{name}.svg"), title="vita-demo")


if __name__ == "__main__":
    main()
