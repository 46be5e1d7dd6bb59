"""The import rule, and that what must be instant imports no torch."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "vita_demo"
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Names of the modules that a file imports at run time."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        todo += ast.iter_child_nodes(node)
    return found


def files(*parts: str) -> list[Path]:
    return [path for path in MODULES if path.relative_to(PACKAGE).as_posix().startswith(parts)]


def offenders(paths: list[Path], *forbidden: str, top_level_only: bool = False) -> list[str]:
    return [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in paths
        for name in sorted(imports(path, top_level_only))
        if name.startswith(forbidden)
    ]


def loaded_modules(*arguments: str) -> set[str]:
    """Modules that a fresh interpreter has loaded after running the command line."""
    code = (
        "import sys\nfrom vita_demo.cli import main\nsys.argv[1:] = sys.stdin.read().split()\n"
        "try: main()\nexcept SystemExit: pass\nprint('|'.join(sys.modules), file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], input=" ".join(arguments), capture_output=True, text=True, check=True
    )
    return set(done.stderr.splitlines()[-1].split("|"))


@pytest.mark.parametrize(
    "arguments",
    [
        ("--help",),
        ("--version",),
        ("chat", "--help"),
        ("--image_path", "missing.png", "--question", "x"),
        ("compare", "--question", "x", "--output", "x.docx"),
    ],
)
def test_help_and_input_errors_import_no_torch(arguments: tuple[str, ...]) -> None:
    loaded = loaded_modules(*arguments)
    assert "click" in loaded
    assert not loaded & {
        "torch",
        "transformers",
        "numpy",
        "decord",
        "librosa",
        "prompt_toolkit",
        "matplotlib",
        "jinja2",
    }


@pytest.mark.slow
def test_a_native_run_imports_neither_transformers_nor_torch_compiler() -> None:
    loaded = loaded_modules("--question", "hi", "--max_new_tokens", "2")
    assert "torch" in loaded
    assert not loaded & {"transformers", "librosa", "torch._dynamo"}


def test_inspecting_imports_no_torch() -> None:
    loaded = loaded_modules("inspect", "assets/scene.png", "assets/question.wav", "--json")
    assert "vita_demo.commands.inspect.inspection" in loaded
    assert not loaded & {"torch", "transformers", "librosa"}


def test_the_public_api_is_lazy_and_complete() -> None:
    import vita_demo

    code = "import sys, vita_demo; assert 'torch' not in sys.modules; vita_demo.Request"
    subprocess.run([sys.executable, "-c", code], check=True)
    for name in vita_demo.__all__:
        assert getattr(vita_demo, name).__name__ == name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = vita_demo.nothing
