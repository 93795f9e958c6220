"""Every public name is explained: in a docstring, in the ``#:`` lines of a value, or in the tables
of docs/reference.

A docstring names each parameter of its function, or of its class's making, in backticks; a unit
with each that is a time; and each error that the function's own lines raise; or names the function,
in backticks, whose docstring does. Where it comes from ("Source: zmq_send(3)") explains nothing.
"""

from __future__ import annotations

import ast
import importlib
import inspect
import re
import sys
import textwrap
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from zmq_monocoque import constants

ROOT = Path(__file__).resolve().parents[2]
SITE = ROOT / "docs" / "site"
PAGE = ROOT / "docs" / "reference" / "constants.md"
#: Parameters that say what they are: the receiver, and what is passed on as it is.
PLAIN = {"self", "cls", "args", "kwargs"}
#: Parameters that are times, in milliseconds here as in libzmq.
TIMES = {"timeout", "linger", "delay"}


@pytest.fixture(scope="module")
def names():
    for needed in ("tornado", "gevent"):
        pytest.importorskip(needed)
    sys.path.insert(0, str(SITE))
    try:
        yield importlib.import_module("names")
    finally:
        sys.path.remove(str(SITE))


def signature_of(thing: Any) -> list[str]:
    try:
        return [name for name in inspect.signature(thing).parameters if name not in PLAIN]
    except (ValueError, TypeError):
        return []


def lines_of(thing: Any) -> list[Any]:
    """The functions behind a name: of a class its making, of a property what reads and sets it."""
    if inspect.isclass(thing):
        return [vars(thing)["__init__"]] if "__init__" in vars(thing) else []
    if isinstance(thing, property):
        return [function for function in (thing.fget, thing.fset, thing.fdel) if function]
    return [thing]


def raised_by(thing: Any) -> set[str]:
    """Classes of what its own lines raise, and the errnos that they give."""
    found = set()
    for function in lines_of(thing):
        try:
            source = textwrap.dedent(inspect.getsource(function))
        except (OSError, TypeError):
            continue
        for node in ast.walk(ast.parse(source).body[0]):
            if not isinstance(node, ast.Raise) or node.exc is None:
                continue
            raised = node.exc.func if isinstance(node.exc, ast.Call) else node.exc
            name = ast.unparse(raised).split(".")[-1]
            if re.match(r"[A-Z]", name):
                found |= {name, *re.findall(r"\bE[A-Z]{3,}\b", ast.unparse(node.exc))}
    return found


def own_docstring(thing: Any) -> str:
    """A class's own: not that of what it is derived from, nor what a dataclass gets by itself."""
    if not inspect.isclass(thing):
        return inspect.getdoc(thing) or ""
    text = inspect.cleandoc(vars(thing).get("__doc__") or "")
    made = text.startswith(f"{thing.__name__}(") and "\n" not in text and not text.endswith(".")
    return "" if made else text


def is_explanation(text: str) -> bool:
    """Does it say more than where it comes from?"""
    text = re.sub(r"\(?(Source: )?zmq_\w+\(3\)[,.)]*", "", text.replace("Source:", ""))
    return len(text.split()) >= 2


def text_of(thing: Any, names: dict[str, Any], depth: int = 3) -> str:
    """A docstring, with those of the functions that it names."""
    text = inspect.getdoc(thing) or ""
    if depth:
        for name in set(re.findall(r"(?<!`)`([\w.]+)`(?!`)", text)):
            other = names.get(name)
            if other is not None and other is not thing:
                text += "\n" + text_of(other, names, depth - 1)
    return text


def left_out(thing: Any, names: dict[str, Any]) -> list[str]:
    """What the docstring of a function does not say. ``names``: what it may refer to."""
    text = text_of(thing, names)
    if not own_docstring(thing) or not is_explanation(text):
        return ["everything"]
    quoted = re.findall(r"``[^`]+``|`[^`]+`", text)
    quoted += re.findall(r"^\w+\(.*\)", text, re.MULTILINE)
    missing = [
        f"parameter {name}"
        for name in signature_of(thing)
        if not name.startswith("_") and not re.search(rf"\b{re.escape(name)}\b", " ".join(quoted))
    ]
    for name in sorted(TIMES & set(signature_of(thing))):
        if not re.search(r"(?<!['\u2019])\b(ms|milliseconds|seconds|s)\b", text):
            missing.append(f"unit of {name}")
    missing += [f"error {name}" for name in sorted(raised_by(thing)) if name not in text]
    return missing


def referred(path: str, documented: dict[str, Any]) -> dict[str, Any]:
    """What a docstring may name shortly: members of its class, of a socket, and its module's."""
    found = {}
    for known, thing in documented.items():
        short = known.removeprefix("zmq_monocoque.")
        found[known] = found[short] = thing
        if short.startswith(("Socket.", "Context.")):
            found.setdefault(short.partition(".")[2], thing)
    owner = path.rpartition(".")[0]
    for known, thing in documented.items():
        if known.rpartition(".")[0] in (owner, owner.rpartition(".")[0]):
            found[known.rpartition(".")[2]] = thing
    return found


def left_out_of_all(documented: dict[str, Any]) -> list[str]:
    seen: set[int] = set()
    found = []
    for path, thing in documented.items():
        if isinstance(thing, ModuleType) or inspect.isclass(thing) and issubclass(thing, Enum):
            continue
        if id(thing) not in seen:
            seen.add(id(thing))
            short = referred(path, documented)
            found += [f"{path}: {what}" for what in left_out(thing, short)]
    return found


@pytest.fixture(scope="module")
def documented(names) -> dict[str, Any]:
    return dict(names.documented())


def test_every_public_name_has_a_docstring(documented):
    assert len(documented) > 500
    assert [path for path, thing in documented.items() if not own_docstring(thing)] == []


def test_every_public_value_is_explained(names):
    values = [name for name in names.public() if name.is_home and names.is_value(name.thing)]
    assert {"zmq_monocoque.COPY_THRESHOLD", "zmq_monocoque.zmtp.PAIR"} <= {v.path for v in values}
    assert [value.path for value in values if not names.comment_of(value)] == []


def test_no_docstring_leaves_out_a_parameter_a_unit_or_an_error(documented):
    assert left_out_of_all(documented) == []


def test_what_is_left_out_is_found():
    def wait(timeout, socket, flags=0):
        """Waits for ``socket``, up to ``timeout``, the peer's and a socket's flags."""
        if flags:
            raise NotImplementedError
        raise ValueError("flags")

    def wait_again(timeout, socket):
        """As `wait`."""

    errors = ["error NotImplementedError", "error ValueError"]
    assert left_out(wait, {}) == ["parameter flags", "unit of timeout", *errors]
    assert left_out(wait_again, {"wait": wait}) == ["unit of timeout"]
    assert left_out(wait_again, {}) == ["parameter timeout", "parameter socket", "unit of timeout"]


def test_what_a_class_leaves_out_is_found():
    class Wait:
        """Wait(timeout): in ms."""

        def __init__(self, timeout, socket):
            raise ValueError("timeout")

        @property
        def left(self):
            """What is left of it."""
            raise RuntimeError("nothing")

    class Derived(Wait):
        pass

    @dataclass
    class Made:
        timeout: int

    assert left_out(Wait, {}) == ["parameter socket", "error ValueError"]
    assert left_out(Wait.left, {}) == ["error RuntimeError"]
    assert left_out(Derived, {}) == left_out(Made, {}) == ["everything"]


@pytest.mark.parametrize("text", ["", "Source: zmq_send(3).", "(zmq_send(3))", "zmq_send(3)"])
def test_a_source_is_no_explanation(text):
    def send():
        pass

    send.__doc__ = text
    assert left_out(send, {}) == ["everything"]


def test_every_constant_has_a_row():
    text = PAGE.read_text(encoding="utf-8")
    sections = dict(re.findall(r"^## (\w+)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    for name in constants.__all__:
        cls = getattr(constants, name)
        if not isinstance(cls, type) or cls.__module__ != constants.__name__:
            continue
        assert issubclass(cls, Enum)
        if name == "SocketOption":
            continue  # test_options_page.py
        within = sections.get(name)
        if within is None:
            (within,) = re.findall(rf"^\| {name} \|.*$", text, re.MULTILINE)
        for member in cls.__members__:
            assert f"`{member}`" in within, f"{name}.{member} has no row"
        rows = re.findall(r"^\| (`[^|]*) \|", within, re.MULTILINE)
        told = {word for row in rows for word in re.findall(r"`(\w+)`", row)}
        assert told <= set(cls.__members__), f"{name} has no {told - set(cls.__members__)}"
