"""Writes the package ``zmq`` that an environment has in pyzmq's place: `compat/setup.py` and the
command ``switch`` do.

At run time ``zmq`` becomes zmq_monocoque and needs no more files than it has. A type checker runs
nothing, so for it there is a stub for each module, which takes its names from the module of ours;
and, because it wonders about a stub of no module, a module beside it, which nothing imports.

Imports nothing of ours: a build loads this file by its path.
"""

from __future__ import annotations

import ast
import shutil
from pathlib import Path

OURS = Path(__file__).resolve().parents[1]
BESIDE_A_STUB = '"""Never imported: `import zmq` makes zmq_monocoque answer to the name."""\n'
#: None is for programs: how the engine is built, what child processes are given, the commands.
NOT_MODULES = ("_build", "_shim", "_cli", "_engine")


def write(package: Path) -> None:
    """Makes the directory ``package`` the whole of ``zmq``."""
    shutil.copytree(
        OURS / "_shim" / "zmq",
        package,
        dirs_exist_ok=True,
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    (package / "py.typed").touch()
    for source in sorted(OURS.rglob("*.py")):
        inside = source.relative_to(OURS)
        if inside.parts[0] in NOT_MODULES or inside.name == "__main__.py":
            continue
        typed = source.with_suffix(".pyi")
        target = package / inside.with_suffix(".pyi")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(stub(typed if typed.exists() else source), encoding="utf-8")
        module = target.with_suffix(".py")
        if not module.exists():
            module.write_text(BESIDE_A_STUB, encoding="utf-8")


def names(tree: ast.Module) -> list[str]:
    """What a module defines, or imports from ours, at its top level; in conditionals too."""
    found: dict[str, None] = {}
    pending: list[ast.stmt] = list(reversed(tree.body))
    while pending:
        node = pending.pop()
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)):
            found[node.name] = None
        elif isinstance(node, ast.Assign):
            found.update((t.id, None) for t in node.targets if isinstance(t, ast.Name))
        elif isinstance(node, (ast.AnnAssign, ast.AugAssign)):
            if isinstance(node.target, ast.Name):
                found[node.target.id] = None
        elif isinstance(node, ast.ImportFrom):
            if node.level or str(node.module).partition(".")[0] == OURS.name:
                found.update(
                    (a.asname or a.name, None)
                    for a in node.names
                    if a.name != "*" and not is_module(f"{node.module}.{a.name}")
                )
        elif isinstance(node, (ast.If, ast.Try)):
            pending.extend(reversed(node.body + node.orelse))
    return [name for name in found if name != "__all__"]


def is_module(name: str) -> bool:
    """Of ours, by its full name? It is one of zmq as well, when it is imported."""
    path = OURS.parent / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").exists()


def starred(tree: ast.Module) -> list[str]:
    """The modules of ours from which a module takes everything. Type checkers do not follow an
    __all__ that is made of others, so its own star does not give these away."""
    return [
        str(node.module)
        for node in tree.body
        if isinstance(node, ast.ImportFrom)
        and str(node.module).partition(".")[0] == OURS.name
        and node.names[0].name == "*"
    ]


def modules(tree: ast.Module) -> list[str]:
    """The modules of ours that a module imports as such: some are known only by that."""
    found = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
        if alias.name.startswith(f"{OURS.name}.")
    ]
    return sorted(set(found))


def stub(source: Path) -> str:
    """The stub for the module in ``source``."""
    module = ".".join((OURS.name, *source.relative_to(OURS).with_suffix("").parts))
    module = module.removesuffix(".__init__")
    tree = ast.parse(source.read_text(encoding="utf-8"))
    lines = [f"from {name} import *" for name in [module, *starred(tree)]]
    lines += [f"from {module} import {name} as {name}" for name in names(tree)]
    lines += [f"import zmq.{name.partition('.')[2]}" for name in modules(tree)]
    return "\n".join(lines) + "\n"
