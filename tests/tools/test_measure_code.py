"""What the measuring script says of a small package that is written here."""

import sys
from pathlib import Path

import pytest

from tools.import_graph import cycles, edges
from tools.measure_code import main, measure

FILES = {
    "small/__init__.py": '"""A package."""\n',
    "small/__main__.py": "from small import first\n",
    "small/first.py": '''"""The first module.

It has two lines more.
"""

from typing import TYPE_CHECKING

from . import second as other

if TYPE_CHECKING:
    from small.deep.last import LAST


def outer(a: int, b, *rest: str) -> int:  # noqa: ANN001
    """Nest four deep."""
    for number in rest:
        if number:
            with open(number):
                while a:
                    a -= 1
        elif b:
            pass
        elif rest:
            pass

    def _inner():
        from small.deep import last

        return last

    return a
''',
    "small/second.py": "# A comment.\nclass Second:\n    def method(self, x): ...\n",
    "small/deep/__init__.py": "",
    "small/deep/last.py": "import small.second\n\n\ndef back() -> None:\n    from ..first import outer\n",
    "tests/test_small.py": "\n" * 20,
}


@pytest.fixture
def small(tmp_path: Path) -> Path:
    for name, text in FILES.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    return tmp_path / "small"


def test_every_row_is_as_counted_by_hand(small: Path) -> None:
    assert measure(small) == {
        "lines": "41",
        "files": "6",
        "folders below": "1",
        "top-level modules": "2",
        "file lines, median / max": "2 / 31",
        "functions": "4",
        "function lines, median / max": "3 / 18",
        "functions > 50 lines": "0",
        "parameters annotated": "50 %",
        "returns annotated": "50 %",
        "max parameters": "3",
        "max nesting / functions nested > 3": "4 / 1",
        "docstrings, all / public": "27 % / 30 %",
        "docstring lines, comment lines": "15 %, 2 %",
        "noqa and type: ignore": "1",
        "cycles at import (modules)": "0",
        "cycles with lazy imports (modules)": "1 (2)",
        "cycles with typing imports (modules)": "1 (2)",
        "lazy imports of own modules": "2",
        "own modules imported, median / max": "0 / 2",
        "tests : code": "0.49",
    }


def test_imports_are_found_with_when_they_happen(small: Path) -> None:
    assert {(*edge.pair, edge.when) for edge in edges(small)} == {
        ("small.__main__", "small.first", "import"),
        ("small.first", "small.second", "import"),
        ("small.first", "small.deep.last", "typing"),
        ("small.first", "small.deep.last", "lazy"),
        ("small.deep.last", "small.second", "import"),
        ("small.deep.last", "small.first", "lazy"),
    }


def test_cycles_are_told_apart() -> None:
    pairs = {("a", "b"), ("b", "a"), ("b", "c"), ("c", "d"), ("d", "e"), ("e", "c"), ("f", "a")}
    assert sorted(map(sorted, cycles(pairs))) == [["a", "b"], ["c", "d", "e"]]
    assert cycles({("a", "b"), ("b", "c"), ("a", "c")}) == []


def test_folders_stand_side_by_side(small: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(sys, "argv", ["measure_code", str(small), str(small / "deep")])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"| | {small} | {small / 'deep'} |"
    assert "| files | 6 | 2 |" in lines


def test_a_folder_without_python_is_refused_in_one_line(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(sys, "argv", ["measure_code", str(tmp_path)])
    with pytest.raises(SystemExit, match="holds no Python files"):
        main()
