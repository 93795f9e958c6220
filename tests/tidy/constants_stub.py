"""Writes zmq_monocoque/constants.pyi, which spells out for type checkers what constants.py exports:
``python tests/tidy/constants_stub.py``.
"""

from __future__ import annotations

import ast
import importlib.util
from pathlib import Path
from types import ModuleType

PACKAGE = Path(__file__).resolve().parents[2] / "zmq_monocoque"
SOURCE = PACKAGE / "constants.py"
STUB = PACKAGE / "constants.pyi"
WIDTH = 100


def load(path: Path) -> ModuleType:
    """The module in that file, whatever is installed."""
    spec = importlib.util.spec_from_file_location("constants_of_the_clone", path)
    assert spec and spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def body_of(cls: ast.ClassDef, source: str) -> list[str]:
    """A class without its texts and its code."""
    lines = []
    for node in cls.body:
        if isinstance(node, ast.FunctionDef):
            head = source.splitlines()[node.lineno - 1 : node.body[0].lineno - 1]
            lines += [*head[:-1], f"{head[-1]} ..."]
        elif not isinstance(node, ast.Expr):
            lines.append(f"    {ast.get_source_segment(source, node)}")
    return lines


def assignment(name: str, value: str) -> str:
    line = f"{name} = {value}"
    return line if len(line) <= WIDTH else f"{name} = (\n    {value}\n)"


def stub(path: Path) -> str:
    module = load(path)
    source = path.read_text()
    classes = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
    lines = [
        "# Written by tests/tidy/constants_stub.py.",
        "import errno",
        "from enum import Enum, IntEnum, IntFlag",
        "",
        f"_HAUSNUMERO = {module._HAUSNUMERO}",
        "",
    ]
    for cls in classes:
        bases = ", ".join(map(ast.unparse, cls.bases))
        lines += [f"class {cls.name}({bases}):", *body_of(cls, source), ""]
    for cls in classes:
        if cls.name in module.__all__:
            members = getattr(module, cls.name).__members__
            first = module.__all__.index(cls.name) + 1  # the globals follow their class
            exported = module.__all__[first : first + len(members)]
            for name, member in zip(exported, members, strict=True):
                lines.append(assignment(name, f"{cls.name}.{member}"))
    lines += ["", "__all__ = [", *(f'    "{name}",' for name in module.__all__), "]"]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    STUB.write_text(stub(SOURCE))
