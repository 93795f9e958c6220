"""Python modules of the package do not import each other in a circle, when they are loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "zmq_monocoque"
#: Modules that are no Python.
EXTENSIONS = ("zmq_monocoque._ext", "zmq_monocoque._engine_c")


def module_of(path: Path) -> str:
    parts = list(path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def at_load_time(body: list[ast.stmt]) -> Iterator[ast.stmt]:
    """The imports that run with the module: not those in functions, or for type checkers."""
    for node in body:
        if isinstance(node, (ast.Import, ast.ImportFrom)):
            yield node
        elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            yield from at_load_time(node.orelse)
        elif not isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            for inner in ("body", "orelse", "finalbody"):
                yield from at_load_time(getattr(node, inner, []))
            for handler in getattr(node, "handlers", []):
                yield from at_load_time(handler.body)


def imports(source: str, module: str, is_package: bool, modules: set[str]) -> set[str]:
    """The modules of the package that one imports. The packages above it are loaded before it in
    any case, and count only where a name of theirs is taken."""
    found = set()
    for node in at_load_time(ast.parse(source).body):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
            continue
        assert isinstance(node, ast.ImportFrom)
        base = module.split(".")
        base = base[: len(base) - node.level + is_package] if node.level else []
        origin = ".".join([*base, *filter(None, [node.module])])
        for alias in node.names:
            name = f"{origin}.{alias.name}"
            found.add(name if name in modules else origin)
    return (found & modules) - {module}


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Sets of modules each of which imports, over others, itself."""
    reach: dict[str, set[str]] = {}
    for start in graph:
        seen: set[str] = set()
        todo = list(graph[start])
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                todo += graph.get(name, ())
        reach[start] = seen
    groups = {
        tuple(sorted(other for other in reach[name] if name in reach.get(other, ())))
        for name in graph
        if name in reach[name]
    }
    return sorted(map(list, groups))


def graph() -> dict[str, set[str]]:
    paths = {module_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}
    modules = {*paths, *EXTENSIONS}
    return {
        name: imports(path.read_text(), name, path.name == "__init__.py", modules)
        for name, path in paths.items()
    }


def test_no_modules_import_each_other_when_they_are_loaded():
    found = graph()
    assert len(found) > 80
    assert circles(found) == []


def test_a_circle_is_found():
    modules = {"p", "p.a", "p.b", "p.c"}
    assert imports("from p import b", "p.a", False, modules) == {"p.b"}
    assert imports("from . import b, VERSION", "p.a", False, modules) == {"p.b", "p"}
    assert imports("from .c import x", "p", True, modules) == {"p.c"}
    late = "def f():\n    import p.b\nif TYPE_CHECKING:\n    import p.c\n"
    assert imports(late, "p.a", False, modules) == set()
    assert imports("try:\n    import p.c\nfinally: 0", "p.a", False, modules) == {"p.c"}
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == [["b", "c"]]
    assert circles({"a": {"b"}, "b": {"c"}, "c": set()}) == []
