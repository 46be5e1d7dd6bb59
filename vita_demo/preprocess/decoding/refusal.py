"""Why a file cannot be decoded, in a form that crosses from one process to another."""

from vita_demo.errors import MediaError


class Refusal(Exception):  # noqa: N818 - it is an answer to the other process
    """A file that cannot be decoded.

    Attributes:
        kind: "unknown" (no such format), "no_track", "still" (a single picture), "span" (outside of the video),
            "damaged" or "large"; for a request's media the name of the error.
        text: the decoder's reason.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


def reason(error: BaseException) -> str:
    """Return an error of a library as one line."""
    return " ".join(str(error).split()) or type(error).__name__


def refusal_of(error: Exception) -> Refusal:
    """Return an error of the decoding process as what it tells the other one."""
    if isinstance(error, Refusal):
        return error
    if isinstance(error, MediaError):
        return Refusal("span", str(error))
    if isinstance(error, MemoryError):
        return Refusal("large", "it takes too much memory")
    return Refusal("damaged", reason(error))
