"""Where `configs/` and `assets/` lie: beside the package in a checkout, inside it in an installed wheel."""

from pathlib import Path

_PACKAGE = Path(__file__).resolve().parent


def resource(*parts: str) -> Path:
    """Return the path of a shipped file or folder, for example ``resource("assets", "sample.png")``.

    Raises:
        FileNotFoundError: the package was built without it.
    """
    for root in (_PACKAGE, _PACKAGE.parent):
        path = root.joinpath(*parts)
        if path.exists():
            return path
    raise FileNotFoundError(f"{'/'.join(parts)} is neither in {_PACKAGE} nor beside it; install vita-demo again")
