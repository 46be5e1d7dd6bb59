"""Which module of a package imports which other, when, and where that goes in circles."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

When = Literal["import", "lazy", "typing"]


@dataclass(frozen=True)
class Edge:
    """One module imports another: while it is imported itself, lazily in a function, or for type checkers only."""

    importer: str
    imported: str
    when: When

    @property
    def pair(self) -> tuple[str, str]:
        """Both modules, the importer first."""
        return self.importer, self.imported


def edges(package: Path) -> list[Edge]:
    """Return what the modules of a package import from each other.

    ``from package import name`` leads to ``package.name`` where that is a module, else to ``package``.
    """
    files = {module_name(package, path): path for path in sorted(package.rglob("*.py"))}
    found = []
    for importer, path in files.items():
        tree = ast.parse(path.read_text(encoding="utf-8"))
        inside = importer if path.stem == "__init__" else importer.rpartition(".")[0]
        for node, when in import_statements(tree):
            names = {name for name in targets(node, inside, set(files)) if name != importer}
            found += [Edge(importer, name, when) for name in sorted(names)]
    return found


def module_name(package: Path, path: Path) -> str:
    """Return the dotted name of a file in a package."""
    parts = path.resolve().relative_to(package.resolve().parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def import_statements(node: ast.AST, when: When = "import") -> Iterator[tuple[ast.Import | ast.ImportFrom, When]]:
    """Yield every import below a node, with when it happens."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import | ast.ImportFrom):
            yield child, when
        elif isinstance(child, ast.If) and "TYPE_CHECKING" in ast.unparse(child.test):
            yield from import_statements(child, "typing")
        elif isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef) and when != "typing":
            yield from import_statements(child, "lazy")
        else:
            yield from import_statements(child, when)


def targets(node: ast.Import | ast.ImportFrom, inside: str, modules: set[str]) -> set[str]:
    """Return the own modules that an import statement names; ``inside`` is the package that relative ones start at."""
    if isinstance(node, ast.Import):
        names = [[alias.name] for alias in node.names]
    else:
        base = ".".join([*inside.split(".")[: len(inside.split(".")) - node.level + 1], *filter(None, [node.module])])
        source = base if node.level else node.module or ""
        names = [[f"{source}.{alias.name}", source] for alias in node.names]
    firsts = (next((name for name in candidates if name in modules), None) for candidates in names)
    return {name for name in firsts if name}


def cycles(pairs: set[tuple[str, str]]) -> list[set[str]]:
    """Return the sets of modules that lead to one another: the strongly connected components of more than one."""
    follow: dict[str, set[str]] = {}
    for importer, imported in pairs:
        follow.setdefault(importer, set()).add(imported)
    reach = {module: reachable(module, follow) for module in follow}
    components = {
        frozenset(other for other in reach[module] if module in reach.get(other, ()))
        for module in follow
        if module in reach[module]
    }
    return [set(component) for component in components]


def reachable(start: str, follow: dict[str, set[str]]) -> set[str]:
    """Return all modules that imports lead to from one."""
    found: set[str] = set()
    todo = [start]
    while todo:
        new = follow.get(todo.pop(), set()) - found
        found |= new
        todo += new
    return found
