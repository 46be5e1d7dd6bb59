"""Reads mutated media files through the library, and reports what no user should meet.

    python -m tools.fuzz_media --count 10000 --seed 1

One small file of each format is written; each of ``--count`` files is one of them with bytes changed, cut out, repeated
or cut off.  All readers read it.  Reported are exceptions other than ``VitaDemoError``, readers that take over
10 s, processes that grow by over 500 MB or end, and decoding processes that end.  The exit code is 1 if there are any.
A file that was reported is kept in ``--keep``.
"""

import argparse
import random
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from tools.media_seeds import write_seeds
from vita_demo.checkpoint.config import VitaConfig
from vita_demo.errors import VitaDemoError
from vita_demo.preprocess.audio import load_audio
from vita_demo.preprocess.image import load_image
from vita_demo.preprocess.media import load_media
from vita_demo.preprocess.video import load_frames
from vita_demo.request import Request
from vita_demo.resources import resource

LIMIT_S = 10.0
LIMIT_BYTES = 500_000_000
_MAX_S = 200.0
_EXTREMES = (b"\0", b"\xff", b"\x7f", b"\x80", b"\xff\xff\xff\xff", b"\0\0\0\0", b"\x7f\xff\xff\xff", b"\x80\0\0\0")
_CONTAINED = "makes the decoder end"

_CONFIG = VitaConfig.from_pretrained(resource("assets", "vita-tiny"))
READERS: dict[str, Callable[[Path], object]] = {
    "picture": load_image,
    "video": load_frames,
    "sound": lambda path: load_audio(path, 16_000, _MAX_S),
    "isolated picture": lambda path: load_media(Request(question="?", image_paths=(path,)), _CONFIG, isolated=True),
    "isolated sound": lambda path: load_media(Request(audio_path=path), _CONFIG, isolated=True),
}


def mutate(content: bytes, rng: random.Random) -> bytes:
    """Change a file in one to eight places, more often near its start, where the headers are."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 3, 8))):
        size = len(data)
        place = rng.randrange(min(size, rng.choice((64, 1024, size)))) if size else 0
        length = min(rng.choice((1, 4, 16, 256, 4096)), size - place)
        kind = rng.randrange(6)
        if kind == 0:
            for offset in range(place, place + min(length, 16)):
                data[offset] = rng.randrange(256)
        elif kind == 1:
            extreme = rng.choice(_EXTREMES)
            data[place : place + len(extreme)] = extreme
        elif kind == 2:
            del data[place : place + length]
        elif kind == 3:
            data[place:place] = data[place : place + length]
        elif kind == 4:
            data[place : place + length] = bytes(length)
        else:
            del data[max(place, rng.randrange(size + 1)) :]
    return bytes(data)


def read(path: Path) -> list[str]:
    """Read a file with every reader, and return what is wrong with how that went."""
    complaints = []
    for name, reader in READERS.items():
        start_s = time.monotonic()
        try:
            reader(path)
        except VitaDemoError as error:
            if _CONTAINED in str(error):
                complaints.append(f"{name}: its decoding process ended")
            elif "\n" in str(error):
                complaints.append(f"{name}: a message of several lines")
        except Exception as error:  # noqa: BLE001 - which is what is looked for
            complaints.append(f"{name}: {type(error).__name__}: {error}")
        taken_s = time.monotonic() - start_s
        if taken_s > LIMIT_S:
            complaints.append(f"{name}: took {taken_s:.1f} s")
    return complaints


def peak_bytes() -> int:
    """Return the most memory that this process, or one that it started and that has ended, has held."""
    import resource

    kib = max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return kib * 1024


def fuzz(seeds: Path, first: int, count: int, seed: int) -> None:
    """Read the files from number ``first`` on; print each number before, and each complaint behind it."""
    formats = sorted(seeds.iterdir())
    for path in formats:
        read(path)
    most_bytes = peak_bytes() + LIMIT_BYTES
    for number in range(first, count):
        rng = random.Random(f"{seed} {number}")  # noqa: S311 - the same files each time
        source = formats[number % len(formats)]
        path = seeds.parent / f"{number}{source.suffix}"
        path.write_bytes(mutate(source.read_bytes(), rng))
        print(f"{number} {path.name}", flush=True)
        complaints = read(path)
        if peak_bytes() > most_bytes:
            complaints.append(f"grew to {peak_bytes() / 1e6:.0f} MB")
            most_bytes = peak_bytes() + LIMIT_BYTES
        for complaint in complaints:
            print(f"! {path.name} {complaint}", flush=True)
        if not complaints:
            path.unlink()


def supervise(count: int, seed: int, keep: Path | None) -> Counter[str]:
    """Fuzz in another process, started again behind a file that ended it; return complaints and their numbers."""
    complaints: Counter[str] = Counter()
    with tempfile.TemporaryDirectory() as name:
        seeds = Path(name) / "seeds"
        seeds.mkdir()
        write_seeds(seeds)
        first = 0
        while first < count:
            command = [sys.executable, "-m", "tools.fuzz_media", "--seed", str(seed), "--count", str(count)]
            child = subprocess.Popen(
                [*command, "--seeds", str(seeds), "--first", str(first)], stdout=subprocess.PIPE, text=True
            )
            last = ""
            for line in child.stdout or ():
                if line.startswith("! "):
                    print(line[2:], end="")
                    complaints[line.split(maxsplit=2)[2].strip()] += 1
                    _keep(Path(name) / line.split()[1], keep)
                else:
                    last = line.strip()
            if child.wait() == 0:
                break
            print(f"{last} ended the process ({child.returncode})")
            complaints[f"the process ended ({child.returncode})"] += 1
            _keep(Path(name) / last.split()[-1], keep)
            first = int(last.split()[0]) + 1
    return complaints


def _keep(path: Path, folder: Path | None) -> None:
    if folder is not None and path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        shutil.copy(path, folder)


def main() -> int:
    """Run, and return the exit code."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--keep", type=Path, help="folder for the files that were reported")
    parser.add_argument("--seeds", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--first", type=int, default=0, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.seeds is not None:
        fuzz(options.seeds, options.first, options.count, options.seed)
        return 0
    complaints = supervise(options.count, options.seed, options.keep)
    print(f"{options.count:,} files read, {sum(complaints.values())} complaints")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
