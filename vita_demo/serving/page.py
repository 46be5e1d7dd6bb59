"""The page for people: one file, and the policy that lets a browser run its own script and nothing else."""

import base64
import hashlib
import re
from importlib import resources

from starlette.responses import HTMLResponse, Response

from vita_demo.serving.api_error import ApiError

_INLINE = re.compile(r"<(script|style)(?:\s[^>]*)?>(.*?)</\1>", re.DOTALL)


class Page:
    """The page, read once.

    Args:
        shown: whether there is one at all.
    """

    def __init__(self, shown: bool) -> None:
        file = resources.files("vita_demo.serving").joinpath("page.html")
        self._text = file.read_text(encoding="utf-8") if shown and file.is_file() else None
        self._policy = content_policy(self._text or "")

    def response(self) -> Response:
        """Return the page.

        Raises:
            ApiError: 404 where there is none.
        """
        if self._text is None:
            raise ApiError(404, "this server has no page; ask POST /v1/chat/completions", code="not_found")
        headers = {
            "content-security-policy": self._policy,
            "permissions-policy": "camera=(self), microphone=(self)",
            "referrer-policy": "no-referrer",
            "cache-control": "no-cache",
        }
        return HTMLResponse(self._text, headers=headers)


def content_policy(text: str) -> str:
    """Return a content security policy for a page: its scripts and styles are known by their digests."""
    digests: dict[str, list[str]] = {"script": [], "style": []}
    for kind, content in _INLINE.findall(text):
        # A browser digests what it has parsed, where every line ends with LF.
        digest = hashlib.sha256(content.replace("\r\n", "\n").encode()).digest()
        digests[kind].append(f"'sha256-{base64.b64encode(digest).decode()}'")
    return "; ".join(
        (
            "default-src 'self'",
            f"script-src {' '.join(digests['script']) or chr(39) + 'none' + chr(39)}",
            f"style-src {' '.join(digests['style']) or chr(39) + 'none' + chr(39)}",
            "img-src 'self' blob: data:",
            "media-src 'self' blob: data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
            # No text can become markup or a script.
            "require-trusted-types-for 'script'",
        )
    )
