"""Why a file cannot be decoded, in a form that crosses from one process to another."""


class Refusal(Exception):  # noqa: N818 - it is an answer to the other process
    """A file that cannot be decoded.

    Attributes:
        kind: "unknown" (no such format), "no_track", "still" (a single picture), "damaged" or
            "large".
        text: the decoder's reason.
    """

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind, self.text = kind, text


def reason(error: BaseException) -> str:
    """Return an error of a library as one line."""
    return " ".join(str(error).split()) or type(error).__name__
