"""What README and docs say is so: commands, outputs, flags, links, files, functions and fields."""

import ast
import json
import re
import shlex
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import fields
from io import StringIO
from pathlib import Path

import click
import pytest

from tests.conftest import ROOT, Run

DOCS = ROOT / "docs"
PACKAGE = ROOT / "vita_demo"
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted(DOCS.glob("*.md"))]
FOREIGN_FLAGS = {"--shape", "--ways", "--force-download", "--local-dir"}
"""Flags of other programs that the pages name."""


def read(page: str) -> str:
    return (ROOT / page).read_text(encoding="utf-8")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def blocks(text: str, language: str = "") -> list[str]:
    """Return the contents of the code blocks in a language."""
    fenced = re.findall(r"^```(\w*)\n(.*?)^```$", text, re.DOTALL | re.MULTILINE)
    return [content for name, content in fenced if name == language]


def rows(text: str) -> list[list[str]]:
    """Return the cells of all tables' rows, heads included."""
    return [line.strip("|").split(" | ") for line in text.splitlines() if line.startswith("|")]


def without_times(text: str) -> str:
    """Replace what is measured, so that two runs can be compared."""
    number = r"-?\d[\d,]*(\.\d+)?(e-\d+)?"
    text = re.sub(rf'("(clock_s|time_s|logprob)": ){number}', r"\1N", text)
    return re.sub(rf"{number}(?= (s|ms)\b|/s| tokens/s)", "N", text)


# Pages


def test_the_readme_is_short_and_there_are_few_pages() -> None:
    assert len(read("README.md").splitlines()) <= 180
    assert len(list(DOCS.glob("*.md"))) <= 15


def anchors(text: str) -> set[str]:
    heads = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}


@pytest.mark.parametrize("path", PAGES, ids=name_of)
def test_every_link_leads_somewhere(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", text):
        if link.startswith("http"):
            continue
        file, _, anchor = link.partition("#")
        target = path.parent / file if file else path
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text(encoding="utf-8")), link


def test_every_page_is_reached_from_the_readme() -> None:
    seen, todo = set(), [ROOT / "README.md"]
    while todo:
        path = todo.pop()
        if path not in seen:
            seen.add(path)
            links = re.findall(r"\]\(([^)#]+\.md)", path.read_text(encoding="utf-8"))
            todo += [(path.parent / link).resolve() for link in links if not link.startswith("http")]
    assert seen >= set(PAGES)


def all_flags() -> set[str]:
    from vita_demo.cli import cli

    commands = cli.commands.values()
    options = [option for command in commands for option in command.params]
    return {flag for option in options for flag in (*option.opts, *option.secondary_opts)} | {"--help", "--version"}


@pytest.mark.parametrize("path", [path for path in PAGES if path.name != "CONTRIBUTING.md"], ids=name_of)
def test_every_flag_exists(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    known = all_flags() | FOREIGN_FLAGS | {"--snake_case", "--kebab-case"}
    assert set(re.findall(r"(?<![\w-])--[a-zA-Z][\w-]*", text)) <= known


def vita_commands() -> Iterator[str]:
    """Return every command line that a page shows, with its arguments only."""
    for path in PAGES:
        text = path.read_text(encoding="utf-8")
        shown = [line.removeprefix("$ ") for block in blocks(text) for line in block.splitlines()]
        shown += re.findall("`([^`]*)`", re.sub("```.*?```", "", text, flags=re.DOTALL))
        for line in shown:
            if line.startswith("vita-demo ") and not {"…", "."} & set(line.split()):
                yield re.sub(r"( \| jq| +#).*", "", line).removeprefix("vita-demo ")


@pytest.mark.parametrize("command", [*dict.fromkeys(vita_commands())])
def test_every_command_line_is_understood(command: str) -> None:
    from vita_demo.cli import cli

    name, *arguments = shlex.split(command)
    if name not in cli.commands:
        name, arguments = "run", [name, *arguments]
    if name == "inspect" and not arguments:
        arguments = ["file"]
    if name == "replay" and not arguments:
        arguments = ["folder"]
    if name == "batch" and not arguments:
        arguments = ["folder", "--output", "out.jsonl"]
    with suppress(click.exceptions.Exit):  # after --help
        cli.commands[name].make_context(name, arguments)


# Samples: what a command is shown to print


def samples(page: str) -> list[tuple[str, str]]:
    """Return the commands of a page, each with the output below it."""
    parts = [part for block in blocks(read(page)) for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]]
    commands = (part.partition("\n") for part in parts)
    return [(command, output) for command, _, output in commands]


def assert_shown(run: Run, shown: str) -> None:
    """Find every shown line, times aside, in what was printed; one that ends with … shows a beginning."""
    printed = without_times(run.out + run.err).splitlines()
    for line in without_times(shown).splitlines():
        cut, whole = line.endswith("…"), line.removesuffix("…").rstrip()
        found = (text.startswith(whole) if cut else text.rstrip() == whole for text in printed)
        assert any(found), f"{line}\n\n{run.out}{run.err}"


@pytest.mark.slow
@pytest.mark.parametrize("page", ["docs/scripts.md", "docs/python.md"])
def test_the_samples_of_a_page_print_what_is_shown(
    vita: Callable[..., Run], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, page: str
) -> None:
    monkeypatch.chdir(tmp_path)
    shown = samples(page)
    assert shown
    for command, output in shown:
        program, *arguments = shlex.split(command)
        if program == "vita-demo":
            run = vita(*arguments)
        else:
            run = Run(0, subprocess.run([program, *arguments], capture_output=True, text=True, check=True).stdout, "")
        assert run.code == 0
        assert_shown(run, output)


@pytest.mark.slow
def test_the_demo_prints_what_the_readme_shows(vita: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = (block for block in blocks(read("README.md")) if block.startswith("the embedded model"))
    script = read("enhanced_demo.sh")
    flags = (
        "--enable_callbacks",
        "--streaming",
        '--question "Describe this image."',
        '--image_path "$here/assets/scene.png"',
    )
    assert all(flag in script for flag in flags)
    monkeypatch.chdir(ROOT)
    run = vita(*shlex.split(" ".join(flags).replace("$here/", "")), "--device", "cpu")
    assert sorted(without_times(run.out + run.err).splitlines()) == sorted(without_times(shown).splitlines())


@pytest.mark.slow
def test_the_chat_goes_as_shown(vita: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    (shown,) = (block for block in blocks(read("docs/chat.md")) if block.startswith("›"))
    entries = re.findall(r"^[^›\n]*› ?(.*)\n", shown, re.MULTILINE)
    assert len(entries) == 4
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr("sys.stdin", StringIO("\n".join(entries) + "\n"))
    run = vita("chat", "--device", "cpu")
    assert_shown(run, shown)
    assert run.out.splitlines() == [line for line in shown.splitlines() if line.startswith(("There ", "The "))]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("page", "ends"),
    [
        ("README.md", "\nstop, first token after N s\n"),
        ("docs/python.md", "at the bottom right.\n☜There are three shapes on a light"),
    ],
)
def test_the_python_of_a_page_runs(
    page: str, ends: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(ROOT)
    names: dict[str, object] = {}
    for block in blocks(read(page), "python"):
        exec(compile(block, page, "exec"), names)  # noqa: S102 - that is what readers do
    output = capsys.readouterr().out
    assert output.startswith("There are three shapes on a light blue background.")
    assert without_times(output).endswith(ends)


# Tables


def ticked(cell: str) -> list[str]:
    return re.findall("`([^`]+)`", cell)


@pytest.mark.slow
def test_the_object_of_json_has_the_keys_of_its_table(vita: Callable[..., Run]) -> None:
    table = [cells for cells in rows(read("docs/scripts.md").split("## JSON")[1].split("\n## ")[0]) if ticked(cells[0])]
    answer = json.loads(vita("--question", "hi", "--max_new_tokens", "2", "--json", "--quiet").out)
    assert [key for cells in table for key in ticked(cells[0])] == [*answer]
    values = {cells[0].strip("` "): ticked(cells[1]) for cells in table}
    assert set(values["host"]) == set(answer["host"])
    assert set(values["model"]) == set(answer["model"])


@pytest.mark.parametrize("name", ["Event", "Answer"])
def test_a_record_has_the_fields_of_its_table(name: str) -> None:
    import vita_demo

    text = read("docs/python.md").split(f"| `{name}` | |\n")[1].split("\n\n")[0]
    documented = [field for cells in rows(text) for field in ticked(cells[0])]
    assert sorted(documented) == sorted(field.name for field in fields(getattr(vita_demo, name)))
    if name == "Answer":
        (prompt,) = (cells[1] for cells in rows(text) if cells[0].strip() == "`prompt`")
        assert ticked(prompt)[1:] == [field.name for field in fields(vita_demo.PromptSummary)]


def test_every_public_name_is_in_the_page_about_python() -> None:
    import vita_demo

    text = read("docs/python.md")
    assert [name for name in vita_demo.__all__ if not re.search(rf"\b{name}\b", text)] == []


def test_the_examples_are_those_of_the_page_about_python() -> None:
    text = read("docs/python.md").split("## Examples")[1]
    assert set(re.findall(r"`(\w+\.py)`", text)) == {path.name for path in (ROOT / "examples").glob("*.py")}


def test_the_callbacks_and_their_hooks_are_those_that_ship() -> None:
    from vita_demo import GenerationCallback
    from vita_demo.callbacks.registry import BUILTIN

    table = [ticked(" | ".join(cells)) for cells in rows(read("docs/python.md").split("\n## Callbacks")[1])]
    names = {cells[0]: cells[1] for cells in table if len(cells) > 1 and cells[1].endswith("Callback")}
    assert names == {name: kind.__name__ for name, kind in BUILTIN.items()}
    hooks = {cells[0].partition("(")[0] for cells in table if cells and cells[0].startswith("on_")}
    assert hooks == {name for name in vars(GenerationCallback) if name.startswith("on_")}


def test_the_commands_of_the_chat_are_those_of_its_table() -> None:
    from vita_demo.commands.chat.chat import Chat

    table = [name for cells in rows(read("docs/chat.md")) for name in ticked(cells[0])]
    assert sorted(table) == sorted(f"{command.name} {command.argument}".strip() for command in Chat.COMMANDS)


def test_every_flag_is_an_environment_variable_of_its_name() -> None:
    from vita_demo.cli import cli

    for command in cli.commands.values():
        for option in command.params:
            if isinstance(option, click.Option):
                assert option.envvar == f"VITA_DEMO_{option.opts[0].removeprefix('--').upper()}"


def test_an_environment_variable_sets_a_flag(vita: Callable[..., Run], monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in re.findall(r"VITA_DEMO_\w+=\w+", read("docs/scripts.md")):
        monkeypatch.setenv(*variable.split("="))
    monkeypatch.setenv("VITA_DEMO_JSONL", "1")
    assert "--jsonl and --json" in vita("--question", "hi").error
    monkeypatch.setenv("VITA_DEMO_MAX_NEW_TOKENS", "0")
    monkeypatch.delenv("VITA_DEMO_JSONL")
    assert "max_new_tokens 0" in vita("--question", "hi").error


def test_the_presets_are_those_of_the_table() -> None:
    table = rows(read("docs/scripts.md").split("| preset |")[1].split("\n\n")[0])
    names = [cells[0].strip("` ") for cells in table if "`" in cells[0]]
    assert sorted(names) == sorted(path.stem for path in (ROOT / "configs" / "presets").glob("*.toml"))


def test_every_benchmark_of_the_table_is_there() -> None:
    table = rows(read("docs/performance.md").split("## Measure it yourself")[1])
    names = re.findall(r"benchmarks[./](\w+)", "\n".join(cells[0] for cells in table))
    programs = {
        path.stem for path in (ROOT / "benchmarks").iterdir() if "__main__" in path.read_text() or path.suffix == ".sh"
    }
    assert set(names) == programs


def strings_of_the_package() -> list[str]:
    """Return every string of the code, with … for what is filled in."""
    found = []
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.JoinedStr):
                found.append(
                    "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
                )
            elif isinstance(node, ast.Constant) and isinstance(node.value, str):
                found.append(node.value)
    return found


def test_every_message_of_the_readme_is_one_of_the_code() -> None:
    section = read("docs/doctor.md").split("## Messages")[1]
    messages = [message for cells in rows(section) for message in ticked(cells[0])]
    assert len(messages) >= 5
    strings = strings_of_the_package()
    for message in messages:
        for piece in filter(None, (piece.strip(" ,") for piece in message.split("…"))):
            assert any(piece in string for string in strings), message


# Architecture


def architecture() -> str:
    return read("docs/architecture.md")


def tree() -> list[tuple[str, str]]:
    """Return the paths of the tree, relative to the package, each with its comment; folders end with a slash."""
    (block,) = (block for block in blocks(architecture()) if block.startswith("vita_demo/\n"))
    entries, folders = [], [""]
    for line in block.splitlines()[1:]:
        indent, name, comment = re.fullmatch(r"( +)(\S+) +(\S.*)", line).groups()
        depth = len(indent) // 2
        folders = folders[:depth]
        entries.append(("".join(folders) + name, comment))
        folders.append(name)
    return entries


def test_the_tree_names_every_file_once_and_no_other() -> None:
    paths = [path for path, _ in tree()]
    assert len(paths) == len(set(paths))
    there = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*") if path.suffix in (".py", ".html")}
    folders = {f"{path.parent.as_posix()}/" for path in there} - {"./"}
    inits = {path.as_posix() for path in there if path.name == "__init__.py" and path.parent != Path()}
    expected = {path.as_posix() for path in there} | folders
    assert {path for path in paths if path not in inits} == expected - inits


def layers() -> list[str]:
    """The list of the layer test, read from its source."""
    source = ast.parse(read("tests/project/test_layers.py"))
    targets = (node for node in source.body if isinstance(node, ast.Assign))
    return [*ast.literal_eval(next(node.value for node in targets if ast.unparse(node.targets[0]) == "LAYERS"))]


def test_the_layers_are_those_that_the_test_checks() -> None:
    (block,) = (block for block in blocks(architecture()) if block.startswith("errors "))
    listed = [name for line in block.splitlines() for name in re.split(" {2,}", line)[0].split()]
    assert listed == layers()


def test_the_tree_is_in_the_order_of_the_layers() -> None:
    order = layers()
    tops = [path.split("/")[0].removesuffix(".py") for path, _ in tree()]
    seen = [name for name in dict.fromkeys(tops) if name in order]
    assert seen == [name for name in order if name in seen]
    assert set(tops) - set(seen) == {"__init__", "__main__"}


def names_in(path: Path) -> set[str]:
    """Return functions, classes, methods (``Class.method``) and constants that a file defines."""
    found = set()
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            found.add(node.name)
        if isinstance(node, ast.ClassDef):
            found |= {f"{node.name}.{part.name}" for part in node.body if isinstance(part, ast.FunctionDef)}
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        found |= {target.id for target in targets if isinstance(target, ast.Name)}
    return found


def test_the_stations_and_answers_name_files_and_what_is_in_them() -> None:
    table = [cells for cells in rows(architecture()) if len(cells) == 3 and "`" in cells[1]]
    assert len(table) > 30
    for _, file, names in table:
        (path,) = ticked(file)
        assert [name for name in ticked(names) if name not in names_in(PACKAGE / path)] == [], path
    assert len(rows(architecture().split("## Ten questions")[1])) == 2 + 10


def test_what_the_text_names_is_there() -> None:
    text = re.sub("```.*?```", "", architecture(), flags=re.DOTALL)
    for path in re.findall(r"`([\w/]+(?:\.py|\.html|/))`", text):
        assert (PACKAGE / path).exists() or (ROOT / path).exists(), path
    for name, path in re.findall(r"`(\w+)`(?:\s+(?:of|in))\s+`([\w/]+\.py)`", text):
        assert name in names_in(PACKAGE / path), f"{name} in {path}"
