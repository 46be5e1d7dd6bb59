"""Measure how a Python package is built: sizes, types, docstrings, nesting, and who imports whom.

    python -m tools.measure_code [FOLDER …]

Prints a table with a column for each package folder, ``vita_demo`` where none is given.  Only the source is read;
nothing is imported.
"""

import argparse
import ast
import io
import re
import tokenize
from pathlib import Path
from statistics import median

from tools.import_graph import cycles, edges, module_name

Function = ast.FunctionDef | ast.AsyncFunctionDef
Documentable = ast.Module | ast.ClassDef | Function
_BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.TryStar, ast.Match)
_SUPPRESSION = re.compile(r"#\s*(noqa|type:\s*ignore)")


def functions(tree: ast.AST) -> list[Function]:
    """Return every function, methods and nested ones among them."""
    return [node for node in ast.walk(tree) if isinstance(node, Function)]


def parameters(function: Function) -> list[ast.arg]:
    """Return the parameters of a function, ``self`` and ``cls`` left out."""
    arguments = function.args
    named = [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
    starred = [argument for argument in (arguments.vararg, arguments.kwarg) if argument]
    return [argument for argument in named + starred if argument.arg not in ("self", "cls")]


def nesting(node: ast.AST) -> int:
    """Return how many blocks (``if``, ``for``, ``with`` …) stand inside one another; nested functions count alone."""
    deepest = 0
    for field, value in ast.iter_fields(node):
        for child in value if isinstance(value, list) else [value]:
            if not isinstance(child, ast.AST) or isinstance(child, Function | ast.ClassDef | ast.Lambda):
                continue
            # An elif is an If in the else of another, and no deeper to a reader.
            is_elif = isinstance(node, ast.If) and field == "orelse" and len(value) == 1 and isinstance(child, ast.If)
            deepest = max(deepest, nesting(child) + (isinstance(child, _BLOCKS) and not is_elif))
    return deepest


def documentable(tree: ast.Module) -> list[Documentable]:
    """Return what a docstring can stand in: the module, its classes and functions."""
    return [node for node in ast.walk(tree) if isinstance(node, Documentable)]


def docstring_lines(node: Documentable) -> int:
    """Return the number of lines that a docstring takes, 0 where there is none."""
    if ast.get_docstring(node) is None:
        return 0
    return (node.body[0].end_lineno or 0) - node.body[0].lineno + 1


def comments(text: str) -> list[tokenize.TokenInfo]:
    """Return the comments of a source text."""
    return [token for token in tokenize.generate_tokens(io.StringIO(text).readline) if token.type == tokenize.COMMENT]


def line_count(text: str) -> int:
    """Return the number of lines, blank ones among them."""
    return len(text.splitlines())


def size_rows(package: Path, texts: list[str]) -> dict[str, str]:
    """Lines, files, folders."""
    lengths = [line_count(text) for text in texts]
    roots = [path for path in package.glob("*.py") if path.stem not in ("__init__", "__main__")]
    return {
        "lines": f"{sum(lengths):,}",
        "files": f"{len(lengths)}",
        "folders below": f"{len({path.parent for path in package.rglob('*.py')} - {package})}",
        "top-level modules": f"{len(roots)}",
        "file lines, median / max": f"{median(lengths):.0f} / {max(lengths)}",
    }


def function_rows(trees: list[ast.Module]) -> dict[str, str]:
    """Lengths, types and nesting of functions."""
    every = [function for tree in trees for function in functions(tree)]
    lengths = [(function.end_lineno or 0) - function.lineno + 1 for function in every] or [0]
    arguments = [parameters(function) for function in every]
    annotated = [argument.annotation is not None for several in arguments for argument in several]
    depths = [nesting(function) for function in every] or [0]
    return {
        "functions": f"{len(every):,}",
        "function lines, median / max": f"{median(lengths):.0f} / {max(lengths)}",
        "functions > 50 lines": f"{sum(length > 50 for length in lengths)}",
        "parameters annotated": percent(sum(annotated), len(annotated)),
        "returns annotated": percent(sum(function.returns is not None for function in every), len(every)),
        "max parameters": f"{max(map(len, arguments), default=0)}",
        "max nesting / functions nested > 3": f"{max(depths)} / {sum(depth > 3 for depth in depths)}",
    }


def text_rows(texts: list[str], trees: list[ast.Module]) -> dict[str, str]:
    """Docstrings, comments, and checks that are turned off; public is whatever has no underscore in front."""
    nodes = [node for tree in trees for node in documentable(tree)]
    lengths = [docstring_lines(node) for node in nodes]
    public = [docstring_lines(node) for node in nodes if not getattr(node, "name", "").startswith("_")]
    found = [comment for text in texts for comment in comments(text)]
    own_line = sum(comment.line.lstrip().startswith("#") for comment in found)
    lines = sum(map(line_count, texts))
    shares = [percent(sum(map(bool, counts)), len(counts)) for counts in (lengths, public)]
    return {
        "docstrings, all / public": " / ".join(shares),
        "docstring lines, comment lines": f"{percent(sum(lengths), lines)}, {percent(own_line, lines)}",
        "noqa and type: ignore": f"{sum(bool(_SUPPRESSION.search(comment.string)) for comment in found)}",
    }


def import_rows(package: Path) -> dict[str, str]:
    """Who imports whom inside the package; of an import that is both, the one at the top counts."""
    every = edges(package)
    at_import = {edge.pair for edge in every if edge.when == "import"}
    at_run_time = {edge.pair for edge in every if edge.when != "typing"}
    counts = [
        sum(importer == module_name(package, path) for importer, _ in at_run_time) for path in package.rglob("*.py")
    ]
    return {
        "cycles at import (modules)": knots(at_import),
        "cycles with lazy imports (modules)": knots(at_run_time),
        "cycles with typing imports (modules)": knots({edge.pair for edge in every}),
        "lazy imports of own modules": f"{len(at_run_time - at_import)}",
        "own modules imported, median / max": f"{median(counts):.0f} / {max(counts)}",
    }


def knots(pairs: set[tuple[str, str]]) -> str:
    """Count cycles and, where there are any, the modules in them."""
    found = cycles(pairs)
    return f"{len(found)} ({sum(map(len, found))})" if found else "0"


def percent(part: int, whole: int) -> str:
    """Return a share in whole percents."""
    return f"{100 * part / whole:.0f} %" if whole else "–"


def measure(package: Path) -> dict[str, str]:
    """Return the rows of one package's column."""
    texts = [path.read_text(encoding="utf-8") for path in sorted(package.rglob("*.py"))]
    if not texts:
        raise SystemExit(f"error: {package} holds no Python files; give a package's folder")
    trees = [ast.parse(text) for text in texts]
    tests = [path.read_text(encoding="utf-8") for path in package.resolve().parent.glob("tests/**/*.py")]
    ratio = sum(map(line_count, tests)) / sum(map(line_count, texts))
    rows = size_rows(package, texts) | function_rows(trees) | text_rows(texts, trees) | import_rows(package)
    return rows | {"tests : code": f"{ratio:.2f}"}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description="Measure how Python packages are built.")
    parser.add_argument("folders", nargs="*", type=Path, default=[Path("vita_demo")], metavar="FOLDER")
    folders = parser.parse_args().folders
    columns = [measure(folder) for folder in folders]
    print("| | " + " | ".join(map(str, folders)) + " |\n|---" + "|---:" * len(folders) + "|")
    for name in columns[0]:
        print(f"| {name} | " + " | ".join(column[name] for column in columns) + " |")


if __name__ == "__main__":
    main()
