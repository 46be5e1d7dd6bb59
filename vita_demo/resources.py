"""Paths of shipped files and of the cache folder.

`configs/` and `assets/` are beside the package in a checkout, inside it in an installed wheel.
"""

import os
import tempfile
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(*parts: str) -> Path:
    """Return the path of a shipped file or folder, for example ``resource("assets", "sample.png")``.

    Raises:
        FileNotFoundError: when the package was built without it.
    """
    for root in (_PACKAGE, _PACKAGE.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"{'/'.join(parts)} is neither in {_PACKAGE} nor beside it; install vita-demo again")


def cache_folders() -> list[Path]:
    """Return folders for files that outlive a run, the preferred one first: VITA_DEMO_CACHE, or the user's cache."""
    from platformdirs import user_cache_path

    own = os.environ.get("VITA_DEMO_CACHE")
    if own:
        return [Path(own).expanduser()]
    return [user_cache_path("vita-demo"), Path(tempfile.gettempdir()) / "vita-demo"]
