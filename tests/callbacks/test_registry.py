"""Callbacks by name, and mistakes in names."""

import re
import sys
from pathlib import Path

import pytest

from vita_demo.callbacks.registry import BUILTIN, describe, make_callback
from vita_demo.errors import ConfigError
from vita_demo.generation.callbacks import GenerationCallback


def test_callbacks_by_name_with_options(tmp_path: Path) -> None:
    trace = make_callback(f"trace:path={tmp_path}/x,top=3")
    assert (trace.path, trace.top_logprobs) == (tmp_path / "x", 3)
    assert make_callback("progress", {"max_tokens": 7, "tokenizer": None}).max_tokens == 7
    assert make_callback("progress:max_tokens=3", {"max_tokens": 7}).max_tokens == 3
    assert isinstance(make_callback("vita_demo.generation.callbacks:GenerationCallback"), GenerationCallback)
    mine = tmp_path / "mine.py"
    mine.write_text(
        "from dataclasses import dataclass\nFACTOR = 10\n\n@dataclass\nclass Mine:\n    level: int = 1\n"
        "    def scaled(self): return FACTOR * self.level\n"
    )
    assert make_callback(f"{mine}:Mine:level=5").scaled() == 50


@pytest.mark.parametrize(
    ("spec", "words"),
    [
        ("prgress", "did you mean progress"),
        ("qqq", "give logging, progress"),
        ("trace:tpo=3", r"tpo is none of its options \(path, top\)"),
        ("trace:top=many", "top=many must be a number"),
        ("logging:level=loud", "cannot be made"),
        ("no.such.module:X", "cannot be imported"),
        ("vita_demo.metrics:Nothing", "has no Nothing"),
        ("vita_demo.metrics:SCHEMA_VERSION", "is no class"),
        ("./gone.py:X", "cannot be imported"),
    ],
)
def test_mistakes_in_names_are_answered_in_one_line(spec: str, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        make_callback(spec)


@pytest.mark.parametrize("name", ["logging", "time", "random", "torch", "typing", "numpy", "re", "tokenizers"])
def test_a_file_named_as_a_library_is_loaded_beside_it(tmp_path: Path, name: str) -> None:
    path = tmp_path / f"{name}.py"
    path.write_text("from dataclasses import dataclass\n@dataclass\nclass Mine:\n    level: int = 1\n")
    before, library = list(sys.path), sys.modules.get(name)
    assert make_callback(f"{path}:Mine:level=3").level == 3
    assert sys.path == before
    assert sys.modules.get(name) is library


@pytest.mark.parametrize(
    ("code", "words"),
    [
        ("1 / 0", "mine.py cannot be imported (ZeroDivisionError: division by zero)"),
        ("raise SystemExit(7)", "mine.py cannot be imported (SystemExit: 7)"),
        ("import no_such_module", "mine.py cannot be imported (ModuleNotFoundError"),
        ("def", "mine.py cannot be imported (SyntaxError"),
        ("class Mine:\n  def __init__(self): raise OSError('no\\nroom')", "cannot be made (OSError: no room)"),
        ("class Mine:\n  def __init__(self): raise SystemExit", "cannot be made (SystemExit: no message)"),
    ],
)
def test_code_that_fails_gets_one_line_that_names_it(tmp_path: Path, code: str, words: str) -> None:
    path = tmp_path / "mine.py"
    path.write_text(code)
    with pytest.raises(ConfigError, match=re.escape(words)) as caught:
        make_callback(f"{path}:Mine")
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_list_names_every_callback_and_option() -> None:
    text = describe()
    assert all(name in text for name in BUILTIN)
    assert "top=0" in text
