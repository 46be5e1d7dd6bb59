"""The import rule, and that what must be instant imports no torch."""

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "vita_demo"
MODULES = sorted(path for path in PACKAGE.rglob("*.py"))
LAYERS = (
    # records and rules
    "errors", "resources", "stdout", "cores", "metrics",
    "files", "request", "answer",
    # the line of data
    "checkpoint", "prompt", "preprocess", "generation",
    "model.ops", "model", "model.quantize", "model.decode", "model.loading",
    "engine", "scheduling", "pipeline", "conversation", "api",
    # who shows, watches, asks for many and serves
    "console", "callbacks", "batch", "serving", "cluster", "commands", "cli",
)  # fmt: skip
ROOT = ("vita_demo", "vita_demo.__main__")
"""The package itself, which names what is public, and its entry point import from everywhere."""
LIGHT = (
    *("errors", "resources", "stdout", "metrics", "files", "request", "cores"),
    *("answer", "checkpoint", "prompt", "preprocess", "console", "callbacks", "commands", "cli"),
)
"""What is imported before torch: these import it, if at all, inside a function.  Those of ``HEAVY`` come after it."""
HEAVY = {
    *("commands.report", "commands.run.replay"),
    *(f"commands.doctor.{name}" for name in ("checkpoint", "decode_paths", "devices", "memory", "self_test")),
}
ONLY_IN = {
    "rich": ("console", "commands"),
    "click": ("cli",),
    "prompt_toolkit": ("console",),
    "ray": ("cluster",),
    **dict.fromkeys(("fastapi", "starlette", "uvicorn", "prometheus_client"), ("serving",)),
}


def name_of(path: Path) -> str:
    return ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts).removesuffix(".__init__")


def layer_of(module: str) -> str:
    """The longest layer that ``module``, given without ``vita_demo.``, lies in; a folder without a layer fails."""
    parts = module.split(".")
    names = [".".join(parts[:count]) for count in (2, 1)]
    layer = next((name for name in names if name in LAYERS), None)
    assert layer is not None, f"{module} lies in no layer of LAYERS; give it a place there"
    return layer


@cache
def imports(path: Path, top_level_only: bool = False) -> set[str]:
    """Modules that a file imports: lazily and for type checkers too, unless only at the top level at run time."""
    found: set[str] = set()
    todo: list[ast.AST] = [ast.parse(path.read_text(encoding="utf-8"))]
    while todo:
        node = todo.pop()
        if top_level_only and isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            continue
        if top_level_only and isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            modules = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {name for name in modules if is_module(name)} or {node.module}
        todo += ast.iter_child_nodes(node)
    return found


def is_module(name: str) -> bool:
    path = PACKAGE.parent / name.replace(".", "/")
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_module_imports_only_from_its_own_and_earlier_layers(path: Path) -> None:
    if name_of(path) in ROOT:
        return
    own = layer_of(name_of(path).removeprefix("vita_demo."))
    for imported in imports(path):
        if imported.startswith("vita_demo."):
            layer = layer_of(imported.removeprefix("vita_demo."))
            assert LAYERS.index(layer) <= LAYERS.index(own), f"{own} comes before {layer}, which it imports"


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_a_library_that_one_folder_wraps_is_imported_there_alone(path: Path) -> None:
    module = name_of(path).removeprefix("vita_demo.")
    used = {name.split(".")[0] for name in imports(path)} & set(ONLY_IN)
    assert [name for name in used if not module.startswith(ONLY_IN[name])] == []


@pytest.mark.parametrize("path", MODULES, ids=name_of)
def test_what_comes_before_torch_does_not_import_it_at_the_top(path: Path) -> None:
    module = name_of(path).removeprefix("vita_demo.")
    if module in HEAVY or not module.startswith(LIGHT):
        return
    heavy = {"torch", "transformers", "librosa"}
    assert {name.split(".")[0] for name in imports(path, top_level_only=True)} & heavy == set()


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
        ("serve", "--help"),
        ("serve", "--host", "::"),
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
        "av",
        "prompt_toolkit",
        "matplotlib",
        "jinja2",
        "fastapi",
        "pydantic",
    }


def test_nothing_of_ray_is_imported_without_its_flag() -> None:
    loaded = loaded_modules("batch", "missing", "--output", "x.jsonl")
    assert "vita_demo.commands.batch" in loaded
    assert not loaded & {"torch", "ray", "pyarrow", "pandas"}


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


def test_no_test_module_imports_another() -> None:
    tests = PACKAGE.parent / "tests"
    assert not [
        f"{path.relative_to(tests)} imports {name}"
        for path in sorted(tests.rglob("*.py"))
        for name in imports(path)
        if ".test_" in name
    ]
