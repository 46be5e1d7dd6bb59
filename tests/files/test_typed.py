"""What is typed in place of a file or a text."""

import io
import sys
from pathlib import Path

import pytest

from vita_demo.errors import InputError
from vita_demo.files.typed import typed_path, typed_text


def test_texts_are_themselves_or_come_from_a_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "q.txt").write_text("one\ntwo\n")
    assert typed_text(f"@{tmp_path}/q.txt", "--question") == "one\ntwo"
    assert typed_text("@@home?", "--question") == "@home?"
    assert typed_text("a @b", "--question") == "a @b"
    monkeypatch.setattr(sys, "stdin", io.StringIO("typed\n"))
    assert typed_text("-", "--question") == "typed"


def test_stdin_is_saved_byte_by_byte(monkeypatch: pytest.MonkeyPatch) -> None:
    content = bytes(range(256)) * 9000
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    path = typed_path("-", "--image_path")
    assert path.name == "stdin"
    assert path.read_bytes() == content


def test_a_stdin_that_is_too_long_or_a_terminal_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vita_demo.files.typed._MAX_STDIN_BYTES", 10)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"x" * 11)))
    with pytest.raises(InputError, match="--image_path - gives more than"):
        typed_path("-", "--image_path")
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for read in (typed_path, typed_text):
        with pytest.raises(InputError, match="- reads stdin, which is no file here"):
            read("-", "--image_path")


@pytest.mark.parametrize("url", ["http://example.org/x", "https://example.org/x", "ftp://example.org/x", "file:///x"])
def test_urls_need_a_word(url: str) -> None:
    with pytest.raises(InputError, match="is a URL; give --allow_url"):
        typed_path(url, "--image_path")
